//! Tests the retention: a list keeps an entry as long as any verifier over its store may need it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use serde_json::json;
use tower_revoke_core::{
    Claims, Clock, ManualClock, Reason, Revocation, RevocationError, RevocationKey, Revocations,
    TokenId, TokenStatus, UnixTime, Use, UseId, UseOutcome, VerifiedToken, retention::has_ended,
};
use tower_revoke_list::{MemoryStore, RevocationList};

use crate::support::{ISSUED, ISSUER, LEEWAY, ann_logs_out, token_of};

const LIFE: u64 = 3_600;
const EXP: UnixTime = UnixTime::from_secs(ISSUED.as_secs() + LIFE);
/// The largest leeway.
const MOST: u64 = 300;

#[tokio::test]
async fn a_rule_without_a_time_revokes_what_was_issued_until_now() {
    let (clock, hand) = Clock::manual(ISSUED);
    let store = MemoryStore::new();
    let list = RevocationList::builder(store)
        .clock(clock.clone())
        .build()
        .unwrap();
    hand.advance(Duration::from_secs(100));
    let now = clock.now();
    let ann = RevocationKey::subject(ISSUER, "ann");
    let rule = Revocation::all_of(ann.clone()).unwrap();
    list.revoke(rule.clone()).await.unwrap();

    let just_covered = now.as_secs() + LEEWAY.as_secs();
    for (issued, status) in [
        (now.as_secs(), TokenStatus::Revoked),
        (just_covered, TokenStatus::Revoked),
        (just_covered + 1, TokenStatus::Valid),
    ] {
        let token = token_of(json!({"iss": ISSUER, "jti": "1", "sub": "ann", "iat": issued}));
        assert_eq!(list.status(&token).await.unwrap(), status, "{issued}");
    }
    let record = list.inspect(ann).await.unwrap().record.unwrap();
    assert_eq!(record.at, now);
    // With another time, it concerns tokens issued until then.
    assert_eq!(rule.at(ISSUED).issued_at_or_before(), Some(ISSUED));
    let one = Revocation::all_of(TokenId::of_jwt(ISSUER, "1").into());
    assert_eq!(one, Err(RevocationError::NoRule));
}

/// The token, as a verifier with this leeway returns it.
fn token(leeway: u64) -> VerifiedToken {
    let claims = json!({"iss": ISSUER, "sub": "ann", "jti": "1", "iat": ISSUED, "exp": EXP});
    let claims = Claims::from_value(claims).unwrap();
    let leeway = Duration::from_secs(leeway);
    VerifiedToken::new(TokenId::of_jwt(ISSUER, "1"), claims, leeway)
}

fn store() -> (MemoryStore, Clock, ManualClock) {
    let (clock, hand) = Clock::manual(ISSUED);
    (MemoryStore::new(), clock, hand)
}

fn list() -> (RevocationList, ManualClock) {
    let (store, clock, hand) = store();
    (
        RevocationList::builder(store).clock(clock).build().unwrap(),
        hand,
    )
}

/// Checks every second from `exp` on in which a verifier with the largest leeway accepts the token.
async fn while_it_is_accepted(hand: &ManualClock, mut holds: impl AsyncFnMut(u64)) {
    hand.advance(Duration::from_secs(LIFE));
    for second in 0..MOST {
        holds(second).await;
        hand.advance(Duration::from_secs(1));
    }
}

#[tokio::test]
async fn trap_43_a_revocation_outlives_the_largest_leeway() {
    let (store, clock, hand) = store();
    let lists = [(); 2].map(|()| {
        let builder = RevocationList::builder(store.clone());
        builder.clock(clock.clone()).build().unwrap()
    });
    let (short, long) = (token(30), token(MOST));
    let exp = short.claims().expires_at();
    lists[0]
        .revoke(Revocation::of_token(short.id(), exp))
        .await
        .unwrap();
    while_it_is_accepted(&hand, async |second| {
        assert!(!has_ended(long.usable_until(), clock.now()));
        assert_eq!(lists[0].purge().await.unwrap(), 0, "{second}");
        for list in &lists {
            assert_eq!(
                list.status(&long).await.unwrap(),
                TokenStatus::Revoked,
                "{second}"
            );
        }
    })
    .await;
    assert!(has_ended(long.usable_until(), clock.now()));
    hand.advance(Duration::from_secs(61));
    assert_eq!(lists[1].purge().await.unwrap(), 1);
}

#[tokio::test]
async fn trap_43_a_single_use_is_not_won_again_under_a_larger_leeway() {
    let (list, hand) = list();
    let token = token(MOST);
    let new_use = |id| {
        let id = UseId::from_bytes([id; 16]);
        Use::new(token.id(), id, NonZeroU32::MIN, token.claims().expires_at())
    };
    let won = list.take_use(new_use(1)).await.unwrap();
    assert_eq!(won, UseOutcome::Taken { left: 0 });
    while_it_is_accepted(&hand, async |second| {
        list.purge().await.unwrap();
        let again = list.take_use(new_use(2)).await.unwrap();
        assert_eq!(again, UseOutcome::Spent, "{second}");
    })
    .await;
}

/// A use can be taken as long as any verifier accepts the token.
#[tokio::test]
async fn trap_43_a_use_is_won_within_the_largest_leeway() {
    let (list, hand) = list();
    hand.advance(Duration::from_secs(LIFE + MOST - 1));
    let id = UseId::from_bytes([1; 16]);
    let use_ = Use::new(token(0).id(), id, NonZeroU32::MIN, Some(EXP));
    let won = list.take_use(use_).await.unwrap();
    assert_eq!(won, UseOutcome::Taken { left: 0 });
}

#[tokio::test]
async fn trap_43_a_rule_is_kept_forever_unless_token_lifetimes_are_bounded() {
    let (list, hand) = list();
    let short = ann_logs_out(ISSUED).with_max_token_life(Some(Duration::from_secs(60)));
    list.revoke(short).await.unwrap();
    hand.advance(Duration::from_secs(LIFE));
    assert_eq!(list.purge().await.unwrap(), 0);
    assert_eq!(list.status(&token(30)).await.unwrap(), TokenStatus::Revoked);
    hand.advance(Duration::from_secs(1_000_000_000));
    assert_eq!(list.purge().await.unwrap(), 0);
}

/// The issuer's clock may be ahead by the leeway, so that a rule concerns tokens that expire later.
#[tokio::test]
async fn trap_43_a_rule_outlives_every_token_that_it_concerns() {
    let (store, clock, hand) = store();
    let list = RevocationList::builder(store)
        .clock(clock.clone())
        .max_token_life(Duration::from_secs(LIFE))
        .build()
        .unwrap();
    assert_eq!(list.max_token_life(), Some(Duration::from_secs(LIFE)));
    let at = ISSUED.saturating_sub(Duration::from_secs(MOST));
    list.revoke(ann_logs_out(at)).await.unwrap();
    let last = token(MOST);
    while_it_is_accepted(&hand, async |second| {
        assert_eq!(list.purge().await.unwrap(), 0, "{second}");
        let status = list.status(&last).await.unwrap();
        assert_eq!(status, TokenStatus::Revoked, "{second}");
    })
    .await;
    assert!(has_ended(last.usable_until(), clock.now()));
    hand.advance(Duration::from_secs(61));
    assert_eq!(list.purge().await.unwrap(), 1);
}

#[tokio::test]
async fn trap_43_a_token_that_outlives_the_rules_is_not_bound_to_their_list() {
    let bounded = |life| -> Arc<dyn Revocations> {
        let builder = RevocationList::builder(MemoryStore::new());
        builder
            .max_token_life(Duration::from_secs(life))
            .build()
            .unwrap()
            .into()
    };
    assert!(token(30).with_revocations(bounded(LIFE)).is_ok());
    let rejected = token(30).with_revocations(bounded(LIFE - 1)).unwrap_err();
    assert_eq!(rejected.reason(), Reason::LifeTooLong);
    assert_eq!(rejected.token_id(), Some(token(30).id()));
    for claims in [
        json!({"iss": ISSUER, "exp": EXP}),
        json!({"iss": ISSUER, "iat": ISSUED}),
    ] {
        let claims = Claims::from_value(claims).unwrap();
        let token = VerifiedToken::new(token(0).id(), claims, Duration::ZERO);
        let rejected = token.with_revocations(bounded(LIFE)).unwrap_err();
        assert_eq!(rejected.reason(), Reason::MissingClaim);
    }
}
