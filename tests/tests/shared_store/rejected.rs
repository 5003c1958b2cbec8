//! G4 across processes: how soon after a revocation on one node another node rejects the token.

use std::time::Duration;

use http::Method;
use tower_revoke::Clock;
use tower_revoke_testing::rounds;

use crate::kit::{Node, PATIENT, SPENT, Stage, Told, keeps_its_bound};

/// The default value.
const MIRROR: &str = "mirror_capacity=2000000";

/// How often a rejected token is checked again.
const NEVER_AGAIN: usize = 20;

pub(crate) async fn elsewhere(kind: &'static str, place: String, told: Told) {
    let stage = Stage::new(kind, place);
    let mirrored = match told {
        // Only a push by the store explains a rejection before the end of the test.
        Told::AtOnce => ("pushed, bound 600 s", rounds(40, 200), [PATIENT, MIRROR]),
        Told::WhenAsked => (
            "polled, bound 2 s",
            rounds(8, 20),
            ["max_staleness=2000", MIRROR],
        ),
    };
    let read_through = (
        "asked, bound 0.5 s",
        rounds(8, 20),
        ["max_staleness=500", "mirror_capacity=0"],
    );
    for (how, number, settings) in [mirrored, read_through] {
        let (one, other) = (stage.node(&settings).await, stage.node(&settings).await);
        let mut times = times_of(&stage, [&one, &other], how, number).await;
        times.sort();
        let of = |part: usize| times[(times.len() - 1) * part / 100];
        println!(
            "{kind}, {how}: rejected elsewhere after {:?} (p50), {:?} (p99), {:?} at most",
            of(50),
            of(99),
            of(100)
        );
        for node in [&one, &other] {
            keeps_its_bound(node).await;
        }
    }
}

/// Measures the time from the acknowledgement of a revocation on one node to the first rejection on
/// another.
async fn times_of(stage: &Stage, nodes: [&Node; 2], how: &str, number: usize) -> Vec<Duration> {
    let (clock, mut times) = (Clock::system(), Vec::new());
    for round in 0..number {
        // Alternates between one token and all tokens of a subject.
        let path = ["/log-out", "/log-out-everywhere"][round % 2];
        let (here, there) = (nodes[round / 2 % 2], nodes[1 - round / 2 % 2]);
        let (mut here, mut there) = (here.caller().await, there.caller().await);
        let token = stage.token(&format!("{how} {round}"));
        // Both nodes have cached it as valid.
        assert_eq!(here.orders(&token).await, "200");
        assert_eq!(there.orders(&token).await, "200");
        assert_eq!(here.ask(Method::POST, path, &token).await, "204");
        let said = clock.uptime();
        there.is_rejected(&token, &["200"]).await;
        times.push(clock.uptime() - said);
        for caller in [&mut here, &mut there] {
            for _ in 0..NEVER_AGAIN {
                assert_eq!(caller.orders(&token).await, SPENT, "{how}, round {round}");
            }
        }
    }
    times
}
