//! Tests that what operators do is logged for audit, and what layers do is not.

use std::sync::Arc;

use tower_revoke_core::{
    Clock, Lift, RecordFilter, Revocation, RevocationKey, Revocations, TokenId, UnixTime,
};
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::RecordedLog;

use crate::support::{Behavior, ISSUED, ISSUER, Steered, ann_logs_out, end_of, token};

const TARGET: &str = "tower_revoke::audit";
const ACTION: &str = "INFO message=an administrative action via=\"list\"";

fn lines(log: &RecordedLog) -> Vec<String> {
    log.of_target(TARGET)
}

#[tokio::test]
async fn revocations_and_lifts_are_audited_with_who_why_what_and_until_when() {
    let (clock, _) = Clock::manual(ISSUED);
    let list = RevocationList::builder(MemoryStore::new()).clock(clock);
    let life = std::time::Duration::from_secs(1_000);
    let list = list.max_token_life(life).build().expect("a list");
    let log = RecordedLog::start();
    let ann = RevocationKey::subject(ISSUER, "ann");
    let everywhere = Revocation::all_of(ann.clone()).expect("a rule");
    let everywhere = everywhere.by("bob").because("laptop lost");
    list.revoke(everywhere).await.expect("it is stored");
    let id = TokenId::from_bytes([0xab; 16]);
    let exp = UnixTime::from_secs(4_000);
    let one = Revocation::of_token(id, Some(exp));
    list.revoke(one).await.expect("it is stored");
    for _ in 0..2 {
        let lift = Lift::new(ann.clone()).by("bob").because("laptop found");
        list.lift(lift).await.expect("an answer");
    }
    // The life, and the margin of the rule's time and of `exp`.
    let rule_until = ISSUED.as_secs() + 1_000 + 2 * 300;
    let hash = "ab".repeat(16);
    let of_ann = format!("issuer={ISSUER:?} claim=\"sub\" value=\"ann\"");
    let found = "reason=\"laptop found\"";
    assert_eq!(
        lines(&log),
        [
            format!(
                "{ACTION} action=\"revoke\" by=\"bob\" {of_ann} reason=\"laptop lost\" until={rule_until} outcome=\"done\""
            ),
            format!("{ACTION} action=\"revoke\" token=\"{hash}\" until=4300 outcome=\"done\""),
            format!("{ACTION} action=\"lift\" by=\"bob\" {of_ann} {found} outcome=\"done\""),
            format!("{ACTION} action=\"lift\" by=\"bob\" {of_ann} {found} outcome=\"unchanged\""),
        ]
    );
}

#[tokio::test]
async fn an_import_is_one_event_with_the_number_of_lines() {
    let list = RevocationList::in_memory();
    list.revoke(ann_logs_out(ISSUED)).await.expect("stored");
    list.revoke(end_of(&token("1"))).await.expect("stored");
    let mut export = list.export(RecordFilter::all());
    let file = export.next_lines().await.expect("an answer");
    let file = file.expect("two lines");
    let log = RecordedLog::start();
    let other = RevocationList::in_memory();
    other.import(file.lines()).await.expect("it is stored");
    let malformed = file.lines().chain(["nonsense"]);
    other.import(malformed).await.expect_err("no revocation");
    let action = format!("{ACTION} action=\"import\"");
    assert_eq!(
        lines(&log),
        [
            format!("{action} outcome=\"done\" count=2"),
            format!("{action} outcome=\"failed\" error=\"line 3 is no revocation\" count=2"),
        ]
    );
}

#[tokio::test]
async fn what_fails_or_is_given_up_is_audited_too() {
    let store = Steered::new(MemoryStore::new());
    let list = RevocationList::new(store.clone());
    let log = RecordedLog::start();
    store.set(Behavior::Fails);
    let id = token("1").id();
    let begins_with = format!("token=\"{id}");
    list.revoke(end_of(&token("1"))).await.expect_err("down");
    list.lift(Lift::new(id)).await.expect_err("down");
    store.set(Behavior::Hangs);
    let revoking = list.revoke(end_of(&token("1")));
    let asked = store.asked();
    tokio::select! {
        biased;
        _ = revoking => panic!("the store hangs"),
        () = store.was_asked(asked + 1) => {}
    }
    let lines = lines(&log);
    for (line, (action, outcome)) in lines.iter().zip([
        ("revoke", "failed"),
        ("lift", "failed"),
        ("revoke", "abandoned"),
    ]) {
        assert!(line.contains(&format!("action=\"{action}\"")), "{line}");
        assert!(line.contains(&begins_with), "{line}");
        assert!(line.contains(&format!("outcome=\"{outcome}\"")), "{line}");
    }
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[tokio::test]
async fn what_layers_revoke_is_not_audited() {
    let list: Arc<dyn Revocations> = RevocationList::in_memory().into();
    let log = RecordedLog::start();
    let revoked = list.revoke(end_of(&token("1"))).await;
    revoked.expect("it is stored");
    assert_eq!(lines(&log), Vec::<String>::new());
    assert_eq!(log.lines(), Vec::<String>::new());
}
