//! G5 as clients see it: the store's server is killed or frozen under load, and comes back.

use std::sync::Arc;

use http::Method;
use tower_revoke_testing::rounds;
use tower_revoke_tests::servers::StoreServer;

use crate::{
    kit::{Caller, IN_THE_END, PATIENT, SPENT, Stage, Told},
    load::Load,
};

/// A staleness bound that is soon reached; [`PATIENT`] is never reached here.
const STRICT: &str = "max_staleness=1000";

const ANSWERS_SOON: &str = "store_timeout=500";

/// The index of each among the nodes of the load.
const HASTY: usize = 0;
const CALM: usize = 1;

pub(crate) async fn under_load<S: StoreServer>(kind: &'static str, told: Told) {
    let mut server = S::fresh().await;
    let stage = Arc::new(Stage::new(kind, server.place()));
    let hasty = stage.node(&[STRICT, ANSWERS_SOON]).await;
    let patient = match told {
        Told::AtOnce => PATIENT,
        // The other node's revocations may take a quarter of it to arrive.
        Told::WhenAsked => "max_staleness=60000",
    };
    let calm = stage.node(&[patient, ANSWERS_SOON]).await;
    let known = stage.token("known");
    let load = Load::start(&stage, [&hasty, &calm], &known).await;
    let mut revoked: Vec<String> = Vec::new();
    for round in 0..rounds(2, 4) {
        let is_kill = round % 2 == 0;
        load.says(&[(HASTY, "/invoice", "200"), (CALM, "/invoice", "200")])
            .await;
        if is_kill {
            server.kill().await;
        } else {
            server.freeze();
        }
        // From now on uses are rejected, and so is everything where no answer is fresh enough.
        load.says(&[
            (HASTY, "/invoice", "503"),
            (CALM, "/invoice", "503"),
            (HASTY, "/orders", "503"),
        ])
        .await;
        let mut caller = calm.caller().await;
        for token in &revoked {
            assert_eq!(
                caller.orders(token).await,
                SPENT,
                "a revoked token stays rejected"
            );
        }
        assert_eq!(caller.orders(&known).await, "200", "a fresh answer");
        let token = stage.token("somebody");
        let log_out = caller.ask(Method::POST, "/log-out", &token).await;
        assert_eq!(log_out, "503", "the revocation is not durable");
        let told = hasty.metrics().await;
        assert_eq!(told["mirror_live"], 0.0, "{told:?}");
        assert!(told["mirror_age_seconds"] >= told["max_staleness_seconds"]);
        assert!(told["store_failures_total"] > 0.0, "{told:?}");
        let told = calm.metrics().await;
        assert_eq!(told["mirror_live"], 1.0, "{told:?}");
        if is_kill {
            server.restart().await;
        } else {
            server.thaw();
        }
        // Service resumes without a restart of the nodes.
        load.says(&[
            (HASTY, "/invoice", "200"),
            (CALM, "/invoice", "200"),
            (HASTY, "/orders", "200"),
        ])
        .await;
        for (here, there) in [(&hasty, &calm), (&calm, &hasty)] {
            let token = stage.token(&format!("round {round}"));
            let (mut here, mut there) = (here.caller().await, there.caller().await);
            wait_for_200(&mut there, &token).await;
            wait_for_200(&mut here, &token).await;
            assert_eq!(here.ask(Method::POST, "/log-out", &token).await, "204");
            there.is_rejected(&token, &["200"]).await;
            revoked.push(token);
        }
        hasty
            .tells("a live mirror", |told| told["mirror_live"] == 1.0)
            .await;
    }
    let winners = load.stop().await;
    let won_twice = winners.values().filter(|nodes| nodes.len() > 1).count();
    println!(
        "{kind}: {} tokens won, {won_twice} won twice",
        winners.len()
    );
    assert_eq!(won_twice, 0);
    // Nothing that was spent or revoked is valid again, not even for a new node.
    let late = stage.node(&[PATIENT]).await;
    for node in [&hasty, &calm, &late] {
        let mut caller = node.caller().await;
        for token in winners.keys().chain(&revoked) {
            // Recent changes of the other node may still be on their way, except to a node that
            // just loaded everything.
            let meanwhile: &[&str] = if std::ptr::eq(node, &late) {
                &[]
            } else {
                &["200"]
            };
            caller.is_rejected(token, meanwhile).await;
        }
        let told = node.metrics().await;
        assert!(
            told["max_answer_age_seconds"] < told["max_staleness_seconds"],
            "{told:?}"
        );
        assert_eq!(
            told["restored_entries_total"], 0.0,
            "writes were lost: {told:?}"
        );
    }
}

/// A node may still report its last failed attempt to connect.
async fn wait_for_200(caller: &mut Caller, token: &str) {
    let well = async {
        loop {
            match caller.orders(token).await.as_str() {
                "200" => break,
                verdict => assert_eq!(verdict, "503"),
            }
        }
    };
    let well = tokio::time::timeout(IN_THE_END, well).await;
    well.expect("the token is served in the end");
}

/// A store that is configured but doesn't work keeps the program from starting.
pub(crate) async fn at_the_start<S: StoreServer>(kind: &'static str) {
    let mut server = S::fresh().await;
    let stage = Stage::new(kind, server.place());
    let token = stage.token("ann");
    let node = stage.node(&[]).await;
    let mut caller = node.caller().await;
    assert_eq!(caller.ask(Method::POST, "/log-out", &token).await, "204");
    for is_kill in [true, false] {
        if is_kill {
            server.kill().await;
        } else {
            server.freeze();
        }
        let (status, said) = stage.program(&["store_timeout=500"]).last_words().await;
        assert!(!status.success(), "{said:?}");
        let listens = said.iter().any(|line| line.contains("listening on"));
        assert!(!listens, "{said:?}");
        if is_kill {
            server.restart().await;
        } else {
            server.thaw();
        }
        let node = stage.node(&[]).await;
        assert_eq!(node.caller().await.orders(&token).await, SPENT);
    }
}
