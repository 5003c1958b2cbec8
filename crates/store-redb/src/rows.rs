//! What stands in the rows of the tables, in bytes.

use std::{borrow::Cow, num::NonZeroU32};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{
    Change, KeyDigest, Listed, RevocationKey, UnixTime,
    internal::merge::{self, UseCount},
};

use crate::fault::Fault;

/// A revocation or a rule, as far as a look-up needs it; [`Said`] follows in the same row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revoked {
    /// Only of a rule.
    issued_at_or_before: Option<UnixTime>,
    until: Option<UnixTime>,
    pub(crate) at: UnixTime,
}

/// What was said about a revocation, for operators.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Of a rule; a token's key is its digest.
    rule: Option<Rule>,
    pub(crate) by: String,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rule {
    issuer: String,
    claim: Option<(String, String)>,
}

/// The last lift, remembered for as long as anything that was lifted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lifted {
    at: UnixTime,
    until: Option<UnixTime>,
    said: Said,
}

/// How many uses of a token are held. The only one of a token with one use stands here, others
/// have rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uses {
    pub(crate) limit: NonZeroU32,
    pub(crate) until: Option<UnixTime>,
    pub(crate) held: u32,
    pub(crate) only: Option<[u8; 16]>,
}

/// The use of the only use of a token, in the order in which uses were made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StagedUse {
    pub(crate) token: [u8; 16],
    pub(crate) id: [u8; 16],
    pub(crate) until: Option<UnixTime>,
}

/// Which rows of staged uses stand among the uses already, and are void: those with a lower
/// number than this, of the tokens up to this one.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) below: u64,
    pub(crate) up_to: Option<[u8; 16]>,
}

/// A change, with when it was written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) written: UnixTime,
    key: [u8; 16],
    what: What,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum What {
    Revoked(Revoked),
    Spent {
        until: Option<UnixTime>,
    },
    Lifted {
        at: UnixTime,
        until: Option<UnixTime>,
    },
    Returned,
}

pub(crate) fn write(row: &impl Serialize) -> Result<Vec<u8>, Fault> {
    Ok(postcard::to_allocvec(row)?)
}

pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    Ok(postcard::from_bytes(bytes)?)
}

impl Revoked {
    pub(crate) fn new(listed: Listed, at: UnixTime) -> Self {
        let issued_at_or_before = match listed {
            Listed::Rule {
                issued_at_or_before,
                ..
            } => Some(issued_at_or_before),
            _ => None,
        };
        Self {
            issued_at_or_before,
            until: listed.until(),
            at,
        }
    }

    pub(crate) fn listed(&self) -> Listed {
        let until = self.until;
        match self.issued_at_or_before {
            Some(issued_at_or_before) => Listed::Rule {
                issued_at_or_before,
                until,
            },
            None => Listed::Revoked { until },
        }
    }

    /// The row of a revocation, with what was said about it.
    pub(crate) fn write(revoked: &merge::Revoked) -> Result<Vec<u8>, Fault> {
        let mut row = write(&Self::new(revoked.listed, revoked.at))?;
        row.extend(write(&Said::from(revoked.details.as_deref()))?);
        Ok(row)
    }

    pub(crate) fn with(self, said: Said) -> merge::Revoked {
        merge::Revoked {
            listed: self.listed(),
            at: self.at,
            details: said.details(),
        }
    }

    pub(crate) fn change(&self, key: KeyDigest) -> Change {
        Change::Listed {
            key,
            listed: self.listed(),
            at: self.at,
        }
    }

    /// Nothing but how it is listed: what was said is left unread.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        Ok(postcard::take_from_bytes(bytes)?.0)
    }

    pub(crate) fn read_all(bytes: &[u8]) -> Result<(Self, Said), Fault> {
        let (revoked, rest) = postcard::take_from_bytes(bytes)?;
        Ok((revoked, read(rest)?))
    }
}

impl From<Option<&merge::Details>> for Said {
    fn from(details: Option<&merge::Details>) -> Self {
        let Some(details) = details else {
            return Self::default();
        };
        let rule = match &details.rule {
            Some(RevocationKey::Rule { issuer, claim }) => Some(Rule {
                issuer: issuer.clone(),
                claim: (claim.clone()).map(|(name, value)| (name.into_owned(), value)),
            }),
            _ => None,
        };
        Self {
            rule,
            by: details.by.clone(),
            reason: details.reason.clone(),
        }
    }
}

impl From<&merge::Lifted> for Lifted {
    fn from(lifted: &merge::Lifted) -> Self {
        Self {
            at: lifted.at,
            until: lifted.until,
            said: lifted.details.as_deref().into(),
        }
    }
}

impl From<Lifted> for merge::Lifted {
    fn from(lifted: Lifted) -> Self {
        Self {
            at: lifted.at,
            until: lifted.until,
            details: lifted.said.details(),
        }
    }
}

impl Said {
    fn details(self) -> Option<Box<merge::Details>> {
        let details = merge::Details {
            rule: self.rule(),
            by: self.by,
            reason: self.reason,
        };
        details.kept()
    }

    pub(crate) fn rule(&self) -> Option<RevocationKey> {
        self.rule.clone().map(|rule| RevocationKey::Rule {
            issuer: rule.issuer,
            claim: (rule.claim).map(|(name, value)| (Cow::Owned(name), value)),
        })
    }
}

impl Uses {
    pub(crate) fn new(count: UseCount, only: Option<[u8; 16]>) -> Self {
        Self {
            limit: count.limit,
            until: count.until,
            held: count.taken,
            only,
        }
    }

    pub(crate) fn count(&self) -> UseCount {
        UseCount {
            limit: self.limit,
            taken: self.held,
            until: self.until,
        }
    }

    pub(crate) fn spent(&self) -> Option<Listed> {
        self.count().spent()
    }

    /// How many entries it counts for: uses that were all returned still remember their limit.
    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.held.max(1))
    }
}

impl Event {
    /// `None` of a change that this version doesn't know, and so never makes.
    pub(crate) fn new(change: &Change, written: UnixTime) -> Option<Self> {
        let what = match *change {
            Change::Listed {
                listed: Listed::Spent { until },
                ..
            } => What::Spent { until },
            Change::Listed { listed, at, .. } => What::Revoked(Revoked::new(listed, at)),
            Change::Lifted { at, until, .. } => What::Lifted { at, until },
            Change::Returned { .. } => What::Returned,
            _ => return None,
        };
        let key = *change.key().as_bytes();
        Some(Self { written, key, what })
    }

    pub(crate) fn change(&self) -> Change {
        let key = KeyDigest::from_bytes(self.key);
        match self.what {
            What::Revoked(revoked) => revoked.change(key),
            What::Spent { until } => spent(key, until),
            What::Lifted { at, until } => Change::Lifted { key, at, until },
            What::Returned => Change::Returned { key },
        }
    }
}

/// That the last use of a token was taken.
pub(crate) fn spent(key: KeyDigest, until: Option<UnixTime>) -> Change {
    Change::Listed {
        key,
        listed: Listed::Spent { until },
        at: UnixTime::EPOCH,
    }
}
