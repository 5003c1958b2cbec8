//! Reads the rows of all databases, by the positions of their columns.

use std::{borrow::Cow, collections::HashMap};

use sqlx::Row;
use tower_revoke_core::{
    KeyDigest, Listed, RevocationKey, RevocationRecord,
    internal::merge::{self, Details, Lifted},
};

use crate::{
    backend::{Digest, Event, Feed, Revoked, Used, listed},
    error::Failure,
    issued::Hash,
    rules::Uses,
    value::{read, time},
};

/// A row of any of the drivers.
pub(crate) trait Columns {
    /// Returns a number, or `None` for NULL.
    fn int(&self, place: usize) -> Result<Option<i64>, Failure>;

    /// Returns bytes or the bytes of a text, or `None` for NULL.
    fn bytes(&self, place: usize) -> Result<Option<&[u8]>, Failure>;

    fn number(&self, place: usize) -> Result<i64, Failure> {
        self.int(place)?.ok_or(Failure::Garbled("a number"))
    }

    fn flag(&self, place: usize) -> Result<bool, Failure> {
        Ok(self.number(place)? != 0)
    }

    /// Returns bytes of a known length, or `None` for NULL.
    fn fixed<const N: usize>(&self, place: usize) -> Result<Option<[u8; N]>, Failure> {
        let bytes = self.bytes(place)?.map(<[u8; N]>::try_from).transpose();
        bytes.map_err(|_| Failure::Garbled("a key"))
    }

    fn some_digest(&self, place: usize) -> Result<Option<Digest>, Failure> {
        self.fixed(place)
    }

    fn digest(&self, place: usize) -> Result<Digest, Failure> {
        self.some_digest(place)?.ok_or(Failure::Garbled("a key"))
    }

    fn hash(&self, place: usize) -> Result<Hash, Failure> {
        self.fixed(place)?.ok_or(Failure::Garbled("a key"))
    }

    /// Returns a text as it was [`written`](crate::value::written), or `None` for NULL.
    fn text(&self, place: usize) -> Result<Option<String>, Failure> {
        let text = self
            .bytes(place)?
            .map(|text| String::from_utf8(text.into()));
        text.transpose().map_err(|_| Failure::Garbled("a text"))
    }
}

/// Implements [`Columns`] by the driver's unchecked conversions. The types are known from our own
/// tables, and the checked conversions would reject texts: MySQL and MariaDB report a text with a
/// binary collation as a blob.
#[cfg(any(feature = "mysql", feature = "sqlite"))]
macro_rules! has_columns {
    ($row:ty) => {
        impl Columns for $row {
            fn int(&self, place: usize) -> Result<Option<i64>, Failure> {
                Ok(self.try_get_unchecked(place)?)
            }

            fn bytes(&self, place: usize) -> Result<Option<&[u8]>, Failure> {
                Ok(self.try_get_unchecked(place)?)
            }
        }
    };
}

#[cfg(feature = "mysql")]
has_columns!(sqlx::mysql::MySqlRow);
#[cfg(feature = "sqlite")]
has_columns!(sqlx::sqlite::SqliteRow);

/// In answers to a text, the values are texts too, and can't be borrowed as bytes.
#[cfg(feature = "postgres")]
impl Columns for sqlx::postgres::PgRow {
    fn int(&self, place: usize) -> Result<Option<i64>, Failure> {
        Ok(self.try_get_unchecked(place)?)
    }

    fn bytes(&self, place: usize) -> Result<Option<&[u8]>, Failure> {
        Ok(self.try_get_unchecked(place)?)
    }

    fn fixed<const N: usize>(&self, place: usize) -> Result<Option<[u8; N]>, Failure> {
        let bytes: Option<Vec<u8>> = self.try_get_unchecked(place)?;
        let bytes = bytes.map(<[u8; N]>::try_from).transpose();
        bytes.map_err(|_| Failure::Garbled("a key"))
    }

    fn text(&self, place: usize) -> Result<Option<String>, Failure> {
        Ok(self.try_get_unchecked(place)?)
    }
}

/// Returns the first column of a row of an issued token.
pub(crate) fn body(row: &impl Columns) -> Result<String, Failure> {
    row.text(0)?.ok_or(Failure::Garbled("an issued token"))
}

/// Returns what is listed under each key, from rows of: 1 for a token that is spent or 0, digest,
/// issued, until. A key has up to two rows: its revocation, and its used-up uses.
pub(crate) fn answers(
    keys: &[KeyDigest],
    rows: &[impl Columns],
) -> Result<Vec<Option<Listed>>, Failure> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let listed = listed(row.flag(0)?, row.int(2)?, row.int(3)?);
        found
            .entry(row.digest(1)?)
            .and_modify(|other: &mut Listed| *other = other.longer(listed))
            .or_insert(listed);
    }
    let answers = keys.iter().map(|key| found.get(key.as_bytes()).copied());
    Ok(answers.collect())
}

/// Reads the feed from rows that each hold its state and at most one row of events. Those are numbered
/// without gaps, and the last has the number of the row. Their expiries are a list, as text.
pub(crate) fn feed(rows: &[impl Columns]) -> Result<Feed, Failure> {
    let first = rows.first().ok_or(Failure::Garbled("the feed's state"))?;
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(last) = row.int(6)? else { break };
        let digests = row.bytes(9)?.unwrap_or_default().as_chunks().0;
        let first = last.saturating_sub_unsigned(digests.len() as u64);
        let untils = row.text(11)?.unwrap_or_default();
        let untils = untils.trim_matches(['[', ']', '{', '}']).split(',');
        let untils: Vec<_> = untils.collect();
        if untils.len() != digests.len() {
            return Err(Failure::Garbled("a change"));
        }
        for ((seq, digest), until) in (first..last).zip(digests).zip(untils) {
            let until = match until.eq_ignore_ascii_case("null") {
                true => None,
                false => Some(until.parse().map_err(|_| Failure::Garbled("an expiry"))?),
            };
            events.push(Event {
                seq: seq.saturating_add(1),
                mark: row.number(7)?,
                what: row.number(8)?,
                digest: *digest,
                issued: row.int(10)?,
                until,
                at: row.number(12)?,
            });
        }
    }
    Ok(Feed {
        store: first.digest(0)?,
        last: (first.number(1)?, first.number(2)?),
        trimmed: (first.number(3)?, first.number(4)?),
        seen: first.int(5)?,
        events,
    })
}

/// Reads a revocation from: digest, issued, until, at, whether it is spent.
pub(crate) fn revoked(row: &impl Columns) -> Result<Revoked, Failure> {
    Ok(Revoked {
        digest: row.digest(0)?,
        issued: row.int(1)?,
        until: row.int(2)?,
        at: row.number(3)?,
        spent: row.flag(4)?,
    })
}

/// Reads a record from its digest and the columns of [`kept`].
pub(crate) fn record(row: &impl Columns) -> Result<RevocationRecord, Failure> {
    let digest = KeyDigest::from_bytes(row.digest(0)?);
    let kept = kept(row, 1)?;
    let details = kept.details.map(|details| *details).unwrap_or_default();
    let token = || Some(RevocationKey::Token(digest.as_token()));
    Ok(RevocationRecord {
        digest,
        key: match kept.listed {
            Listed::Rule { .. } => details.rule,
            _ => token(),
        },
        listed: kept.listed,
        at: kept.at,
        by: details.by,
        reason: details.reason,
    })
}

/// Reads a revocation with its details from: issued, until, at, whether it is spent, issuer, claim,
/// value, author, reason.
pub(crate) fn kept(row: &impl Columns, place: usize) -> Result<merge::Revoked, Failure> {
    let claim = plain(row, place + 5)?.map(Cow::Owned);
    let claim = claim.zip(plain(row, place + 6)?);
    let rule = |issuer| RevocationKey::Rule { issuer, claim };
    let details = Details {
        rule: plain(row, place + 4)?.map(rule),
        ..details(row, place + 7)?
    };
    Ok(merge::Revoked {
        listed: listed(row.flag(place + 3)?, row.int(place)?, row.int(place + 1)?),
        at: time(row.number(place + 2)?),
        details: details.kept(),
    })
}

/// Reads a lift from: at, until, author, reason.
pub(crate) fn lifted(row: &impl Columns, place: usize) -> Result<Lifted, Failure> {
    Ok(Lifted {
        at: time(row.number(place)?),
        until: row.int(place + 1)?.map(time),
        details: details(row, place + 2)?.kept(),
    })
}

/// Reads the uses of a token from: max_uses, held, until, holder.
pub(crate) fn uses(row: &impl Columns, place: usize) -> Result<Uses, Failure> {
    let (limit, held) = (row.number(place)?, row.number(place + 1)?);
    let holder = row.some_digest(place + 3)?;
    Ok(Uses::new(limit, held, row.int(place + 2)?, holder))
}

fn details(row: &impl Columns, place: usize) -> Result<Details, Failure> {
    Ok(Details {
        rule: None,
        by: plain(row, place)?.unwrap_or_default(),
        reason: plain(row, place + 1)?.unwrap_or_default(),
    })
}

/// Reads a text without its escapes.
fn plain(row: &impl Columns, place: usize) -> Result<Option<String>, Failure> {
    Ok(row.text(place)?.map(read))
}

/// Reads a window from rows that each hold at most one record, and after its columns the number of
/// rows in the window and the last digest in it.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn window(rows: &[impl Columns], limit: i64) -> Result<crate::backend::Window, Failure> {
    let first = rows.first().ok_or(Failure::Garbled("a page"))?;
    let mut records = Vec::new();
    for row in rows {
        if row.bytes(0)?.is_some() {
            records.push(record(row)?);
        }
    }
    let is_full = first.number(10)? == limit;
    let more_after = is_full.then(|| first.digest(11)).transpose()?;
    Ok(crate::backend::Window {
        records,
        more_after,
    })
}

/// Reads a token with taken uses from: token, until, whether all are taken.
pub(crate) fn used(row: &impl Columns) -> Result<Used, Failure> {
    Ok(Used {
        token: row.digest(0)?,
        until: row.int(1)?,
        is_used_up: row.flag(2)?,
    })
}
