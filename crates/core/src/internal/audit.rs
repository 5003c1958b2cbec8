//! Events for audit: what operators do, and the clients of endpoints.

use std::{fmt::Display, sync::Arc};

use crate::{Lift, Revocation, RevocationKey, Revocations, StoreError, TokenId, UnixTime};

/// What was asked for, and what became of it. It is logged when it is dropped, so that an action whose
/// caller left is logged as well: until it is told, the outcome is `abandoned`.
///
/// The guide's chapter on operating describes the fields. None may contain a token.
#[derive(Debug)]
pub struct Audit {
    via: &'static str,
    action: Option<&'static str>,
    by: String,
    key: Option<RevocationKey>,
    reason: String,
    until: Option<UnixTime>,
    outcome: &'static str,
    error: Option<String>,
    count: Option<u64>,
}

impl Audit {
    /// Begins an event. `via` is the part through which it is asked for.
    pub fn new(via: &'static str) -> Self {
        Self {
            via,
            action: None,
            by: String::new(),
            key: None,
            reason: String::new(),
            until: None,
            outcome: "abandoned",
            error: None,
            count: None,
        }
    }

    /// Sets the person or program that asks for it.
    #[must_use]
    pub fn by(mut self, by: &str) -> Self {
        by.clone_into(&mut self.by);
        self
    }

    /// Sets what is to be done.
    pub fn action(&mut self, action: &'static str) -> &mut Self {
        self.action = Some(action);
        self
    }

    /// Sets what it concerns.
    pub fn key(&mut self, key: RevocationKey) -> &mut Self {
        self.key = Some(key);
        self
    }

    /// Sets why.
    pub fn reason(&mut self, reason: &str) -> &mut Self {
        reason.clone_into(&mut self.reason);
        self
    }

    /// Sets how many there were.
    pub fn count(&mut self, count: u64) -> &mut Self {
        self.count = Some(count);
        self
    }

    /// Sets author, key and reason to those of a lift.
    pub fn lifts(&mut self, lift: &Lift) -> &mut Self {
        lift.author().clone_into(&mut self.by);
        self.key(lift.key().clone()).reason(lift.reason())
    }

    /// Revokes, with the author, key, reason and time of the revocation as fields.
    ///
    /// # Errors
    /// As for [`Revocations::revoke`].
    pub async fn revoke(
        &mut self,
        list: Arc<dyn Revocations>,
        revocation: Revocation,
    ) -> Result<(), StoreError> {
        // As the list completes it, since `until` depends on it.
        let at = revocation.time().unwrap_or_else(|| list.clock().now());
        let life = list.max_token_life();
        let revocation = revocation.at(at).with_max_token_life(life);
        revocation.author().clone_into(&mut self.by);
        self.until = revocation.retained_until();
        self.key(revocation.key().clone());
        self.reason(revocation.reason());
        let result = list.revoke(revocation).await;
        match &result {
            Ok(()) => self.done(),
            Err(error) => self.failed(error),
        }
        result
    }

    /// Records that the action was done.
    pub fn done(&mut self) {
        self.outcome = "done";
    }

    /// Records that there was nothing to do.
    pub fn unchanged(&mut self) {
        self.outcome = "unchanged";
    }

    /// Records that the call was rejected: it is forbidden or invalid.
    pub fn rejected(&mut self, error: impl Display) {
        self.outcome = "rejected";
        self.error = Some(error.to_string());
    }

    /// Records that the action failed. All or a part of it may have been done.
    pub fn failed(&mut self, error: impl Display) {
        self.outcome = "failed";
        self.error = Some(error.to_string());
    }
}

/// Returns all digits, as exports have them.
fn whole(id: &TokenId) -> String {
    format!("{:032x}", u128::from_be_bytes(*id.as_bytes()))
}

impl Drop for Audit {
    fn drop(&mut self) {
        fn some(text: &str) -> Option<&str> {
            Some(text).filter(|text| !text.is_empty())
        }
        let (mut token, mut issuer, mut claim) = (None, None, None);
        match &self.key {
            Some(RevocationKey::Token(id)) => token = Some(whole(id)),
            Some(RevocationKey::Rule {
                issuer: of,
                claim: one,
            }) => {
                issuer = Some(of.as_str());
                claim = one.as_ref();
            }
            None => {}
        }
        tracing::info!(
            target: "tower_revoke::audit",
            via = self.via,
            action = self.action,
            by = some(&self.by),
            token = token.as_deref(),
            issuer,
            claim = claim.map(|(name, _)| &**name),
            value = claim.map(|(_, value)| value.as_str()),
            reason = some(&self.reason),
            until = self.until.map(UnixTime::as_secs),
            outcome = self.outcome,
            error = self.error.as_deref(),
            count = self.count,
            "an administrative action"
        );
    }
}
