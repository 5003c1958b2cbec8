//! Tests the memory store, clause by clause of the `Store` contract.

use std::time::Duration;

use crate::support::{ISSUED, ann_logs_out, end_of, lift, new_use, token, token_of};
use serde_json::json;
use tower_revoke_core::{
    Change, ChangeFeed, Cursor, IssuedToken, KeyDigest, Listed, RecordFilter, Revocation, Store,
    StoreError, TokenHash, TokenKind, UnixTime, UseOutcome, VerifiedToken,
};
use tower_revoke_list::MemoryStore;
use tower_revoke_testing::RecordedLog;

async fn listed(store: &MemoryStore, token: &VerifiedToken) -> Option<Listed> {
    let keys = [KeyDigest::of_token(token.id())];
    store.look_up(&keys).await.unwrap()[0]
}

#[tokio::test]
async fn look_up_keeps_the_order_of_the_keys() {
    let store = MemoryStore::new();
    let (ann, bob) = (token("1"), token("2"));
    store
        .revoke(&[end_of(&ann), ann_logs_out(ISSUED)])
        .await
        .unwrap();
    let keys = [
        KeyDigest::of_token(bob.id()),
        KeyDigest::of_token(ann.id()),
        ann_logs_out(ISSUED).key().digest(),
    ];
    let revoked = Listed::Revoked {
        until: ann.retained_until(),
    };
    let rule = Listed::Rule {
        issued_at_or_before: ISSUED,
        until: None,
    };
    assert_eq!(
        store.look_up(&keys).await.unwrap(),
        [None, Some(revoked), Some(rule)]
    );
}

#[tokio::test]
async fn a_revocation_is_never_shortened() {
    let store = MemoryStore::new();
    let token = token("1");
    let until = |secs| Some(UnixTime::from_secs(secs));
    for (said, kept) in [
        (until(20), until(20)),
        (until(10), until(20)),
        (until(30), until(30)),
        (None, None),
        (until(40), None),
    ] {
        let revocation = Revocation::of_token(token.id(), None).retained(said);
        store.revoke(&[revocation]).await.unwrap();
        assert_eq!(
            listed(&store, &token).await,
            Some(Listed::Revoked { until: kept })
        );
    }
    assert_eq!(store.len(), 1);
}

#[tokio::test]
async fn a_rule_is_never_shortened() {
    let store = MemoryStore::new();
    let at = UnixTime::from_secs;
    let key = ann_logs_out(at(0)).key().digest();
    for (said, kept) in [
        (
            ann_logs_out(at(20)).retained(Some(at(99))),
            (at(20), Some(at(99))),
        ),
        (
            ann_logs_out(at(10)).retained(Some(at(50))),
            (at(20), Some(at(99))),
        ),
        (
            ann_logs_out(at(30)).retained(Some(at(50))),
            (at(30), Some(at(99))),
        ),
        (ann_logs_out(at(5)), (at(30), None)),
    ] {
        store.revoke(&[said]).await.unwrap();
        let (issued_at_or_before, until) = kept;
        let rule = Listed::Rule {
            issued_at_or_before,
            until,
        };
        assert_eq!(store.look_up(&[key]).await.unwrap(), [Some(rule)]);
    }
}

#[tokio::test]
async fn n_uses_are_taken_once_each() {
    let store = MemoryStore::new();
    let token = token("1");
    for (id, outcome) in [
        (1, UseOutcome::Taken { left: 1 }),
        (1, UseOutcome::Taken { left: 1 }),
        (2, UseOutcome::Taken { left: 0 }),
        (3, UseOutcome::Spent),
        (1, UseOutcome::Taken { left: 0 }),
    ] {
        assert_eq!(
            store
                .take_use(&new_use(&token, id, 2), ISSUED)
                .await
                .unwrap(),
            outcome
        );
    }
    let until = token.retained_until();
    assert_eq!(listed(&store, &token).await, Some(Listed::Spent { until }));
}

#[tokio::test]
async fn another_limit_is_an_error_that_names_both() {
    let store = MemoryStore::new();
    let token = token("1");
    store
        .take_use(&new_use(&token, 1, 2), ISSUED)
        .await
        .unwrap();
    store.return_use(&new_use(&token, 1, 2)).await.unwrap();
    let error = store
        .take_use(&new_use(&token, 1, 3), ISSUED)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        StoreError::LimitMismatch {
            stored: 2,
            asked: 3
        }
    ));
    assert!(error.to_string().contains('2') && error.to_string().contains('3'));
}

#[tokio::test]
async fn only_the_id_that_took_a_use_returns_it() {
    let store = MemoryStore::new();
    let token = token("1");
    store
        .take_use(&new_use(&token, 1, 1), ISSUED)
        .await
        .unwrap();
    assert!(!store.return_use(&new_use(&token, 2, 1)).await.unwrap());
    let second = new_use(&token, 2, 1);
    assert_eq!(
        store.take_use(&second, ISSUED).await.unwrap(),
        UseOutcome::Spent
    );
    assert!(store.return_use(&new_use(&token, 1, 1)).await.unwrap());
    assert!(!store.return_use(&new_use(&token, 1, 1)).await.unwrap());
    assert_eq!(
        store.take_use(&second, ISSUED).await.unwrap(),
        UseOutcome::Taken { left: 0 }
    );
}

/// TRAPS 29: a use of an expired token was won by every caller.
#[tokio::test]
async fn trap_29_no_use_of_an_expired_token_is_taken() {
    let store = MemoryStore::new();
    let token = token("1");
    let end = token.retained_until().unwrap();
    let last = end.saturating_sub(Duration::from_secs(1));
    store.take_use(&new_use(&token, 1, 9), last).await.unwrap();
    for id in [1, 2] {
        assert!(matches!(
            store.take_use(&new_use(&token, id, 9), end).await,
            Err(StoreError::Expired)
        ));
    }
}

#[tokio::test]
async fn purged_uses_are_not_won_again_when_the_clock_is_set_back() {
    let store = MemoryStore::new();
    let token = token("1");
    store
        .take_use(&new_use(&token, 1, 1), ISSUED)
        .await
        .unwrap();
    let now = ISSUED.saturating_add(Duration::from_secs(9_000));
    assert_eq!(store.purge(now).await.unwrap(), 1);
    assert!(matches!(
        store.take_use(&new_use(&token, 2, 1), ISSUED).await,
        Err(StoreError::Expired)
    ));
}

#[tokio::test]
async fn a_revocation_hides_the_uses_and_its_lift_shows_them_again() {
    let store = MemoryStore::new();
    let token = token("1");
    let until = token.retained_until();
    store
        .take_use(&new_use(&token, 1, 1), ISSUED)
        .await
        .unwrap();
    store.revoke(&[end_of(&token)]).await.unwrap();
    assert_eq!(
        listed(&store, &token).await,
        Some(Listed::Revoked { until })
    );
    assert!(store.lift(&lift(token.id())).await.unwrap());
    assert_eq!(listed(&store, &token).await, Some(Listed::Spent { until }));
    assert!(!store.lift(&lift(token.id())).await.unwrap());
    assert_eq!(
        store
            .take_use(&new_use(&token, 2, 1), ISSUED)
            .await
            .unwrap(),
        UseOutcome::Spent
    );
}

#[tokio::test]
async fn a_rule_is_lifted_by_its_key() {
    let store = MemoryStore::new();
    let rule = ann_logs_out(ISSUED);
    store.revoke(std::slice::from_ref(&rule)).await.unwrap();
    assert!(store.lift(&lift(rule.key().clone())).await.unwrap());
    assert!(store.is_empty());
}

#[tokio::test]
async fn a_full_store_rejects_what_is_new_and_forgets_nothing() {
    let store = MemoryStore::new();
    let store = store.capacity(1);
    let (ann, bob, new) = (token("1"), token("2"), token("3"));
    store.revoke(&[end_of(&ann)]).await.unwrap();
    // A use takes no room from revocations, nor they from uses.
    store.take_use(&new_use(&bob, 1, 2), ISSUED).await.unwrap();
    for rejected in [
        store.revoke(&[end_of(&new)]).await,
        store.take_use(&new_use(&new, 1, 1), ISSUED).await.map(drop),
        store.take_use(&new_use(&bob, 2, 2), ISSUED).await.map(drop),
    ] {
        assert!(matches!(rejected, Err(StoreError::Full(1))), "{rejected:?}");
    }
    assert_eq!(store.len(), 2);
    // Known keys can still be extended, and repeated uses still answered.
    let for_ever = Revocation::of_token(ann.id(), None);
    store.revoke(&[for_ever]).await.unwrap();
    assert_eq!(
        listed(&store, &ann).await,
        Some(Listed::Revoked { until: None })
    );
    store.take_use(&new_use(&bob, 1, 2), ISSUED).await.unwrap();
    // A returned use frees no room while its limit is remembered; a lift does.
    store.return_use(&new_use(&bob, 1, 2)).await.unwrap();
    let rejected = store.take_use(&new_use(&new, 1, 1), ISSUED).await;
    assert!(matches!(rejected, Err(StoreError::Full(1))));
    assert!(store.revoke(&[end_of(&new)]).await.is_err());
    store.lift(&lift(ann.id())).await.unwrap();
    store.revoke(&[end_of(&new)]).await.unwrap();
}

#[tokio::test]
async fn purge_removes_expired_entries_and_nothing_else() {
    let store = MemoryStore::new();
    let (ann, bob, eve) = (token("1"), token("2"), token("3"));
    let until = ann.retained_until().unwrap();
    store.revoke(&[end_of(&ann)]).await.unwrap();
    store
        .revoke(&[Revocation::of_token(bob.id(), None)])
        .await
        .unwrap();
    store.take_use(&new_use(&eve, 1, 1), ISSUED).await.unwrap();
    assert_eq!(store.purge(until).await.unwrap(), 0);
    let later = until.saturating_add(Duration::from_secs(1));
    assert_eq!(store.purge(later).await.unwrap(), 2);
    assert_eq!(listed(&store, &ann).await, None);
    assert!(listed(&store, &bob).await.is_some());
    assert_eq!(listed(&store, &eve).await, None);
    assert_eq!(store.len(), 1);
}

/// TRAPS 33: a rule was forgotten while a token that it concerns was still valid.
#[tokio::test]
async fn trap_33_a_rule_without_an_expiry_is_kept_forever() {
    let store = MemoryStore::new();
    let rule = ann_logs_out(ISSUED);
    store.revoke(std::slice::from_ref(&rule)).await.unwrap();
    assert_eq!(store.purge(UnixTime::from_secs(u64::MAX)).await.unwrap(), 0);
    let listed = store.look_up(&[rule.key().digest()]).await.unwrap();
    assert!(matches!(listed[0], Some(Listed::Rule { until: None, .. })));
}

#[tokio::test]
async fn changes_follow_all_live_entries_in_order() {
    let store = MemoryStore::new();
    let (ann, bob) = (token("1"), token("2"));
    let (ann_key, bob_key) = (KeyDigest::of_token(ann.id()), KeyDigest::of_token(bob.id()));
    let until = ann.retained_until();
    store.revoke(&[end_of(&ann)]).await.unwrap();
    let all = store.changes(None).await.unwrap();
    let revoked = Change::Listed {
        key: ann_key,
        listed: Listed::Revoked { until },
        at: UnixTime::EPOCH,
    };
    assert_eq!(all.changes, [revoked]);

    store.lift(&lift(ann.id())).await.unwrap();
    store.take_use(&new_use(&bob, 1, 1), ISSUED).await.unwrap();
    store.return_use(&new_use(&bob, 1, 1)).await.unwrap();
    store.take_use(&new_use(&bob, 2, 1), ISSUED).await.unwrap();
    let used_up = Change::UsedUp {
        key: bob_key,
        until,
    };
    let lifted = Change::Lifted {
        key: ann_key,
        at: ISSUED,
        until,
    };
    let since = store.changes(Some(&all.next)).await.unwrap();
    assert_eq!(
        since.changes,
        [lifted, used_up, Change::Returned { key: bob_key }, used_up]
    );
    let nothing = store.changes(Some(&since.next)).await.unwrap();
    assert_eq!((nothing.changes, nothing.next), (vec![], since.next));
}

#[tokio::test]
async fn writes_without_an_effect_are_no_changes() {
    let store = MemoryStore::new();
    let ann = token("1");
    store.revoke(&[end_of(&ann)]).await.unwrap();
    let all = store.changes(None).await.unwrap();
    store.revoke(&[end_of(&ann)]).await.unwrap();
    store.take_use(&new_use(&ann, 1, 2), ISSUED).await.unwrap();
    let since = store.changes(Some(&all.next)).await.unwrap();
    assert_eq!(since.changes, []);
}

#[tokio::test]
async fn a_cursor_that_is_too_old_or_of_another_store_is_rejected() {
    let store = MemoryStore::new();
    let store = store.feed_capacity(2);
    let start = store.changes(None).await.unwrap().next;
    for jti in ["1", "2"] {
        store.revoke(&[end_of(&token(jti))]).await.unwrap();
    }
    assert_eq!(store.changes(Some(&start)).await.unwrap().changes.len(), 2);
    store.revoke(&[end_of(&token("3"))]).await.unwrap();
    assert!(matches!(
        store.changes(Some(&start)).await,
        Err(StoreError::CursorTooOld)
    ));
    assert_eq!(store.changes(None).await.unwrap().changes.len(), 3);

    let other = MemoryStore::new().changes(None).await.unwrap().next;
    let mut ahead = start.as_bytes().to_vec();
    ahead[15] = 9;
    let long = [start.as_bytes(), &[0]].concat();
    let foreign = [ahead, long, vec![], vec![0; 9]].map(Cursor::new);
    for foreign in foreign.into_iter().chain([other]) {
        assert!(matches!(
            store.changes(Some(&foreign)).await,
            Err(StoreError::ForeignCursor)
        ));
    }
}

/// A token's revocation and its spent uses are separate changes: neither hides the other.
#[tokio::test]
async fn the_feed_has_both_the_revocation_and_the_spent_uses() {
    let store = MemoryStore::new();
    let ann = token("1");
    let (key, until) = (KeyDigest::of_token(ann.id()), ann.retained_until());
    store.take_use(&new_use(&ann, 1, 1), ISSUED).await.unwrap();
    store.revoke(&[end_of(&ann)]).await.unwrap();
    let all = store.changes(None).await.unwrap();
    let revoked = Change::Listed {
        key,
        listed: Listed::Revoked { until },
        at: UnixTime::EPOCH,
    };
    assert_eq!(all.changes, [revoked, Change::UsedUp { key, until }]);
    store.lift(&lift(ann.id())).await.unwrap();
    let listed = store.look_up(&[key]).await.unwrap();
    assert_eq!(listed, [Some(Listed::Spent { until })]);
}

#[tokio::test]
async fn clones_share_what_they_hold() {
    let store = MemoryStore::new();
    let ann = token_of(json!({"iss": "i", "jti": "1"}));
    store.clone().revoke(&[end_of(&ann)]).await.unwrap();
    assert_eq!(store.len(), 1);
    assert!(format!("{store:?}").contains("entries: 1"));
}

/// The first lift ended the revocation with the longer retention.
#[tokio::test]
async fn a_lift_is_kept_as_long_as_the_longest_revocation_that_it_ended() {
    let store = MemoryStore::new();
    let ann = token("1");
    let until = |secs| Some(ISSUED.saturating_add(Duration::from_secs(secs)));
    for end in [until(200), until(100)] {
        let revocation = Revocation::of_token(ann.id(), None)
            .retained(end)
            .at(ISSUED);
        store.revoke(&[revocation]).await.unwrap();
        assert!(store.lift(&lift(ann.id())).await.unwrap());
    }
    store.purge(until(150).unwrap()).await.unwrap();
    let known = Change::Listed {
        key: KeyDigest::of_token(ann.id()),
        listed: Listed::Revoked { until: until(200) },
        at: ISSUED,
    };
    store.restore(&[known]).await.unwrap();
    assert_eq!(listed(&store, &ann).await, None);
    // After that retention, the lift is forgotten, which is correct.
    store.purge(until(201).unwrap()).await.unwrap();
    store.restore(&[known]).await.unwrap();
    assert!(listed(&store, &ann).await.is_some());
}

/// Two fail-overs that lose writes: the lift and the longer revocation are written back twice.
#[tokio::test]
async fn g3_a_lift_that_is_written_back_is_kept_as_long_as_what_it_ended() {
    let token = token("1");
    let key = token.keys()[0];
    let store = MemoryStore::new();
    let until = |seconds| Some(UnixTime::from_secs(ISSUED.as_secs() + seconds));
    let revoked = [Change::Listed {
        key,
        listed: Listed::Revoked { until: until(900) },
        at: ISSUED,
    }];
    let lifted = [Change::Lifted {
        key,
        at: UnixTime::from_secs(ISSUED.as_secs() + 1),
        until: until(100),
    }];
    store.restore(&revoked).await.unwrap();
    store.restore(&lifted).await.unwrap();
    store.purge(until(200).unwrap()).await.unwrap();
    store.restore(&revoked).await.unwrap();
    assert_eq!(listed(&store, &token).await, None);
}

#[tokio::test]
async fn restored_changes_keep_the_reasons_and_count_towards_the_capacity() {
    let store = MemoryStore::new();
    let store = store.capacity(1);
    let (ann, bob) = (token("1"), token("2"));
    let said = end_of(&ann).by("ann").because("lost").at(ISSUED);
    store.revoke(std::slice::from_ref(&said)).await.unwrap();
    let known = |token: &VerifiedToken| Change::Listed {
        key: KeyDigest::of_token(token.id()),
        listed: Listed::Revoked { until: None },
        at: ISSUED,
    };
    store.restore(&[known(&ann)]).await.unwrap();
    let records = store.records().unwrap();
    let page = records.page(&RecordFilter::all(), None, 9).await.unwrap();
    assert_eq!((page.records.len(), page.next), (1, None));
    assert_eq!(page.records[0].by, "ann");
    assert_eq!(page.records[0].reason, "lost");
    assert_eq!(page.records[0].listed, Listed::Revoked { until: None });
    let rejected = store.restore(&[known(&bob)]).await;
    assert!(matches!(rejected, Err(StoreError::Full(1))), "{rejected:?}");
}

#[tokio::test]
async fn a_page_size_of_zero_counts_as_one() {
    let store = MemoryStore::new();
    for jti in ["1", "2", "3"] {
        store.revoke(&[end_of(&token(jti))]).await.unwrap();
    }
    let records = store.records().unwrap();
    let (mut found, mut after) = (0, None);
    let all = RecordFilter::all();
    loop {
        let page = records.page(&all, after.as_ref(), 0).await.unwrap();
        found += page.records.len();
        assert!(page.records.len() <= 1);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, 3);
}

/// TRAPS 48: full, and with room again, repeatedly within a minute.
#[tokio::test]
async fn trap_48_a_full_store_logs_once_a_minute() {
    let store = MemoryStore::new();
    let store = store.capacity(1);
    let log = RecordedLog::start();
    for n in 0..200 {
        let (first, second) = (token(&format!("{n}")), token(&format!("{n} more")));
        store.revoke(&[end_of(&first)]).await.unwrap();
        store.revoke(&[end_of(&second)]).await.unwrap_err();
        assert!(store.lift(&lift(first.id())).await.unwrap());
    }
    let lines = log.lines();
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

#[tokio::test]
async fn issued_tokens_have_their_own_room_and_purges_make_more() {
    let store = MemoryStore::new().capacity(2_500);
    let issued = store.issued_tokens().unwrap();
    let numbered = |number: u64| {
        let hash = TokenHash::of(&number.to_be_bytes());
        let mut token = IssuedToken::new(hash, TokenKind::ACCESS, "i", "shop", ISSUED);
        token.subject = Some("ann".to_owned());
        token.expires_at = Some(UnixTime::from_secs(1_000));
        token
    };
    for number in 0..2_500 {
        issued.insert(&numbered(number)).await.unwrap();
    }
    let more = numbered(2_500);
    let rejected = issued.insert(&more).await;
    assert!(
        matches!(rejected, Err(StoreError::Full(2_500))),
        "{rejected:?}"
    );
    assert_eq!(issued.find(&more.hash).await.unwrap(), None);
    // Whoever has any number of tickets keeps nobody from being revoked.
    store.revoke(&[end_of(&token("1"))]).await.unwrap();
    let use_ = new_use(&token("2"), 1, 1);
    store.take_use(&use_, ISSUED).await.unwrap();
    assert_eq!(store.len(), 2_502);
    // More than one purge deletes at a time.
    assert_eq!(
        store.purge(UnixTime::from_secs(1_301)).await.unwrap(),
        2_500
    );
    assert_eq!(store.len(), 2);
    issued.insert(&more).await.unwrap();
    assert_eq!(store.len(), 3);
    let ann = more.subject_key().unwrap().digest();
    let page = issued.page_of(&ann, None, 10_000).await.unwrap();
    assert_eq!(page.tokens, [more]);
}
