//! The revocations and lifts of a key: rows that are never changed, and their merged state.

use std::borrow::Cow;

use scylla::{DeserializeRow, value::CqlValue};
use tower_revoke_core::{
    Change, KeyDigest, Lift, LiftRecord, Listed, Revocation, RevocationKey, RevocationRecord,
    UnixTime,
    internal::{
        merge::{Details, KeyState, Lifted, Revoked},
        signed_time::{end, secs, time},
    },
    retention::ended_before,
};

use crate::client::Values;

const REVOKED: i8 = 0;
const LIFTED: i8 = 1;
/// A revocation of kind spent.
const SPENT: i8 = 2;

/// Times are kept below this one, so that there is always a later one for a lift.
const LATEST: UnixTime = UnixTime::from_secs(1 << 62);

/// One row, as it stands in the table.
#[derive(Clone, Debug, DeserializeRow)]
#[scylla(flavor = "enforce_order", skip_name_checks)]
pub(crate) struct Row {
    pub(crate) digest: Vec<u8>,
    id: Vec<u8>,
    kind: i8,
    issued_at_or_before: Option<i64>,
    until: Option<i64>,
    at: i64,
    issuer: Option<String>,
    claim: Option<String>,
    value: Option<String>,
    author: String,
    reason: String,
}

/// What the rows of a key come to, in whatever order they are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    state: KeyState,
    revoked_rows: Vec<Vec<u8>>,
    lifted_rows: Vec<Vec<u8>>,
}

/// One thing to be done to a key.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Revoke(Revoked),
    Lift(Lift),
    Restore(Change),
}

impl Key {
    pub(crate) fn of(digest: KeyDigest, mut rows: Vec<Row>) -> Self {
        let mut key = Self::default();
        // Lifts first. Of revocations, the details of the last one are kept.
        rows.sort_by(|one, other| {
            let place = |row: &Row| (row.kind != LIFTED, row.at);
            (place(one), &one.id).cmp(&(place(other), &other.id))
        });
        for row in rows {
            let rule = row.issuer.map(|issuer| RevocationKey::Rule {
                issuer,
                claim: (row.claim.zip(row.value)).map(|(name, value)| (Cow::Owned(name), value)),
            });
            let details = Details {
                rule,
                by: row.author,
                reason: row.reason,
            };
            let (at, until, details) = (time(row.at), row.until.map(time), details.kept());
            if row.kind == LIFTED {
                key.lifted_rows.push(row.id);
                key.state.remember(Lifted { at, until, details });
                continue;
            }
            key.revoked_rows.push(row.id);
            let listed = match row.issued_at_or_before {
                Some(issued) => Listed::Rule {
                    issued_at_or_before: time(issued),
                    until,
                },
                None if row.kind == SPENT => Listed::Spent { until },
                None => Listed::Revoked { until },
            };
            let lifted = key.state.lifted.as_ref();
            if lifted.is_none_or(|lifted| lifted.at <= at) {
                let revoked = Revoked {
                    listed,
                    at,
                    details,
                };
                key.state.list(digest, revoked);
            }
        }
        key
    }

    /// Whether there was something to lift, for a lift.
    pub(crate) fn apply(&mut self, key: KeyDigest, order: Order) -> bool {
        match order {
            Order::Revoke(revoked) => {
                self.state.revoke(key, revoked);
                false
            }
            Order::Lift(lift) => self.state.lift(&lift).is_some(),
            Order::Restore(change) => {
                self.state.restore(&change);
                false
            }
        }
    }

    /// The rows to be written, and the ids of those that say nothing any more, where they differ
    /// from what was `before`.
    pub(crate) fn changes(&self, before: &Self, digest: &KeyDigest) -> (Vec<Values>, Vec<Values>) {
        let (mut new, mut old) = (Vec::new(), Vec::new());
        let digest = CqlValue::Blob(digest.as_bytes().to_vec());
        let mut supersede = |ids: &[Vec<u8>]| {
            old.extend(
                ids.iter()
                    .map(|id| vec![Some(digest.clone()), Some(CqlValue::Blob(id.clone()))]),
            );
        };
        if self.state.revoked != before.state.revoked {
            supersede(&before.revoked_rows);
            new.extend(self.state.revoked.as_ref().map(|revoked| {
                let (kind, issued) = match revoked.listed {
                    Listed::Rule {
                        issued_at_or_before,
                        ..
                    } => (REVOKED, Some(secs(issued_at_or_before))),
                    Listed::Spent { .. } => (SPENT, None),
                    _ => (REVOKED, None),
                };
                let times = (issued, end(revoked.listed.until()), secs(revoked.at));
                row(&digest, kind, times, revoked.details.as_deref())
            }));
        }
        if self.state.lifted != before.state.lifted {
            supersede(&before.lifted_rows);
            new.extend(self.state.lifted.as_ref().map(|lifted| {
                let times = (None, end(lifted.until), secs(lifted.at));
                row(&digest, LIFTED, times, lifted.details.as_deref())
            }));
        }
        (new, old)
    }

    /// The ids of the rows of what has ended before a time.
    pub(crate) fn ended(&self, before: UnixTime) -> Vec<Vec<u8>> {
        let (revoked, lifted) = (self.state.revoked.as_ref(), self.state.lifted.as_ref());
        let revoked_ended =
            revoked.is_some_and(|revoked| ended_before(revoked.listed.until(), before));
        let lift_ended = lifted.is_some_and(|lifted| ended_before(lifted.until, before));
        let mut ids = Vec::new();
        // What was lifted is gone as soon as nothing can bring it back.
        if revoked_ended || (revoked.is_none() && lift_ended) {
            ids.extend(self.revoked_rows.iter().cloned());
        }
        if lift_ended {
            ids.extend(self.lifted_rows.iter().cloned());
        }
        ids
    }

    pub(crate) fn listed(&self) -> Option<Listed> {
        self.state.revoked.as_ref().map(|revoked| revoked.listed)
    }

    /// All that a follower has to know: first until when nothing stands, then what does.
    pub(crate) fn tell(&self, key: KeyDigest, changes: &mut Vec<Change>) {
        changes.extend(self.state.lifted.as_ref().map(|lifted| Change::Lifted {
            key,
            at: lifted.at,
            until: lifted.until,
        }));
        changes.extend(self.state.revoked.as_ref().map(|revoked| Change::Listed {
            key,
            listed: revoked.listed,
            at: revoked.at,
        }));
    }

    pub(crate) fn last_lift(self) -> Option<LiftRecord> {
        self.state.lifted.map(LiftRecord::from)
    }

    pub(crate) fn record(&self, digest: KeyDigest) -> Option<RevocationRecord> {
        let revoked = self.state.revoked.as_ref()?;
        let details = revoked.details.as_deref().cloned().unwrap_or_default();
        Some(RevocationRecord {
            digest,
            key: match revoked.listed {
                Listed::Rule { .. } => details.rule,
                _ => Some(digest.as_token().into()),
            },
            listed: revoked.listed,
            at: revoked.at,
            by: details.by,
            reason: details.reason,
        })
    }
}

impl Order {
    pub(crate) fn revoke(revocation: &Revocation) -> (KeyDigest, Self) {
        let mut revoked = Revoked::from(revocation);
        revoked.at = when(revoked.at);
        (revocation.key().digest(), Self::Revoke(revoked))
    }

    pub(crate) fn lift(lift: &Lift) -> Self {
        let at = when(lift.time().unwrap_or(UnixTime::EPOCH));
        Self::Lift(lift.clone().at(at))
    }

    /// `None` of what is not to be written back.
    pub(crate) fn restore(change: &Change) -> Option<(KeyDigest, Self)> {
        let change = match *change {
            Change::Listed { key, listed, at } => Change::Listed {
                key,
                listed,
                at: when(at),
            },
            Change::Lifted { key, at, until } => Change::Lifted {
                key,
                at: when(at),
                until,
            },
            Change::UsedUp { .. } => *change,
            _ => return None,
        };
        Some((*change.key(), Self::Restore(change)))
    }
}

fn row(
    digest: &CqlValue,
    kind: i8,
    (issued, until, at): (Option<i64>, Option<i64>, i64),
    details: Option<&Details>,
) -> Values {
    let details = details.cloned().unwrap_or_default();
    let (issuer, claim) = match details.rule {
        Some(RevocationKey::Rule { issuer, claim }) => (Some(issuer), claim),
        _ => (None, None),
    };
    let (claim, value) = claim
        .map(|(name, value)| (name.into_owned(), value))
        .unzip();
    let id = fastrand::u128(..).to_be_bytes();
    let mut values = vec![
        Some(digest.clone()),
        Some(CqlValue::Blob(id.to_vec())),
        Some(CqlValue::TinyInt(kind)),
        issued.map(CqlValue::BigInt),
        until.map(CqlValue::BigInt),
        Some(CqlValue::BigInt(at)),
    ];
    values.extend([issuer, claim, value].map(|name| name.map(CqlValue::Text)));
    values.extend([details.by, details.reason].map(|word| Some(CqlValue::Text(word))));
    values
}

/// Returns the later of two expiries. `None` means for ever.
pub(crate) fn later(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    Some(one?.max(other?))
}

fn when(time: UnixTime) -> UnixTime {
    time.min(LATEST)
}
