//! The rows of the tables, and their encoding.

use std::{borrow::Cow, num::NonZeroU32};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{
    Change, KeyDigest, Listed, RevocationKey, UnixTime,
    internal::merge::{self, UseCount},
};

use crate::fault::Fault;

/// A revocation or a rule, as far as a look-up needs it. In a row, [`Said`] follows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revoked {
    /// `None` for a token.
    issued_at_or_before: Option<UnixTime>,
    until: Option<UnixTime>,
    pub(crate) at: UnixTime,
}

/// The details of a revocation, for operators.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The key of a rule. A token's key is its digest.
    rule: Option<Rule>,
    pub(crate) by: String,
    pub(crate) reason: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rule {
    issuer: String,
    claim: Option<(String, String)>,
}

/// The last lift of a key, kept as long as the longest revocation that it lifted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lifted {
    at: UnixTime,
    until: Option<UnixTime>,
    said: Said,
}

/// The taken uses of a token. The id of a single use is stored here, and the ids of several uses in
/// a table of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Uses {
    pub(crate) limit: NonZeroU32,
    pub(crate) until: Option<UnixTime>,
    pub(crate) held: u32,
    pub(crate) only: Option<[u8; 16]>,
}

/// The taken use of a single-use token, in the staging table.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct StagedUse {
    pub(crate) token: [u8; 16],
    pub(crate) id: [u8; 16],
    pub(crate) until: Option<UnixTime>,
}

/// How far the old generation of staged uses is moved.
///
/// Rows with a number below `below` of the tokens up to `up_to` are in the table of uses already
/// and are ignored. With this, a crash between the move and the removal of the rows is harmless.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) below: u64,
    pub(crate) up_to: Option<[u8; 16]>,
}

/// A change, and when it was written.
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

    /// Encodes the row of a revocation with its details.
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

    /// Decodes only the part that a look-up needs.
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

    /// Returns how many entries it counts as. With all uses returned it counts as one, since it
    /// still stores the limit.
    pub(crate) fn weight(&self) -> u64 {
        u64::from(self.held.max(1))
    }
}

impl Event {
    /// Returns `None` for a kind of change that this version doesn't know, and so never makes.
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

/// Returns the change that a token is spent.
pub(crate) fn spent(key: KeyDigest, until: Option<UnixTime>) -> Change {
    Change::Listed {
        key,
        listed: Listed::Spent { until },
        at: UnixTime::EPOCH,
    }
}
