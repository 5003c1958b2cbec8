//! The table of the crate's documentation, a test a row.

use futures_util::FutureExt;
use http::Request;
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_core::Reason;

use super::*;

const REJECTED: [u64; 6] = [0, 0, 0, 0, 0, 1];

#[tokio::test]
async fn success_without_parts_is_success() {
    let (monitor, _) = monitor();
    shop(&monitor, async |_| Ok(hello())).await;
    assert_eq!(shops(&monitor), SUCCESS);
}

#[tokio::test]
async fn success_with_parts_that_all_succeed_is_success() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        part(&monitor, &composite, 200).await;
        part(&monitor, &composite, 204).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), SUCCESS);
    // In addition to what the parts count for.
    assert_eq!(parts(&monitor), [0, 2, 0, 0, 0, 0]);
}

#[tokio::test]
async fn success_with_one_failure_is_failure() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        part(&monitor, &composite, 200).await;
        part(&monitor, &composite, 404).await;
        part(&monitor, &composite, 200).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), FAILURE);
    assert_eq!(parts(&monitor), [0, 2, 1, 0, 0, 0]);
}

#[tokio::test]
async fn success_with_a_failure_and_an_exception_is_exception() {
    for statuses in [[404, 500], [500, 404]] {
        let (monitor, _) = monitor();
        shop(&monitor, async |composite| {
            for status in statuses {
                part(&monitor, &composite, status).await;
            }
            Ok(hello())
        })
        .await;
        assert_eq!(shops(&monitor), EXCEPTION);
    }
}

#[tokio::test]
async fn a_4xx_with_parts_that_all_succeed_is_failure() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        part(&monitor, &composite, 200).await;
        Ok(answer(409))
    })
    .await;
    assert_eq!(shops(&monitor), FAILURE);
}

#[tokio::test]
async fn a_5xx_an_error_or_a_panic_with_any_parts_is_exception() {
    for status in [200, 404, 500] {
        for own in [Ok(500), Err("down")] {
            let (monitor, _) = monitor();
            shop(&monitor, async |composite| {
                part(&monitor, &composite, status).await;
                own.map(answer)
            })
            .await;
            assert_eq!(shops(&monitor), EXCEPTION);
        }
        let (monitor, _) = monitor();
        let panicking = shop(&monitor, async |composite| {
            part(&monitor, &composite, status).await;
            panic!("of the handler")
        });
        let result = std::panic::AssertUnwindSafe(panicking).catch_unwind().await;
        assert!(result.is_err());
        assert_eq!(shops(&monitor), EXCEPTION);
    }
}

#[tokio::test]
async fn a_rejection_of_ours_without_parts_is_rejected() {
    let (monitor, _) = monitor();
    let layer = monitor.composite("shop");
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(rejected(Reason::Expired))
    }));
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    assert_eq!(shops(&monitor), REJECTED);
    assert_eq!(counted(&monitor, "shop").total.rejected_by["expired"], 1);
}

#[tokio::test]
async fn a_rejected_part_is_failure_unless_there_is_an_exception() {
    for (own, expected) in [
        (Ok(200), FAILURE),
        (Ok(404), FAILURE),
        (Ok(500), EXCEPTION),
        (Err("down"), EXCEPTION),
    ] {
        let (monitor, _) = monitor();
        let orders = monitor.layer("orders");
        let orders = orders.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(rejected(Reason::Revoked))
        }));
        shop(&monitor, async |composite| {
            let request = attached(&composite);
            let response = orders.clone().oneshot(request).await.expect("an answer");
            drain(response.into_body()).await;
            own.map(answer)
        })
        .await;
        assert_eq!(shops(&monitor), expected);
        let snapshot = monitor.snapshot();
        assert_eq!(numbers(&snapshot.services["orders"].total), REJECTED);
    }
}

/// The composite hands on what a layer inside of it rejects.
#[tokio::test]
async fn a_rejection_of_the_only_part_is_failure() {
    let (monitor, _) = monitor();
    let both = (monitor.composite("shop"), monitor.layer("orders"));
    let service = both.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(rejected(Reason::Revoked))
    }));
    let response = service.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    assert_eq!(shops(&monitor), FAILURE);
}

#[tokio::test]
async fn success_with_a_dropped_part_is_cancelled() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        let slow = silent(&monitor).oneshot(attached(&composite));
        tokio::select! {
            biased;
            _ = slow => unreachable!("it never answers"),
            () = std::future::ready(()) => Ok(hello()),
        }
    })
    .await;
    assert_eq!(shops(&monitor), CANCELLED);
    assert_eq!(parts(&monitor), CANCELLED);
}

#[tokio::test]
async fn success_with_a_best_effort_part_of_whatever_outcome_is_success() {
    let (monitor, hand) = monitor();
    for status in [404, 500] {
        shop(&monitor, async |composite| {
            part(&monitor, &composite.best_effort(), status).await;
            Ok(hello())
        })
        .await;
    }
    // Dropped, and open for longer than `part_timeout`.
    let mut open = None;
    shop(&monitor, async |composite| {
        let best_effort = composite.best_effort();
        drop(start_silent(&monitor, &best_effort));
        open = Some(start_silent(&monitor, &best_effort));
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), [0, 3, 0, 0, 0, 0]);
    hand.advance(PART_TIMEOUT);
    drop(open);
    assert_eq!(shops(&monitor), [0, 3, 0, 0, 0, 0]);
    assert_eq!(counted(&monitor, "shop").late, 0);
}

#[tokio::test]
async fn a_client_that_leaves_with_parts_that_succeeded_is_cancelled() {
    for (status, expected) in [(200, CANCELLED), (500, EXCEPTION)] {
        let (monitor, _) = monitor();
        let shop = shop(&monitor, async |composite| {
            part(&monitor, &composite, status).await;
            std::future::pending().await
        });
        assert!(shop.now_or_never().is_none());
        assert_eq!(shops(&monitor), expected);
    }
}

#[tokio::test]
async fn success_with_a_part_that_is_open_past_part_timeout_is_cancelled() {
    let (monitor, hand) = monitor();
    let mut open = None;
    shop(&monitor, async |composite| {
        open = Some(start_silent(&monitor, &composite));
        Ok(hello())
    })
    .await;
    hand.advance(PART_TIMEOUT - Duration::from_millis(1));
    assert_eq!(shops(&monitor), IN_FLIGHT);
    hand.advance(Duration::from_millis(1));
    assert_eq!(shops(&monitor), CANCELLED);
    assert_eq!(parts(&monitor), IN_FLIGHT);
}

/// Calls a service that fails once, and calls it again if it fails.
async fn retried<S, B>(mut service: S, request: Request<()>) -> http::Response<B>
where
    S: Service<Request<()>, Response = http::Response<B>, Error = &'static str>,
{
    for _ in 0..2 {
        let service = service.ready().await.expect("ready");
        if let Ok(response) = service.call(request.clone()).await {
            return response;
        }
    }
    panic!("it failed twice")
}

fn failing_once() -> impl Service<Request<()>, Response = Answer, Error = &'static str> {
    let mut answers = [Err("down"), Ok(hello())].into_iter();
    service_fn(move |_: Request<()>| std::future::ready(answers.next().expect("two calls")))
}

#[tokio::test]
async fn an_exception_and_then_success_inside_of_a_retry_is_exception() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        let stock = monitor.upstream("stock").layer(failing_once());
        let response = retried(stock, attached(&composite)).await;
        drain(response.into_body()).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), EXCEPTION);
    assert_eq!(parts(&monitor), [0, 1, 0, 1, 0, 0]);
}

#[tokio::test]
async fn an_exception_and_then_success_outside_of_the_retry_is_success() {
    let (monitor, _) = monitor();
    shop(&monitor, async |composite| {
        let stock = monitor.upstream("stock").layer(service_fn(async |request| {
            Ok::<_, Infallible>(retried(failing_once(), request).await)
        }));
        let response = stock
            .oneshot(attached(&composite))
            .await
            .expect("it answers");
        drain(response.into_body()).await;
        Ok(hello())
    })
    .await;
    assert_eq!(shops(&monitor), SUCCESS);
    assert_eq!(parts(&monitor), SUCCESS);
}

#[tokio::test]
async fn a_nested_composite_that_failed_is_one_part_that_failed() {
    let (monitor, _) = monitor();
    let outer = monitor.composite("mall");
    let outer = outer.layer(service_fn(async |request: Request<()>| {
        shop_within(&monitor, request, async |composite| {
            part(&monitor, &composite, 404).await;
            Ok(hello())
        })
        .await;
        Ok::<_, Infallible>(hello())
    }));
    let response = outer.oneshot(Request::new(())).await.expect("an answer");
    drain(response.into_body()).await;
    assert_eq!(shops(&monitor), FAILURE);
    assert_eq!(numbers(&counted(&monitor, "mall").total), FAILURE);
}
