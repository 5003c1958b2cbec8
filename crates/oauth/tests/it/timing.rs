//! Tests when each token is sent, with tokio's paused time.

use std::{
    collections::HashMap,
    future::{pending, ready},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tower_revoke_core::{
    BoxError, Clock, HealthSource, HealthStatus, QueueFull, RemoteRevocation, UnixTime,
};
use tower_revoke_oauth::DeliveryFailure;
use tower_revoke_testing::RecordedLog;

use crate::support::{answer, copy, reserve, rest, scripted, status, tell, verified};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) fn unreachable() -> BoxError {
    "the network is down".into()
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_at_random_up_to_a_minute() {
    let mut longest = Duration::ZERO;
    for seed in 0..8 {
        let (client, mut tries) = scripted(async |_, _| Ok(status(500)));
        let client = client.seed(seed).build().unwrap();
        tell(&client, "abc");
        let mut last = tries.recv().await.unwrap().at;
        for n in 0..12 {
            let at = tries.recv().await.unwrap().at;
            let most = secs(60.min(1 << n)) + Duration::from_millis(2);
            assert!(at - last <= most, "pause {n}: {:?}", at - last);
            longest = longest.max(at - last);
            last = at;
        }
    }
    assert!(longest > secs(40), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_pauses_and_another_does_not() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let (client, mut tries) = scripted(async |_, _| Ok(status(500)));
        let client = client.seed(seed).build().unwrap();
        let start = Instant::now();
        tell(&client, "abc");
        let mut times = Vec::new();
        for _ in 0..6 {
            times.push(tries.recv().await.unwrap().at - start);
        }
        runs.push(times);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[tokio::test(start_paused = true)]
async fn rfc7009_2_2_1_retry_after_is_waited_for() {
    let now = UnixTime::from_secs(784_111_777);
    for (value, least) in [
        ("120", 120),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("86400", 300),
    ] {
        for code in [429, 503] {
            let (clock, _hand) = Clock::manual(now);
            let (client, mut tries) = scripted(move |n, _| {
                ready(Ok(if n == 0 {
                    answer(code, &[("retry-after", value)], "")
                } else {
                    status(200)
                }))
            });
            let client = client.clock(clock).build().unwrap();
            tell(&client, "first");
            let first = tries.recv().await.unwrap();
            // A later token waits as well, because the server asked for the pause.
            tell(&client, "second");
            let second = tries.recv().await.unwrap();
            let pause = second.at - first.at;
            assert!(pause >= secs(least), "{value}: {pause:?}");
            assert!(pause <= secs(least + 2), "{value}: {pause:?}");
            assert_eq!(client.shutdown(secs(5)).await.queued, 0);
            let busy = StatusCode::from_u16(code).unwrap();
            assert_eq!(
                client.stats().last_failure,
                Some(DeliveryFailure::Busy(busy))
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trap_16_rejected_credentials_are_retried_slowly_and_logged() {
    let log = RecordedLog::start();
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(1_000));
    let (client, mut tries) = scripted(async |_, _| Ok(status(401)));
    let client = client.clock(clock).build().unwrap();
    tell(&client, "abc");
    let mut last = tries.recv().await.unwrap().at;
    for _ in 0..10 {
        let at = tries.recv().await.unwrap().at;
        assert!(at - last >= secs(30) && at - last < secs(31));
        last = at;
    }
    let stats = client.stats();
    assert!(stats.needs_operator);
    assert_eq!(stats.last_failure, Some(DeliveryFailure::Credentials));
    assert_eq!((stats.queued, stats.rejected, stats.abandoned), (1, 0, 0));
    assert_eq!(stats.failing_since, Some(UnixTime::from_secs(1_000)));
    let check = &client.health()[0];
    assert_eq!(
        (check.name, check.status),
        ("revocations", HealthStatus::Fail)
    );
    assert!(check.output.starts_with("1 queued; "), "{}", check.output);
    assert_eq!(check.since, stats.failing_since);
    assert_eq!(log.lines_with("ERROR"), 1, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_rejection_of_replaced_credentials_is_ignored() {
    let (client, mut tries) = scripted(async |n, _| {
        if n == 0 {
            sleep(secs(5)).await;
            return Ok(status(401));
        }
        Ok(status(200))
    });
    let client = client.build().unwrap();
    tell(&client, "abc");
    let first = tries.recv().await.unwrap();
    client.set_client_credentials("shop", "new").unwrap();
    let second = tries.recv().await.unwrap();
    assert!(second.at - first.at < secs(6));
    let header = |request: &http::Request<_>| request.headers()["authorization"].clone();
    assert!(header(&first.request).is_sensitive());
    assert_ne!(header(&first.request), header(&second.request));
    assert_eq!(client.shutdown(secs(1)).await.queued, 0);
    assert!(client.set_client_credentials("shop", "").is_err());
}

#[tokio::test(start_paused = true)]
async fn one_slow_response_does_not_block_the_others() {
    let (client, mut tries) = scripted(async |_, token| {
        if token == "slow" {
            pending::<()>().await;
        }
        Ok(status(200))
    });
    let client = client.build().unwrap();
    let start = Instant::now();
    tell(&client, "slow");
    for n in 0..100 {
        tell(&client, &format!("quick-{n}"));
    }
    for _ in 0..101 {
        assert!(tries.recv().await.unwrap().at - start < secs(1));
    }
    // The request times out, and is retried.
    let again = tries.recv().await.unwrap();
    assert_eq!(again.token, "slow");
    assert!(again.at - start >= secs(10) && again.at - start <= secs(12));
    assert_eq!(client.stats().delivered, 100);
    assert_eq!(client.stats().last_failure, Some(DeliveryFailure::TimedOut));
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_at_once_than_were_allowed() {
    let now_and_most = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = now_and_most.clone();
    let (client, _tries) = scripted(move |_, _| {
        let seen = seen.clone();
        async move {
            let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
            seen.1.fetch_max(now, Ordering::SeqCst);
            sleep(secs(1)).await;
            seen.0.fetch_sub(1, Ordering::SeqCst);
            Ok(status(200))
        }
    });
    let client = client.max_concurrency(3).build().unwrap();
    for n in 0..20 {
        tell(&client, &format!("token-{n}"));
    }
    assert!(client.shutdown(secs(60)).await.is_complete());
    assert_eq!(now_and_most.1.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_down_is_spared_and_everything_is_sent_when_it_is_back() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = is_up.clone();
    let (client, mut tries) = scripted(move |_, _| {
        let up = up.load(Ordering::SeqCst);
        async move {
            if up {
                Ok(status(200))
            } else {
                Err(unreachable())
            }
        }
    });
    let client = client.queue_capacity(500).build().unwrap();
    for n in 0..500 {
        tell(&client, &format!("token-{n}"));
    }
    let told = timeout(secs(600), pending::<()>()).await;
    assert!(told.is_err());
    let count = rest(&mut tries).len();
    assert!((8..200).contains(&count), "{count} attempts in ten minutes");
    is_up.store(true, Ordering::SeqCst);
    // Without a shutdown: the next attempt finds it up, and the others follow at once.
    let first = tries.recv().await.unwrap().at;
    let mut last = first;
    for _ in 1..500 {
        last = tries.recv().await.unwrap().at;
    }
    assert!(last - first <= secs(61), "{:?}", last - first);
    assert!(client.shutdown(secs(60)).await.is_complete());
    assert_eq!(client.stats().delivered, 500);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_always_fails_does_not_stop_the_others() {
    for code in [500, 403, 404] {
        let (client, mut tries) =
            scripted(move |_, token| ready(Ok(status(if token == "poison" { code } else { 200 }))));
        let client = client.build().unwrap();
        tell(&client, "poison");
        for _ in 0..5 {
            while tries.recv().await.unwrap().token != "poison" {}
            let start = Instant::now();
            tell(&client, "good");
            let next = tries.recv().await.unwrap();
            assert_eq!(next.token, "good", "{code}");
            assert!(next.at - start < secs(1), "{code}: {:?}", next.at - start);
        }
        assert_eq!(client.stats().queued, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_given_up_after_a_day() {
    let log = RecordedLog::start();
    let (client, mut tries) = scripted(async |_, _| Err(unreachable()));
    let client = client.build().unwrap();
    let start = Instant::now();
    tell(&client, "abc");
    sleep(DAY - secs(1)).await;
    assert_eq!((client.stats().queued, client.stats().abandoned), (1, 0));
    sleep(secs(2)).await;
    assert_eq!((client.stats().queued, client.stats().abandoned), (0, 1));
    let last = rest(&mut tries).pop().unwrap().at;
    assert!(last - start > DAY - secs(61) && last - start <= DAY);
    assert_eq!(log.lines_with("in time, and are dropped"), 1);
    // Its slot is free.
    tell(&client, "def");
    assert_eq!(tries.recv().await.unwrap().token, "def");
}

/// A token that no verifier accepts any more is not worth a request.
#[tokio::test(start_paused = true)]
async fn a_token_is_given_up_when_it_has_expired() {
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(1_000));
    let (client, mut tries) = scripted(async |_, _| Err(unreachable()));
    let client = client.clock(clock).build().unwrap();
    let remote = Arc::<dyn RemoteRevocation>::from(client.clone());
    let start = Instant::now();
    tell(&client, "lasting");
    let short = verified("short", json!({"exp": 1_100}));
    let slot = remote.reserve(&short).unwrap();
    slot.send(copy("short")).await;
    // Stores and verifiers go on for 300 s beyond `exp`.
    sleep(secs(399)).await;
    assert_eq!((client.stats().queued, client.stats().abandoned), (2, 0));
    sleep(secs(2)).await;
    assert_eq!((client.stats().queued, client.stats().abandoned), (1, 1));
    let tries = rest(&mut tries);
    let last = tries.iter().rfind(|seen| seen.token == "short").unwrap().at;
    assert!(last - start <= secs(400), "{:?}", last - start);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_rejects_and_an_unused_slot_is_released() {
    let (client, _tries) = scripted(async |_, _| Err(unreachable()));
    let client = client.queue_capacity(3).build().unwrap();
    tell(&client, "abc");
    let second = reserve(&client, "2").unwrap();
    let third = reserve(&client, "def").unwrap();
    assert_eq!(reserve(&client, "4").unwrap_err(), QueueFull);
    assert_eq!((client.stats().queued, client.stats().reserved), (1, 2));
    drop(second);
    let again = reserve(&client, "2").unwrap();
    assert_eq!(reserve(&client, "4").unwrap_err(), QueueFull);
    third.send(copy("def")).await;
    drop(again);
    assert_eq!((client.stats().queued, client.stats().reserved), (2, 0));
    // A queued token keeps its slot until the server was told.
    sleep(secs(3_600)).await;
    let third = reserve(&client, "3").unwrap();
    assert_eq!(reserve(&client, "4").unwrap_err(), QueueFull);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_once_the_server_was_told() {
    let (client, _tries) = scripted(async |n, _| Ok(status(if n % 2 == 0 { 200 } else { 400 })));
    let client = client.queue_capacity(1).build().unwrap();
    for n in 0..10 {
        tell(&client, &format!("token-{n}"));
        assert_eq!(reserve(&client, "another").unwrap_err(), QueueFull);
        assert!(client.shutdown(secs(1)).await.is_complete());
    }
    assert_eq!((client.stats().delivered, client.stats().rejected), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn shutdown_retries_pending_tokens_at_once() {
    let (client, mut tries) = scripted(async |n, _| Ok(status(if n == 0 { 401 } else { 200 })));
    let client = client.build().unwrap();
    tell(&client, "abc");
    tries.recv().await.unwrap();
    tokio::task::yield_now().await;
    let start = Instant::now();
    let told = client.shutdown(secs(10)).await;
    assert!(told.is_complete());
    assert_eq!((told.delivered, told.queued), (1, 0));
    assert!(start.elapsed() < secs(1));
}

#[tokio::test(start_paused = true)]
async fn shutdown_reports_what_is_left() {
    let (client, _tries) = scripted(async |_, token| {
        if token == "stuck" {
            pending::<()>().await;
        }
        Ok(status(200))
    });
    let client = client.request_timeout(DAY).build().unwrap();
    tell(&client, "stuck");
    tell(&client, "abc");
    let held = reserve(&client, "held").unwrap();
    let start = Instant::now();
    let told = client.shutdown(secs(10)).await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!((told.delivered, told.queued, told.reserved), (1, 1, 1));
    assert!(!told.is_complete());
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_calls_with_a_reserved_slot() {
    let (client, _tries) = scripted(async |_, _| Ok(status(200)));
    let client = client.build().unwrap();
    let slot = reserve(&client, "abc").unwrap();
    let unused = reserve(&client, "unused").unwrap();
    let call = tokio::spawn(async move {
        sleep(secs(3)).await;
        slot.send(copy("abc")).await;
        sleep(secs(1)).await;
        drop(unused);
    });
    let start = Instant::now();
    let told = client.shutdown(secs(10)).await;
    assert_eq!(start.elapsed().as_secs(), 4);
    assert_eq!((told.delivered, told.queued, told.reserved), (1, 0, 0));
    call.await.unwrap();
    // An empty queue is done at once.
    assert!(client.shutdown(Duration::ZERO).await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_panics_loses_no_token() {
    let (client, _tries) = scripted(async |n, _| {
        assert!(n > 0, "the first attempt panics");
        Ok(status(200))
    });
    let client = client.build().unwrap();
    tell(&client, "abc");
    assert!(client.shutdown(secs(60)).await.is_complete());
    assert_eq!(client.stats().last_failure, Some(DeliveryFailure::Aborted));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tokens_reach_a_server_that_is_rarely_up() {
    let told = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
    let seen = told.clone();
    let (client, _tries) = scripted(move |n, token| {
        let seen = seen.clone();
        async move {
            match n % 7 {
                1 => return Err(unreachable()),
                2 => return Ok(status(503)),
                3 => pending().await,
                4 => return Ok(status(302)),
                _ => {}
            }
            *seen.lock().unwrap().entry(token).or_default() += 1;
            Ok(status(200))
        }
    });
    let client = client
        .queue_capacity(10_000)
        .retry_timeout(365 * DAY)
        .build()
        .unwrap();
    for n in 0..10_000 {
        tell(&client, &format!("token-{n}"));
    }
    assert!(client.shutdown(300 * DAY).await.is_complete());
    assert_eq!(client.stats().delivered, 10_000);
    assert_eq!(told.lock().unwrap().len(), 10_000);
}

/// TRAPS 48.
#[tokio::test(start_paused = true)]
async fn trap_48_a_server_that_fails_occasionally_does_not_fill_the_log() {
    let log = RecordedLog::start();
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(1_000));
    let (client, _tries) = scripted(async |n, _| Ok(status([500, 200][n % 2])));
    let client = client.clock(clock).build().unwrap();
    for n in 0..100 {
        tell(&client, &n.to_string());
    }
    assert_eq!(client.shutdown(secs(100_000)).await.queued, 0);
    let text = log.text();
    assert!(log.lines_with("revokes tokens again") <= 3, "{text}");
    assert!(
        log.lines_with("can't be revoked at the authorization server yet") <= 3,
        "{text}"
    );
}
