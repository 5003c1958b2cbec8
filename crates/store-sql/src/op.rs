//! What is written, and what is answered.

use tower_revoke_core::{Change, Lift, Listed, Revocation, RevocationKey, UnixTime, Use};

use crate::value::{end, secs, written};

/// What is to be done. Part of the schema: numbers stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Revoke = 0,
    Lift = 1,
    TakeUse = 2,
    ReturnUse = 3,
    RestoreListed = 4,
    RestoreLifted = 5,
}

/// The answer to a lift, a use or a release; the other ones have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// 0 no, 1 yes; of a use also 2, another limit, and 3, its life is past.
    pub(crate) outcome: i16,
    /// Of a use: the uses that are left, or the limit that is known.
    pub(crate) number: i64,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) what: Do,
    pub(crate) digest: [u8; 16],
    pub(crate) id: Option<[u8; 16]>,
    pub(crate) limit: Option<i64>,
    pub(crate) issued: Option<i64>,
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

    /// `None` of what is not to be written back.
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
                    until: end(listed.until()),
                    at: secs(at),
                    ..Self::new(Do::RestoreListed, *key.as_bytes())
                })
            }
            Change::Lifted { key, at, until } => Some(Self {
                until: end(until),
                at: secs(at),
                ..Self::new(Do::RestoreLifted, *key.as_bytes())
            }),
            _ => None,
        }
    }

    /// How long its words are, in bytes.
    pub(crate) fn words(&self) -> usize {
        let claim = self.claim.as_ref();
        self.by.len()
            + self.reason.len()
            + self.issuer.as_ref().map_or(0, String::len)
            + claim.map_or(0, |(name, value)| name.len() + value.len())
    }

    /// Whether it uses the only use of a token.
    pub(crate) fn is_single_use(&self) -> bool {
        self.what == Do::TakeUse && self.limit == Some(1)
    }

    /// Whether that it was done is all that is told.
    #[cfg(feature = "mysql")]
    pub(crate) fn has_no_answer(&self) -> bool {
        matches!(
            self.what,
            Do::Revoke | Do::RestoreListed | Do::RestoreLifted
        )
    }

    /// Whether a second time gives the answer of the first.
    pub(crate) fn can_be_repeated(&self) -> bool {
        !matches!(self.what, Do::Lift | Do::ReturnUse)
    }
}
