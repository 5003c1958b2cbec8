//! The operations of a batch, and their answers.

use tower_revoke_core::{
    Change, Lift, Listed, Revocation, RevocationKey, RevocationKind, UnixTime, Use,
};

use crate::value::{end, secs, written};

/// The kind of an operation. PostgreSQL's functions know the numbers, which must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Revoke = 0,
    Lift = 1,
    TakeUse = 2,
    ReturnUse = 3,
    RestoreListed = 4,
    RestoreLifted = 5,
}

/// The answer to a lift, or to taking or returning a use. Other operations leave the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 for no, 1 for yes; when taking a use also 2 for a limit mismatch, and 3 for expired.
    pub(crate) outcome: i16,
    /// When taking a use: the number of uses left, or the stored limit on a mismatch.
    pub(crate) number: i64,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) what: Do,
    pub(crate) digest: [u8; 16],
    pub(crate) id: Option<[u8; 16]>,
    pub(crate) limit: Option<i64>,
    pub(crate) issued: Option<i64>,
    /// Whether the token is revoked as spent.
    pub(crate) spent: bool,
    pub(crate) until: Option<i64>,
    pub(crate) at: i64,
    pub(crate) issuer: Option<String>,
    pub(crate) claim: Option<(String, String)>,
    pub(crate) by: String,
    pub(crate) reason: String,
}

impl Op {
    fn new(what: Do, digest: [u8; 16]) -> Self {
        Self {
            what,
            digest,
            id: None,
            limit: None,
            issued: None,
            spent: false,
            until: None,
            at: 0,
            issuer: None,
            claim: None,
            by: String::new(),
            reason: String::new(),
        }
    }

    pub(crate) fn revoke(said: &Revocation) -> Self {
        let (issuer, claim) = match said.key() {
            RevocationKey::Rule { issuer, claim } => {
                let claim = claim.as_ref();
                let claim = claim.map(|(name, value)| (written(name), written(value)));
                (Some(written(issuer)), claim)
            }
            _ => (None, None),
        };
        Self {
            issued: said.issued_at_or_before().map(secs),
            spent: said.kind() == RevocationKind::Spent,
            until: end(said.retained_until()),
            at: secs(said.said_at().unwrap_or(UnixTime::EPOCH)),
            issuer,
            claim,
            by: written(said.said_by()),
            reason: written(said.reason()),
            ..Self::new(Do::Revoke, *said.key().digest().as_bytes())
        }
    }

    pub(crate) fn lift(lift: &Lift) -> Self {
        Self {
            at: secs(lift.at),
            by: written(&lift.by),
            reason: written(&lift.reason),
            ..Self::new(Do::Lift, *lift.key.digest().as_bytes())
        }
    }

    pub(crate) fn take_use(use_: &Use) -> Self {
        Self::of_use(Do::TakeUse, use_)
    }

    pub(crate) fn return_use(use_: &Use) -> Self {
        Self::of_use(Do::ReturnUse, use_)
    }

    fn of_use(what: Do, use_: &Use) -> Self {
        Self {
            id: Some(*use_.id.as_bytes()),
            limit: Some(use_.limit.get().into()),
            until: end(use_.until),
            ..Self::new(what, *use_.token.as_bytes())
        }
    }

    /// Returns `None` for a change that is not written back, such as the return of a use.
    pub(crate) fn restore(known: &Change) -> Option<Self> {
        match *known {
            Change::Listed { key, listed, at } => {
                let issued = match listed {
                    Listed::Rule {
                        issued_at_or_before,
                        ..
                    } => Some(secs(issued_at_or_before)),
                    _ => None,
                };
                Some(Self {
                    issued,
                    spent: listed.is_spent(),
                    until: end(listed.until()),
                    at: secs(at),
                    ..Self::new(Do::RestoreListed, *key.as_bytes())
                })
            }
            // Later than any lift, as every new revocation is.
            Change::UsedUp { key, until } => Some(Self {
                spent: true,
                until: end(until),
                ..Self::new(Do::Revoke, *key.as_bytes())
            }),
            Change::Lifted { key, at, until } => Some(Self {
                until: end(until),
                at: secs(at),
                ..Self::new(Do::RestoreLifted, *key.as_bytes())
            }),
            _ => None,
        }
    }

    /// Returns the length of its texts, in bytes.
    pub(crate) fn words(&self) -> usize {
        let claim = self.claim.as_ref();
        self.by.len()
            + self.reason.len()
            + self.issuer.as_ref().map_or(0, String::len)
            + claim.map_or(0, |(name, value)| name.len() + value.len())
    }

    /// Returns whether it takes the use of a single-use token.
    pub(crate) fn is_single_use(&self) -> bool {
        self.what == Do::TakeUse && self.limit == Some(1)
    }

    /// Returns whether it has no answer but success.
    #[cfg(feature = "mysql")]
    pub(crate) fn has_no_answer(&self) -> bool {
        matches!(
            self.what,
            Do::Revoke | Do::RestoreListed | Do::RestoreLifted
        )
    }

    /// Returns whether repeating it gives the same answer. A lift or the return of a use that took
    /// effect finds nothing the second time, and would then answer no.
    pub(crate) fn can_be_repeated(&self) -> bool {
        !matches!(self.what, Do::Lift | Do::ReturnUse)
    }
}
