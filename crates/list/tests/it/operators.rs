//! Tests the operations of operators: pages of records, counts, one key, export and import.

use crate::support::{
    Behavior, ISSUED, ISSUER, Steered, ann_logs_out, end_of, lift, new_use, token,
};
use proptest::prelude::*;
use tower_revoke_core::{
    Change, ChangeFeed, Clock, KeyDigest, Lift, Listed, RecordFilter, Revocation, RevocationKey,
    Store, StoreError, TokenId, TokenStatus, UnixTime,
};
use tower_revoke_list::{ImportError, MemoryStore, RevocationList};

fn list() -> (RevocationList, MemoryStore) {
    let store = MemoryStore::new();
    (RevocationList::new(store.clone()), store)
}

fn at(secs: u64) -> UnixTime {
    UnixTime::from_secs(ISSUED.as_secs() + secs)
}

async fn exported(list: &RevocationList) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    let mut export = list.export(RecordFilter::all());
    while let Some(more) = export.next_lines().await.unwrap() {
        assert!(more.ends_with('\n'));
        lines.extend(more.lines().map(str::to_owned));
    }
    lines.sort();
    lines
}

async fn numbered(list: &RevocationList, count: u16) {
    for number in 0..count {
        let mut id = [7; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        let reason = if number % 2 == 0 { "even" } else { "odd" };
        let said = Revocation::of_token(TokenId::from_bytes(id), None)
            .at(at(number.into()))
            .by("ann")
            .because(reason);
        list.revoke(said).await.unwrap();
    }
}

#[tokio::test]
async fn every_matching_record_is_in_exactly_one_page() {
    let (list, _) = list();
    numbered(&list, 2_500).await;
    let mut pages = list.records(RecordFilter::all().because("odd").since(at(100)));
    let mut seen = std::collections::BTreeSet::new();
    while let Some(page) = pages.next_page().await.unwrap() {
        assert!((1..=1_000).contains(&page.len()));
        for record in page {
            assert_eq!((record.by.as_str(), record.reason.as_str()), ("ann", "odd"));
            assert!(record.at >= at(100));
            assert!(seen.insert(record.digest), "twice");
        }
    }
    assert_eq!(seen.len(), 1_200);
    assert_eq!(pages.next_page().await.unwrap(), None);
    assert_eq!(list.count(RecordFilter::all()).await.unwrap(), 2_500);
    assert_eq!(
        list.count(RecordFilter::all().because("none"))
            .await
            .unwrap(),
        0
    );
}

#[tokio::test]
async fn one_key_is_inspected() {
    let (list, _) = list();
    let (revoked, spent, both) = (token("1"), token("2"), token("3"));
    list.revoke(end_of(&revoked).at(ISSUED).by("ann").because("lost"))
        .await
        .unwrap();
    list.revoke(end_of(&both)).await.unwrap();
    list.revoke(ann_logs_out(ISSUED)).await.unwrap();
    for token in [&spent, &both] {
        let mut use_ = new_use(token, 1, 1);
        use_.until = None;
        list.take_use(use_).await.unwrap();
    }
    let seen = list.inspect(revoked.id()).await.unwrap();
    let until = revoked.retained_until();
    assert_eq!(seen.listed, Some(Listed::Revoked { until }));
    let record = seen.record.unwrap();
    assert_eq!(record.key, Some(revoked.id().into()));
    let audit = (record.at, record.by.as_str(), record.reason.as_str());
    assert_eq!(audit, (ISSUED, "ann", "lost"));
    let seen = list.inspect(spent.id()).await.unwrap();
    assert_eq!(
        (seen.listed, seen.record),
        (Some(Listed::Spent { until: None }), None)
    );
    let seen = list.inspect(both.id()).await.unwrap();
    assert!(matches!(seen.listed, Some(Listed::Revoked { .. })) && seen.record.is_some());
    let ann = RevocationKey::subject(ISSUER, "ann");
    assert_eq!(
        list.inspect(ann.clone()).await.unwrap().record.unwrap().key,
        Some(ann.clone())
    );
    assert!(list.lift(lift(ann.clone())).await.unwrap());
    let seen = list.inspect(ann.clone()).await.unwrap();
    assert_eq!((seen.listed, seen.record), (None, None));
    let lifted = seen.last_lift.unwrap();
    let expected = ("ann", "found again", None);
    let found = (lifted.by.as_str(), lifted.reason.as_str(), lifted.until);
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_lift_without_a_time_gets_that_of_the_list() {
    let (clock, _) = Clock::manual(at(9));
    let list = RevocationList::builder(MemoryStore::new()).clock(clock);
    let list = list.build().unwrap();
    list.revoke(ann_logs_out(ISSUED).at(ISSUED)).await.unwrap();
    let ann = RevocationKey::subject(ISSUER, "ann");
    assert!(list.lift(Lift::new(ann.clone()).by("bob")).await.unwrap());
    let lifted = list.inspect(ann).await.unwrap().last_lift.unwrap();
    assert_eq!((lifted.at, lifted.by.as_str()), (at(9), "bob"));
}

/// Stores and files outlive releases: every later version must read this very text.
#[tokio::test]
async fn the_format_stays_the_same_between_releases() {
    let (list, store) = list();
    let token = Revocation::of_token(TokenId::from_bytes([0xab; 16]), None).retained(Some(at(1)));
    list.revoke(token.at(at(0)).by("ann").because("a \"quoted\" reason\n"))
        .await
        .unwrap();
    let spent = Revocation::of_spent_token(TokenId::from_bytes([0xcd; 16]), None);
    list.revoke(spent.at(at(0)).because("done")).await.unwrap();
    let everyone = Revocation::rule(RevocationKey::issuer(ISSUER), at(2)).unwrap();
    list.revoke(everyone.at(at(3))).await.unwrap();
    let tenant = RevocationKey::claim(ISSUER, "tenant", "blue");
    let tenant = Revocation::rule(tenant, at(4)).unwrap().at(at(6));
    let tenant = tenant.retained(Some(at(5)));
    store.revoke(&[tenant]).await.unwrap();
    for (byte, listed) in [
        (1, Listed::Revoked { until: None }),
        (
            2,
            Listed::Rule {
                issued_at_or_before: at(7),
                until: Some(at(8)),
            },
        ),
    ] {
        let key = KeyDigest::from_bytes([byte; 16]);
        store
            .restore(&[Change::Listed {
                key,
                listed,
                at: at(9),
            }])
            .await
            .unwrap();
    }
    let mut expected = [
        r#"{"v":1,"token":"abababababababababababababababab","until":1000001,"at":1000000,"by":"ann","reason":"a \"quoted\" reason\n"}"#,
        r#"{"v":1,"token":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","spent":true,"until":null,"at":1000000,"by":"","reason":"done"}"#,
        r#"{"v":1,"rule":{"issuer":"https://id.example.com"},"issued_at_or_before":1000002,"until":null,"at":1000003,"by":"","reason":""}"#,
        r#"{"v":1,"rule":{"issuer":"https://id.example.com","claim":"tenant","value":"blue"},"issued_at_or_before":1000004,"until":1000005,"at":1000006,"by":"","reason":""}"#,
        r#"{"v":1,"digest":"02020202020202020202020202020202","issued_at_or_before":1000007,"until":1000008,"at":1000009,"by":"","reason":""}"#,
        // A memory store knows a token only by its digest.
        r#"{"v":1,"token":"01010101010101010101010101010101","until":null,"at":1000009,"by":"","reason":""}"#,
    ];
    expected.sort_unstable();
    let lines = exported(&list).await;
    assert_eq!(lines, expected);

    let (other, _) = self::list();
    // That list accepts tokens of any lifetime.
    let rule_is_for_ever = |line: &String| {
        let line = line.replace(r#""until":1000005"#, r#""until":null"#);
        line.replace(r#""until":1000008"#, r#""until":null"#)
    };
    let kept: Vec<_> = lines.iter().map(rule_is_for_ever).collect();
    for _ in 0..2 {
        assert_eq!(other.import(&lines).await.unwrap(), 6);
        assert_eq!(exported(&other).await, kept);
    }
}

#[tokio::test]
async fn an_import_is_visible_at_once_and_shortens_nothing() {
    let (list, _) = list();
    let ann = token("1");
    list.revoke(end_of(&ann).at(ISSUED)).await.unwrap();
    list.revoke(ann_logs_out(ISSUED).at(ISSUED)).await.unwrap();
    let lines = exported(&list).await;

    let steered = Steered::new(MemoryStore::new());
    let other = RevocationList::new(steered.clone());
    let longer = Revocation::of_token(ann.id(), None).at(ISSUED);
    steered.store.revoke(&[longer]).await.unwrap();
    let bob = token("2");
    assert_eq!(other.status(&bob).await.unwrap(), TokenStatus::Valid);
    assert_eq!(other.known_status(&bob), Some(TokenStatus::Valid));
    assert_eq!(other.import(&lines).await.unwrap(), 2);
    assert_eq!(other.known_status(&bob), None);
    assert_eq!(other.status(&bob).await.unwrap(), TokenStatus::Revoked);
    let seen = other.inspect(ann.id()).await.unwrap();
    assert_eq!(seen.listed, Some(Listed::Revoked { until: None }));
}

#[tokio::test]
async fn a_bad_line_is_named_and_earlier_lines_are_imported() {
    let good = r#"{"v":1,"token":"abababababababababababababababab","until":null,"at":1}"#;
    for bad in [
        "revoked",
        "[]",
        "{}",
        r#"{"v":1}"#,
        r#"{"v":1,"until":null,"at":1}"#,
        r#"{"v":1,"token":"ab","until":null,"at":1}"#,
        r#"{"v":1,"token":"+babababababababababababababababa","until":null,"at":1}"#,
        r#"{"v":1,"token":"abababababababababababababababab","until":-1,"at":1}"#,
        r#"{"v":1,"token":"abababababababababababababababab","until":null,"at":"now"}"#,
        r#"{"v":1,"token":"abababababababababababababababab","until":null,"at":1,"why":""}"#,
        r#"{"v":1,"token":"abababababababababababababababab","issued_at_or_before":1,"until":null,"at":1}"#,
        r#"{"v":1,"rule":{"issuer":"i"},"issued_at_or_before":1,"spent":true,"until":null,"at":1}"#,
        r#"{"v":1,"rule":{"issuer":"i"},"until":null,"at":1}"#,
        r#"{"v":1,"rule":{"issuer":"i","claim":"c"},"issued_at_or_before":1,"until":null,"at":1}"#,
        r#"{"v":1,"rule":{"issuer":"i"},"digest":"abababababababababababababababab","issued_at_or_before":1,"until":null,"at":1}"#,
        r#"{"v":1,"rule":{"issuer":"i"},"issued_at_or_before":1,"until":null,"at":1} {}"#,
    ] {
        let (list, _) = list();
        let error = list.import(["", good, " \t", bad, good]).await.unwrap_err();
        assert!(
            matches!(error, ImportError::Malformed { line: 4, .. }),
            "{bad}: {error:?}"
        );
        assert_eq!(list.count(RecordFilter::all()).await.unwrap(), 1, "{bad}");
    }
    let (list, _) = list();
    let error = list.import([r#"{"v":2,"new":true}"#]).await.unwrap_err();
    assert!(matches!(
        error,
        ImportError::Version {
            line: 1,
            version: 2
        }
    ));
    assert_eq!(
        error.to_string(),
        "line 1 is of version 2, which is not known here"
    );
}

#[tokio::test]
async fn a_store_that_fails_or_has_no_records_is_an_error() {
    let (list, _) = list();
    numbered(&list, 1_500).await;
    let lines = exported(&list).await;
    let full = RevocationList::new(MemoryStore::new().capacity(1_200));
    let error = full.import(&lines).await.unwrap_err();
    let ImportError::Store { line, source } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(source, StoreError::Full(1_200)));
    assert_eq!(line, 1_001);

    // A steered store has no records.
    let store = Steered::new(MemoryStore::new());
    let list = RevocationList::new(store.clone());
    let unsupported = |error: StoreError| matches!(error, StoreError::Unsupported("records"));
    assert!(unsupported(
        list.count(RecordFilter::all()).await.unwrap_err()
    ));
    assert!(unsupported(
        list.records(RecordFilter::all())
            .next_page()
            .await
            .unwrap_err()
    ));
    assert!(unsupported(
        list.export(RecordFilter::all())
            .next_lines()
            .await
            .unwrap_err()
    ));
    list.revoke(end_of(&token("1"))).await.unwrap();
    let seen = list.inspect(token("1").id()).await.unwrap();
    assert!(seen.listed.is_some() && seen.record.is_none());
    store.set(Behavior::Fails);
    list.inspect(token("1").id()).await.unwrap_err();
}

fn said() -> impl Strategy<Value = Revocation> {
    let key = prop_oneof![
        any::<[u8; 16]>().prop_map(|id| RevocationKey::Token(TokenId::from_bytes(id))),
        ".*".prop_map(RevocationKey::issuer),
        (".*", ".*", ".*")
            .prop_map(|(issuer, name, value)| RevocationKey::claim(issuer, name, value)),
    ];
    let time = any::<u64>().prop_map(UnixTime::from_secs);
    (
        key,
        time.clone(),
        prop::option::of(time.clone()),
        time,
        ".*",
        ".*",
        any::<bool>(),
    )
        .prop_map(|(key, issued, until, at, by, reason, is_spent)| {
            let said = match key {
                RevocationKey::Token(id) if is_spent => {
                    Revocation::of_spent_token(id, None).retained(until)
                }
                RevocationKey::Token(id) => Revocation::of_token(id, None).retained(until),
                key => Revocation::rule(key, issued).unwrap(),
            };
            said.at(at).by(by).because(reason)
        })
}

proptest! {
    #[test]
    fn export_and_import_round_trip(said in prop::collection::vec(said(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (one, _) = list();
            for said in said {
                one.revoke(said).await.unwrap();
            }
            let lines = exported(&one).await;
            let (other, _) = list();
            assert_eq!(other.import(&lines).await.unwrap(), lines.len() as u64);
            assert_eq!(exported(&other).await, lines);
        });
    }

    #[test]
    fn no_line_makes_an_import_panic(line in ".*") {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let (list, _) = list();
        let _ = runtime.block_on(list.import([line]));
    }
}
