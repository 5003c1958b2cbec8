//! Numbers that grow with every change, from which an answer learns that it is too old.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use tower_revoke_core::{KeyDigest, UnixTime, VerifiedToken};

use crate::mirror::Key;

/// 128 KiB; few in this crate's own tests, which build many engines. With so many, a thousand claims
/// a second disturb another token's answer about once in 16 s.
const TOKEN_SLOTS: usize = if cfg!(test) { 64 } else { 16_384 };

/// Rules are seldom made, but each token has several.
const RULE_SLOTS: usize = if cfg!(test) { 64 } else { 1_024 };

/// Spreads a time over 64 bits, so that it can't be taken for a few moves of a slot.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// As large, and another one.
const RENEWAL: u64 = 0xd1b5_4a32_d192_ed03;

/// Slots that only ever grow, of which each key has one.
///
/// A token's **version** is the sum over all its keys. Since no slot ever goes back, two equal
/// versions mean that no slot of the token has moved in between. Who changes something under a key
/// moves its slot *after* the store's durable write; who asks the store reads the version *before*.
/// So an answer whose version is still the token's has seen every write that was done when the
/// version was compared.
///
/// What a token says goes into its version as well: an issuer that gives one `jti` to two tokens
/// does not get the answer about the one for the other.
///
/// Keys that share a slot cost each other a question to the store, never an answer.
pub(super) struct Versions {
    /// Random, so that no other list's version is taken for one of this list's.
    origin: AtomicU64,
    tokens: Box<[AtomicU64]>,
    rules: Box<[AtomicU64]>,
}

impl Versions {
    pub(super) fn new() -> Self {
        let slots = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            origin: AtomicU64::new(RandomState::new().hash_one("versions")),
            tokens: slots(TOKEN_SLOTS),
            rules: slots(RULE_SLOTS),
        }
    }

    pub(super) fn version(&self, token: &VerifiedToken) -> u64 {
        let own = KeyDigest::of_token(token.id());
        // The first key is the token's own.
        let rules = token.keys().iter().skip(1);
        let origin = self.origin.load(Ordering::Acquire);
        let version = origin.wrapping_add(part(&self.tokens, &own));
        let version = rules.fold(version, |sum, key| sum.wrapping_add(part(&self.rules, key)));
        let issued_at = token.claims().issued_at().map_or(0, UnixTime::as_secs);
        version.wrapping_add(issued_at.wrapping_mul(ODD))
    }

    /// Makes every answer too old.
    pub(super) fn renew(&self) {
        self.origin.fetch_add(RENEWAL, Ordering::AcqRel);
    }

    /// Something was changed under a key.
    pub(super) fn moved(&self, key: &KeyDigest, is_rule: bool) {
        let slots = if is_rule { &self.rules } else { &self.tokens };
        slot(slots, key).fetch_add(1, Ordering::AcqRel);
    }

    /// Makes every answer about one token too old.
    pub(super) fn move_token(&self, token: &VerifiedToken) {
        self.of_token(token).fetch_add(1, Ordering::AcqRel);
    }

    /// Moves the key's slot when it is dropped: also when the write failed or was given up, since
    /// what was asked may have happened.
    pub(super) fn move_after(&self, key: Key) -> Move<'_> {
        let slots = if key.is_rule {
            &self.rules
        } else {
            &self.tokens
        };
        Move(Some(slot(slots, &key.digest)))
    }

    fn of_token(&self, token: &VerifiedToken) -> &AtomicU64 {
        slot(&self.tokens, &KeyDigest::of_token(token.id()))
    }
}

fn slot<'a>(slots: &'a [AtomicU64], key: &KeyDigest) -> &'a AtomicU64 {
    let [low, high, ..] = *key.as_bytes();
    &slots[usize::from(u16::from_le_bytes([low, high])) % slots.len()]
}

/// A key's share of a version: what it is, and how often it has moved.
fn part(slots: &[AtomicU64], key: &KeyDigest) -> u64 {
    let [_, _, a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
    let name = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    name.wrapping_add(slot(slots, key).load(Ordering::Acquire))
}

pub(super) struct Move<'a>(Option<&'a AtomicU64>);

impl Move<'_> {
    /// Nothing was changed.
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
    fn each_key_of_a_token_moves_its_stamp_and_nothing_else_does() {
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
    fn tokens_of_one_id_that_say_other_things_have_other_stamps() {
        let versions = Versions::new();
        let ann = token("1", "ann");
        assert_ne!(versions.version(&ann), versions.version(&token("1", "bob")));
        let claims = json!({"iss": "i", "sub": "ann", "iat": 1});
        let claims = Claims::from_value(claims).unwrap();
        let later = VerifiedToken::new(ann.id(), claims, Duration::ZERO);
        assert_ne!(versions.version(&ann), versions.version(&later));
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
