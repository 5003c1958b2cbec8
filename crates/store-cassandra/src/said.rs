//! What was said of a key: rows that nobody changes, and what they come to together.

use std::borrow::Cow;

use scylla::{DeserializeRow, value::CqlValue};
use tower_revoke_core::{
    Change, KeyDigest, Lift, Listed, Record, Revocation, RevocationKey, UnixTime,
};

use crate::client::Values;

const REVOKED: i8 = 0;
const LIFTED: i8 = 1;

/// Times that are said are kept below, so that there is always a later one for a lift.
const LATEST: i64 = 1 << 62;

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
    said_by: String,
    reason: String,
}

/// A revocation that stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    issued_at_or_before: Option<i64>,
    until: Option<i64>,
    at: i64,
    words: Words,
}

/// What is said for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Words {
    issuer: Option<String>,
    claim: Option<String>,
    value: Option<String>,
    said_by: String,
    reason: String,
}

/// The last lift, which keeps what was said before it from coming back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lifted {
    at: i64,
    until: Option<i64>,
    said_by: String,
    reason: String,
}

/// What the rows of a key come to, in whatever order they are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key {
    pub(crate) said: Option<Said>,
    pub(crate) lifted: Option<Lifted>,
    said_rows: Vec<Vec<u8>>,
    lifted_rows: Vec<Vec<u8>>,
}

/// One thing to be done to a key.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    Revoke(Said),
    RestoreListed(Said),
    Lift(Lifted),
    RestoreLifted(Lifted),
}

impl Key {
    pub(crate) fn of(mut rows: Vec<Row>) -> Self {
        let mut key = Self::default();
        // Lifts first, and the newest words last.
        rows.sort_by(|one, other| {
            (-one.kind, one.at, &one.id).cmp(&(-other.kind, other.at, &other.id))
        });
        for row in rows {
            if row.kind == LIFTED {
                key.lifted_rows.push(row.id);
                key.add_lift(Lifted {
                    at: row.at,
                    until: row.until,
                    said_by: row.said_by,
                    reason: row.reason,
                });
            } else {
                key.said_rows.push(row.id);
                let said = Said {
                    issued_at_or_before: row.issued_at_or_before,
                    until: row.until,
                    at: row.at,
                    words: Words {
                        issuer: row.issuer,
                        claim: row.claim,
                        value: row.value,
                        said_by: row.said_by,
                        reason: row.reason,
                    },
                };
                if key
                    .lifted
                    .as_ref()
                    .is_none_or(|lifted| lifted.at <= said.at)
                {
                    key.add(said);
                }
            }
        }
        key
    }

    /// Whether there was something to lift, for a lift.
    pub(crate) fn apply(&mut self, order: Order) -> bool {
        let lifted_at = self.lifted.as_ref().map(|lifted| lifted.at);
        match order {
            Order::Revoke(mut said) => {
                // It is newer than any lift, whatever the clocks said.
                said.at = said.at.max(lifted_at.unwrap_or(0));
                self.add(said);
            }
            Order::RestoreListed(said) => {
                if lifted_at.is_none_or(|lifted| lifted <= said.at) {
                    self.add(said);
                }
            }
            Order::Lift(mut lift) => {
                let Some(said) = self.said.take() else {
                    return false;
                };
                lift.at = lift.at.max(said.at.saturating_add(1));
                lift.until = said.until;
                self.add_lift(lift);
                return true;
            }
            Order::RestoreLifted(lift) => {
                self.said.take_if(|said| said.at < lift.at);
                self.add_lift(lift);
            }
        }
        false
    }

    /// Never shorter than it was.
    fn add(&mut self, new: Said) {
        let Some(old) = &mut self.said else {
            self.said = Some(new);
            return;
        };
        // A rule and a token never meet under one key; if they do, the first stays.
        if old.issued_at_or_before.is_none() == new.issued_at_or_before.is_none() {
            old.issued_at_or_before = old.issued_at_or_before.max(new.issued_at_or_before);
            old.until = later(old.until, new.until);
        }
        old.at = old.at.max(new.at);
        if new.words != Words::default() {
            old.words = new.words;
        }
    }

    fn add_lift(&mut self, new: Lifted) {
        let Some(old) = &mut self.lifted else {
            self.lifted = Some(new);
            return;
        };
        let until = later(old.until, new.until);
        if (&new.said_by, &new.reason) != (&String::new(), &String::new()) {
            old.said_by = new.said_by;
            old.reason = new.reason;
        }
        old.at = old.at.max(new.at);
        old.until = until;
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
        if self.said != before.said {
            supersede(&before.said_rows);
        }
        if self.lifted != before.lifted {
            supersede(&before.lifted_rows);
        }
        if self.said != before.said
            && let Some(said) = &self.said
        {
            let words = &said.words;
            new.push(row(
                &digest,
                REVOKED,
                (said.issued_at_or_before, said.until, said.at),
                [
                    words.issuer.as_ref(),
                    words.claim.as_ref(),
                    words.value.as_ref(),
                ],
                (&words.said_by, &words.reason),
            ));
        }
        if self.lifted != before.lifted
            && let Some(lifted) = &self.lifted
        {
            new.push(row(
                &digest,
                LIFTED,
                (None, lifted.until, lifted.at),
                [None; 3],
                (&lifted.said_by, &lifted.reason),
            ));
        }
        (new, old)
    }

    /// The ids of the rows of what has ended before a time.
    pub(crate) fn ended(&self, before: UnixTime) -> Vec<Vec<u8>> {
        let is_past = |until: Option<i64>| until.is_some_and(|until| time(until) < before);
        let mut ids = Vec::new();
        // What was lifted is gone as soon as nothing can bring it back.
        let is_lifted = self.said.is_none() && self.lifted.is_some();
        let lift_ended = self
            .lifted
            .as_ref()
            .is_some_and(|lifted| is_past(lifted.until));
        if self.said.as_ref().is_some_and(|said| is_past(said.until)) || (is_lifted && lift_ended) {
            ids.extend(self.said_rows.iter().cloned());
        }
        if lift_ended {
            ids.extend(self.lifted_rows.iter().cloned());
        }
        ids
    }

    pub(crate) fn listed(&self) -> Option<Listed> {
        self.said.as_ref().map(Said::listed)
    }

    /// All that a follower has to know: first until when nothing stands, then what does.
    pub(crate) fn tell(&self, key: KeyDigest, changes: &mut Vec<Change>) {
        changes.extend(self.lifted.as_ref().map(|lifted| Change::Lifted {
            key,
            at: time(lifted.at),
            until: lifted.until.map(time),
        }));
        changes.extend(self.said.as_ref().map(|said| Change::Listed {
            key,
            listed: said.listed(),
            at: time(said.at),
        }));
    }

    pub(crate) fn record(&self, digest: KeyDigest) -> Option<Record> {
        let said = self.said.as_ref()?;
        let words = &said.words;
        let key = match (said.issued_at_or_before, &words.issuer) {
            (None, _) => Some(digest.as_token().into()),
            (Some(_), None) => None,
            (Some(_), Some(issuer)) => Some(RevocationKey::Rule {
                issuer: issuer.clone(),
                claim: (words.claim.clone().zip(words.value.clone()))
                    .map(|(name, value)| (Cow::Owned(name), value)),
            }),
        };
        Some(Record {
            digest,
            key,
            listed: said.listed(),
            at: time(said.at),
            by: words.said_by.clone(),
            reason: words.reason.clone(),
        })
    }
}

impl Said {
    fn listed(&self) -> Listed {
        let until = self.until.map(time);
        match self.issued_at_or_before {
            Some(issued) => Listed::Rule {
                issued_at_or_before: time(issued),
                until,
            },
            None => Listed::Revoked { until },
        }
    }
}

impl Order {
    pub(crate) fn revoke(said: &Revocation) -> (KeyDigest, Self) {
        let (issuer, claim) = match said.key() {
            RevocationKey::Rule { issuer, claim } => (Some(issuer.clone()), claim.clone()),
            _ => (None, None),
        };
        let (claim, value) = claim
            .map(|(name, value)| (name.into_owned(), value))
            .unzip();
        let order = Self::Revoke(Said {
            issued_at_or_before: said.issued_at_or_before().map(secs),
            until: end(said.retained_until()),
            at: when(said.said_at().unwrap_or(UnixTime::EPOCH)),
            words: Words {
                issuer,
                claim,
                value,
                said_by: said.said_by().to_owned(),
                reason: said.reason().to_owned(),
            },
        });
        (said.key().digest(), order)
    }

    pub(crate) fn lift(lift: &Lift) -> Self {
        Self::Lift(Lifted {
            at: when(lift.at),
            until: None,
            said_by: lift.by.clone(),
            reason: lift.reason.clone(),
        })
    }

    pub(crate) fn restore(change: &Change) -> Option<(KeyDigest, Self)> {
        let order = match *change {
            Change::Listed { listed, at, .. } => Self::RestoreListed(Said {
                issued_at_or_before: match listed {
                    Listed::Rule {
                        issued_at_or_before,
                        ..
                    } => Some(secs(issued_at_or_before)),
                    _ => None,
                },
                until: end(listed.until()),
                at: when(at),
                words: Words::default(),
            }),
            Change::Lifted { at, until, .. } => Self::RestoreLifted(Lifted {
                at: when(at),
                until: end(until),
                ..Lifted::default()
            }),
            _ => return None,
        };
        Some((*change.key(), order))
    }
}

fn row(
    digest: &CqlValue,
    kind: i8,
    (issued, until, at): (Option<i64>, Option<i64>, i64),
    names: [Option<&String>; 3],
    (said_by, reason): (&str, &str),
) -> Values {
    let text = |text: &String| CqlValue::Text(text.clone());
    let id = fastrand::u128(..).to_be_bytes();
    let mut values = vec![
        Some(digest.clone()),
        Some(CqlValue::Blob(id.to_vec())),
        Some(CqlValue::TinyInt(kind)),
        issued.map(CqlValue::BigInt),
        until.map(CqlValue::BigInt),
        Some(CqlValue::BigInt(at)),
    ];
    values.extend(names.map(|name| name.map(text)));
    values.extend([said_by, reason].map(|word| Some(CqlValue::Text(word.to_owned()))));
    values
}

/// `None` is for ever.
pub(crate) fn later(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    Some(one?.max(other?))
}

/// A time as a signed number; one that is too far is the farthest.
pub(crate) fn secs(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// An end as a signed number; one that is too far is none.
pub(crate) fn end(until: Option<UnixTime>) -> Option<i64> {
    until.and_then(|until| i64::try_from(until.as_secs()).ok())
}

/// A time that was kept.
pub(crate) fn time(secs: i64) -> UnixTime {
    UnixTime::from_secs(u64::try_from(secs).unwrap_or(0))
}

fn when(time: UnixTime) -> i64 {
    secs(time).min(LATEST)
}
