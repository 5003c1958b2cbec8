//! How calls become parts.

use http::Request;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_revoke_monitor::Counted;

use super::*;

static_assertions::assert_impl_all!(Composite: Send, Sync, Clone);

#[tokio::test]
async fn a_service_that_gets_the_same_request_is_a_part_by_itself() {
    let (monitor, _) = monitor();
    let both = (monitor.composite("shop"), monitor.layer("orders"));
    let service = both.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(answer(404).map(|body| body.data("more").fail()))
    }));
    let mut failing = both.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(hello().map(|body| body.fail()))
    }));
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    assert_eq!(shops(&monitor), FAILURE);
    // A part ends with its body.
    let response = failing.call(Request::new(())).await.expect("an answer");
    assert_eq!(shops(&monitor), [1, 0, 1, 0, 0, 0]);
    drain(response.into_body()).await;
    assert_eq!(shops(&monitor), [0, 0, 1, 1, 0, 0]);
}

#[tokio::test]
async fn a_service_that_is_polled_ready_and_not_called_is_no_part() {
    let (monitor, _) = monitor();
    shop(&monitor, async |_| {
        let mut stock = monitor
            .upstream("stock")
            .layer(service_fn(async |_| Ok::<_, &str>(hello())));
        let _: &mut _ = ServiceExt::<Request<()>>::ready(&mut stock).await?;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), SUCCESS);
}

#[tokio::test]
async fn a_service_called_twice_is_two_parts() {
    let (monitor, _) = monitor();
    for statuses in [[200, 200], [200, 500], [404, 200]] {
        shop(&monitor, async |composite| {
            for status in statuses {
                part(&monitor, &composite, status).await;
            }
            Ok(hello())
        })
        .await;
    }
    assert_eq!(shops(&monitor), [0, 1, 1, 1, 0, 0]);
    assert_eq!(parts(&monitor), [0, 4, 1, 1, 0, 0]);
}

#[tokio::test]
async fn parts_of_a_join_are_judged_together() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        tokio::join!(
            part(&monitor, &composite, 200),
            part(&monitor, &composite, 404),
            part(&monitor, &composite, 200),
        );
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), FAILURE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_in_spawned_tasks_are_waited_for() {
    for _ in 0..tower_revoke_testing::rounds(20, 500) {
        let (monitor, _) = monitor();
        let mut tasks = tokio::task::JoinSet::new();
        shop(&monitor, |composite| {
            for status in [200, 500, 404] {
                let request = attached(&composite);
                let monitor = monitor.clone();
                tasks.spawn(async move { send(&monitor, request, Ok(answer(status))).await });
            }
            async { Ok(hello()) }
        })
        .await;
        tasks.join_all().await;
        assert_eq!(shops(&monitor), EXCEPTION);
        assert_eq!(counted(&monitor, "shop").late, 0);
    }
}

#[tokio::test]
async fn a_request_is_waited_for_from_when_it_is_attached() {
    let (monitor, _) = monitor();
    let mut requests = Vec::new();
    shop(&monitor, |composite| {
        requests.extend([attached(&composite), attached(&composite)]);
        async { Ok(hello()) }
    })
    .await;
    assert_eq!(shops(&monitor), IN_FLIGHT);
    let last = requests.pop().expect("two requests");
    send(&monitor, last, Ok(hello())).await;
    assert_eq!(shops(&monitor), IN_FLIGHT);
    // Never sent.
    drop(requests);
    assert_eq!(shops(&monitor), CANCELLED);
}

#[tokio::test]
async fn attaching_a_request_again_replaces_what_was_attached() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        let mut twice = attached(&composite);
        composite.attach(&mut twice);
        send(&monitor, twice, Ok(hello())).await;
        let mut best_effort = attached(&composite);
        composite.best_effort().attach(&mut best_effort);
        send(&monitor, best_effort, Ok(answer(500))).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), SUCCESS);
    assert_eq!(parts(&monitor), [0, 1, 0, 1, 0, 0]);
}

#[tokio::test]
async fn a_part_of_a_nested_composite_is_none_of_the_outer_one() {
    let (monitor, _) = monitor();
    let open = nested_with_open_part(&monitor).await;
    // The outer one waits for the nested one, and that for its part.
    assert_eq!(shops(&monitor), IN_FLIGHT);
    assert_eq!(numbers(&counted(&monitor, "mall").total), IN_FLIGHT);
    drop(open);
    assert_eq!(shops(&monitor), CANCELLED);
    assert_eq!(numbers(&counted(&monitor, "mall").total), CANCELLED);
}

#[tokio::test]
async fn parts_may_be_counted_by_another_monitor() {
    let (monitor, _) = monitor();
    let other = super::monitor().0;
    shop(&monitor, async |composite| {
        part(&other, &composite, 500).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), EXCEPTION);
    assert_eq!(parts(&other), EXCEPTION);
}

#[tokio::test]
async fn without_a_composite_nothing_is_a_part() {
    let (monitor, _) = monitor();
    part(&monitor, &Composite::default(), 500).await;
    assert_eq!(parts(&monitor), EXCEPTION);
    assert!(monitor.snapshot().composites.is_empty());
}

#[tokio::test]
async fn composites_are_switched_off_and_on_while_they_run() {
    let (monitor, _) = monitor();
    let once = async || {
        shop(&monitor, async |composite| {
            part(&monitor, &composite, 404).await;
            Ok(hello())
        })
        .await;
    };
    once().await;
    monitor.count(Counted::Composites, false);
    // Handlers find a handle all the same.
    once().await;
    assert_eq!(shops(&monitor), FAILURE);
    assert_eq!(parts(&monitor).iter().sum::<u64>(), 2);
    monitor.count(Counted::Composites, true);
    // A call that has begun is counted to its end.
    shop(&monitor, async |composite| {
        monitor.count(Counted::Composites, false);
        part(&monitor, &composite, 500).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), [0, 0, 1, 1, 0, 0]);
}

/// What is not counted by itself may still make a composite fail.
#[tokio::test]
async fn parts_are_judged_while_they_are_not_counted() {
    let (monitor, _) = monitor();
    monitor.count(Counted::Upstreams, false);
    for status in [404, 200] {
        shop(&monitor, async |composite| {
            part(&monitor, &composite, status).await;
            Ok(hello())
        })
        .await;
    }
    assert_eq!(shops(&monitor), [0, 1, 1, 0, 0, 0]);
    assert_eq!(parts(&monitor), [0; 6]);
}

/// A part that was reserved for a call that never began.
#[tokio::test]
async fn a_request_that_a_panic_drops_is_an_exception_and_else_cancelled() {
    let (monitor, _) = monitor();
    for panics in [true, false] {
        shop(&monitor, async |composite| {
            let request = attached(&composite);
            let task = tokio::spawn(async move {
                let _request = request;
                assert!(!panics, "before the call");
            });
            assert_eq!(task.await.is_err(), panics);
            Ok(hello())
        })
        .await;
    }
    let total = counted(&monitor, "shop").total;
    assert_eq!((total.exception, total.cancelled), (1, 1));
}
