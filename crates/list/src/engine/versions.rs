//! Versions of tokens, by which stale answers are detected.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use tower_revoke_core::{
    KeyDigest, VerifiedToken,
    internal::{further_keys, key_stamp, slot_of},
};

use crate::mirror::Key;

/// The number of slots for tokens: 128 KiB, and fewer in this crate's tests, which build many
/// engines. At a thousand uses a second, any other token is invalidated about once in 16 s.
const TOKEN_SLOTS: usize = if cfg!(test) { 64 } else { 16_384 };

/// The number of slots for rules. Rules are rarely made, but each token depends on several.
const RULE_SLOTS: usize = if cfg!(test) { 64 } else { 1_024 };

/// A large odd number, added for each renewal.
const RENEWAL: u64 = 0xd1b5_4a32_d192_ed03;

/// Counters that only grow. Each key is assigned one of these slots.
///
/// A token's **version** is the sum over the slots of all its keys. Since no slot ever decreases,
/// two equal versions mean that no slot of the token has moved in between. A writer moves the slot
/// of a key *after* its write is durable in the store. A reader takes the version *before* it
/// queries the store. So an answer whose version is still current reflects every write that had
/// returned when the versions were compared.
///
/// The version also contains the keys themselves, and the earliest time of a rule that concerns the
/// token: its `iat` minus the leeway. So if an issuer gives one `jti` to two tokens, or two verifiers
/// that share the list differ in leeway or rule claims, the answer about one is not used for the other.
///
/// Two keys may share a slot. A write to one then causes a needless look-up of the other, never a
/// wrong answer.
pub(super) struct Versions {
    /// Starts at a random value, so that no version of another list is mistaken for one of
    /// this list.
    origin: AtomicU64,
    // Of constant lengths, since a division by any other takes longer than the rest of a look-up.
    tokens: Box<[AtomicU64; TOKEN_SLOTS]>,
    rules: Box<[AtomicU64; RULE_SLOTS]>,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self {
            origin: AtomicU64::new(RandomState::new().hash_one("versions")),
            tokens: slots(),
            rules: slots(),
        }
    }

    pub(super) fn version(&self, token: &VerifiedToken) -> u64 {
        let stamp = key_stamp(token);
        let origin = self.origin.load(Ordering::Acquire);
        let of_token = |at| slot(&self.tokens, at).load(Ordering::Acquire);
        let of_rule = |at| slot(&self.rules, at).load(Ordering::Acquire);
        let slots = match stamp.slots() {
            Some((own, rules)) => {
                let rules = rules.iter().map(|at| of_rule(*at));
                rules.fold(of_token(own), u64::wrapping_add)
            }
            None => {
                // The first key is the token's own, and a further key may be that of a token or a rule.
                let tokens = token.keys().iter().take(1).chain(further_keys(token));
                let tokens = tokens.map(|key| of_token(slot_of(key)));
                let rules = token.keys().iter().skip(1);
                let rules = rules.map(|key| of_rule(slot_of(key)));
                tokens.chain(rules).fold(0, u64::wrapping_add)
            }
        };
        origin.wrapping_add(stamp.sum).wrapping_add(slots)
    }

    /// Invalidates every answer.
    pub(super) fn renew(&self) {
        self.origin.fetch_add(RENEWAL, Ordering::AcqRel);
    }

    /// Invalidates every answer that depends on a key, after its entry has changed.
    pub(super) fn moved(&self, key: &KeyDigest, is_rule: bool) {
        self.of_key(key, is_rule).fetch_add(1, Ordering::AcqRel);
    }

    /// Invalidates every answer about one token.
    pub(super) fn move_token(&self, token: &VerifiedToken) {
        let key = KeyDigest::of_token(token.id());
        self.moved(&key, false);
    }

    /// Returns a guard that moves the key's slot when it is dropped.
    ///
    /// It does so even if the write fails or is cancelled, since the write may have taken effect.
    pub(super) fn move_after(&self, key: Key) -> Move<'_> {
        Move(Some(self.of_key(&key.digest, key.is_rule)))
    }

    fn of_key(&self, key: &KeyDigest, is_rule: bool) -> &AtomicU64 {
        match is_rule {
            true => slot(&self.rules, slot_of(key)),
            false => slot(&self.tokens, slot_of(key)),
        }
    }
}

fn slots<const N: usize>() -> Box<[AtomicU64; N]> {
    let slots: Vec<_> = std::iter::repeat_with(AtomicU64::default).take(N).collect();
    slots.try_into().expect("as many as were taken")
}

fn slot<const N: usize>(slots: &[AtomicU64; N], at: u16) -> &AtomicU64 {
    &slots[usize::from(at) % N]
}

pub(super) struct Move<'a>(Option<&'a AtomicU64>);

impl Move<'_> {
    /// Leaves the slot alone, if nothing was changed.
    pub(super) fn cancel(&mut self) {
        self.0 = None;
    }
}

impl Drop for Move<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tower_revoke_core::{Claims, RevocationKey, TokenId};

    use super::*;

    fn token(jti: &str, subject: &str) -> VerifiedToken {
        let claims = Claims::from_value(json!({"iss": "i", "sub": subject})).unwrap();
        VerifiedToken::new(TokenId::of_jwt("i", jti), claims, Duration::ZERO)
    }

    #[test]
    fn each_key_of_a_token_changes_its_stamp_and_nothing_else_does() {
        let versions = Versions::new();
        let ann = token("1", "ann");
        for key in [
            RevocationKey::Token(ann.id()),
            RevocationKey::issuer("i"),
            RevocationKey::subject("i", "ann"),
        ] {
            let before = versions.version(&ann);
            drop(versions.move_after(Key::of(&key)));
            assert_ne!(versions.version(&ann), before, "{key:?}");
        }
        let before = versions.version(&ann);
        drop(versions.move_after(Key::of(&RevocationKey::subject("i", "bob"))));
        versions.move_token(&token("2", "ann"));
        assert_eq!(versions.version(&ann), before);
    }

    #[test]
    fn further_keys_and_many_keys_change_the_stamp() {
        let versions = Versions::new();
        let digest = |key: RevocationKey| Key::of(&key).digest;
        let parent = RevocationKey::Token(TokenId::of_jwt("i", "parent"));
        let tenant = RevocationKey::claim("i", "tenant", "t");
        let exchanged = token("1", "ann")
            .with_key(digest(parent.clone()))
            .with_key(digest(tenant.clone()));
        let names = ["a", "b", "c", "d", "e"];
        let claims = names.map(|name| (name.to_owned(), json!("x")));
        let claims = json!({"iss": "i", "sub": "ann"})
            .as_object()
            .cloned()
            .into_iter()
            .flatten()
            .chain(claims);
        let claims = Claims::from_value(claims.collect()).unwrap();
        let ruled = VerifiedToken::new(TokenId::of_jwt("i", "1"), claims, Duration::ZERO);
        let ruled = names.iter().fold(ruled, |token, name| {
            token.with_rule_claim(name).expect("a string")
        });
        let own = RevocationKey::Token(ruled.id());
        let last = RevocationKey::claim("i", "e", "x");
        for (token, key) in [
            (&exchanged, &parent),
            (&exchanged, &tenant),
            (&exchanged, &own),
            (&ruled, &own),
            (&ruled, &last),
        ] {
            let before = versions.version(token);
            drop(versions.move_after(Key::of(key)));
            assert_ne!(versions.version(token), before, "{key:?}");
        }
        let other = token("1", "ann").with_key(digest(parent));
        assert_ne!(versions.version(&other), versions.version(&exchanged));
    }

    #[test]
    fn tokens_of_one_id_with_different_claims_have_different_stamps() {
        let versions = Versions::new();
        let ann = token("1", "ann");
        assert_ne!(versions.version(&ann), versions.version(&token("1", "bob")));
        let later_claims =
            |iat| Claims::from_value(json!({"iss": "i", "sub": "ann", "iat": iat})).unwrap();
        let later = VerifiedToken::new(ann.id(), later_claims(1), Duration::ZERO);
        assert_ne!(versions.version(&ann), versions.version(&later));
        // A verifier with another leeway: a rule may concern the token there alone.
        let lenient = VerifiedToken::new(ann.id(), later_claims(60), Duration::from_secs(30));
        let strict = VerifiedToken::new(ann.id(), later_claims(60), Duration::ZERO);
        assert_ne!(versions.version(&lenient), versions.version(&strict));
        let claims = json!({"iss": "i", "sub": "ann", "tenant": "t"});
        let claims = Claims::from_value(claims).unwrap();
        let ruled = VerifiedToken::new(ann.id(), claims, Duration::ZERO)
            .with_rule_claim("tenant")
            .unwrap();
        assert_ne!(versions.version(&ann), versions.version(&ruled));
    }

    #[test]
    fn a_renewal_moves_every_stamp() {
        let versions = Versions::new();
        let ann = token("1", "ann");
        let before = versions.version(&ann);
        versions.renew();
        assert_ne!(versions.version(&ann), before);
    }

    #[test]
    fn a_cancelled_move_moves_nothing() {
        let versions = Versions::new();
        let ann = token("1", "ann");
        let before = versions.version(&ann);
        versions.move_after(Key::of(&ann.id().into())).cancel();
        assert_eq!(versions.version(&ann), before);
    }

    #[test]
    fn lists_do_not_share_stamps() {
        let ann = token("1", "ann");
        assert_ne!(Versions::new().version(&ann), Versions::new().version(&ann));
    }
}
