//! Reads the rows that a batch concerns, and writes those that it changes, several by each
//! statement.

use sqlx::{
    Arguments, Row, SqliteConnection,
    sqlite::{SqliteArguments, SqliteRow},
};
use tower_revoke_core::{
    BoxError, RevocationKey,
    internal::merge::{Lifted, Revoked},
};

use crate::{
    backend::{Digest, Event, columns_of},
    columns::{self, Columns},
    error::Failure,
    rules::{Held, Keys, Known, Uses},
    value::{end, secs, written},
};

/// The maximum number of rows that one statement reads or writes.
const ROWS: usize = 64;

/// Adds the values of one row to the arguments of a statement.
type Add<'a, T> = fn(&mut SqliteArguments<'a>, T) -> Result<(), BoxError>;

pub(super) async fn read(link: &mut SqliteConnection, keys: &Keys) -> Result<Known, Failure> {
    let store = sqlx::query("SELECT seq, purged_before FROM store");
    let store = store.fetch_one(&mut *link).await?;
    let mut known = Known {
        seq: store.try_get(0)?,
        purged_before: store.try_get(1)?,
        ..Known::default()
    };
    let select = [
        "SELECT digest, issued_at_or_before, until, at, spent, issuer, claim, value, author, \
                  reason FROM revoked WHERE digest IN (",
        "?",
        ")",
    ];
    let some = keys.listed.iter().collect();
    for row in fetched(link, select, some, add_key).await? {
        known.revoked.found(row.digest(0)?, columns::kept(&row, 1)?);
    }
    let select = [
        "SELECT digest, at, until, author, reason FROM lifted WHERE digest IN (",
        "?",
        ")",
    ];
    let some = keys.listed.iter().collect();
    for row in fetched(link, select, some, add_key).await? {
        known
            .lifted
            .found(row.digest(0)?, columns::lifted(&row, 1)?);
    }
    let select = [
        "SELECT token, max_uses, held, until, holder FROM uses WHERE token IN (",
        "?",
        ")",
    ];
    let some = keys.uses.iter().collect();
    for row in fetched(link, select, some, add_key).await? {
        known.uses.found(row.digest(0)?, columns::uses(&row, 1)?);
    }
    let select = [
        "SELECT token, use_id FROM held WHERE (token, use_id) IN (VALUES ",
        "(?,?)",
        ")",
    ];
    let some = keys.held.iter().collect();
    for row in fetched(link, select, some, add_pair).await? {
        known.held.found((row.digest(0)?, row.digest(1)?), ());
    }
    Ok(known)
}

pub(super) async fn write(
    link: &mut SqliteConnection,
    known: &Known,
    events: &[Event],
) -> Result<(), Failure> {
    let gone = known.revoked.deleted().collect();
    let delete = ["DELETE FROM revoked WHERE digest IN (", "?", ")"];
    executed(link, delete, gone, add_key).await?;
    let gone = known.held.deleted().collect();
    let delete = [
        "DELETE FROM held WHERE (token, use_id) IN (VALUES ",
        "(?,?)",
        ")",
    ];
    executed(link, delete, gone, add_pair).await?;
    let put = known.revoked.put_rows().collect();
    let replace = ["REPLACE INTO revoked VALUES ", "(?,?,?,?,?,?,?,?,?,?)", ""];
    executed(link, replace, put, add_revoked).await?;
    let put = known.lifted.put_rows().collect();
    let replace = ["REPLACE INTO lifted VALUES ", "(?,?,?,?,?)", ""];
    executed(link, replace, put, add_lifted).await?;
    let put = known.uses.put_rows().collect();
    let replace = ["REPLACE INTO uses VALUES ", "(?,?,?,?,?)", ""];
    executed(link, replace, put, add_uses).await?;
    let put = known.held.put_rows().map(|(pair, ())| pair).collect();
    let replace = ["REPLACE INTO held VALUES ", "(?,?)", ""];
    executed(link, replace, put, add_pair).await?;
    let insert = [
        "INSERT INTO events VALUES ",
        "(?,?,unixepoch(),?,?,?,?,?)",
        "",
    ];
    executed(link, insert, events.iter().collect(), add_event).await?;
    if let Some(last) = events.last() {
        let end = sqlx::query("UPDATE store SET seq = ?, mark = ?");
        end.bind(last.seq).bind(last.mark).execute(link).await?;
    }
    Ok(())
}

fn add_key<'a>(to: &mut SqliteArguments<'a>, key: &'a Digest) -> Result<(), BoxError> {
    Arguments::add(to, &key[..])
}

fn add_pair<'a>(to: &mut SqliteArguments<'a>, (token, use_): &'a Held) -> Result<(), BoxError> {
    add_key(to, token)?;
    add_key(to, use_)
}

fn add_revoked<'a>(
    to: &mut SqliteArguments<'a>,
    (digest, revoked): (&'a Digest, &'a Revoked),
) -> Result<(), BoxError> {
    let (spent, issued, until) = columns_of(&revoked.listed);
    let details = revoked.details.clone().unwrap_or_default();
    let (issuer, claim) = match details.rule {
        Some(RevocationKey::Rule { issuer, claim }) => (Some(written(&issuer)), claim),
        _ => (None, None),
    };
    let claim = claim.map(|(name, value)| (written(&name), written(&value)));
    let (name, value) = claim.unzip();
    add_key(to, digest)?;
    Arguments::add(to, issued)?;
    Arguments::add(to, until)?;
    Arguments::add(to, secs(revoked.at))?;
    Arguments::add(to, i64::from(spent))?;
    Arguments::add(to, issuer)?;
    Arguments::add(to, name)?;
    Arguments::add(to, value)?;
    Arguments::add(to, written(&details.by))?;
    Arguments::add(to, written(&details.reason))
}

fn add_lifted<'a>(
    to: &mut SqliteArguments<'a>,
    (digest, lifted): (&'a Digest, &'a Lifted),
) -> Result<(), BoxError> {
    let details = lifted.details.clone().unwrap_or_default();
    add_key(to, digest)?;
    Arguments::add(to, secs(lifted.at))?;
    Arguments::add(to, end(lifted.until))?;
    Arguments::add(to, written(&details.by))?;
    Arguments::add(to, written(&details.reason))
}

fn add_uses<'a>(
    to: &mut SqliteArguments<'a>,
    (token, Uses { count, holder }): (&'a Digest, &'a Uses),
) -> Result<(), BoxError> {
    add_key(to, token)?;
    Arguments::add(to, i64::from(count.limit.get()))?;
    Arguments::add(to, i64::from(count.taken))?;
    Arguments::add(to, end(count.until))?;
    Arguments::add(to, holder.as_ref().map(|holder| &holder[..]))
}

fn add_event<'a>(to: &mut SqliteArguments<'a>, event: &'a Event) -> Result<(), BoxError> {
    Arguments::add(to, event.seq)?;
    Arguments::add(to, event.mark)?;
    Arguments::add(to, event.what)?;
    add_key(to, &event.digest)?;
    Arguments::add(to, event.issued)?;
    Arguments::add(to, event.until)?;
    Arguments::add(to, event.at)
}

/// Returns the rows of a query whose text contains the list of the requested keys.
async fn fetched<'a, T: Copy>(
    link: &mut SqliteConnection,
    parts: [&str; 3],
    asked: Vec<T>,
    add: Add<'a, T>,
) -> Result<Vec<SqliteRow>, Failure> {
    let mut rows = Vec::new();
    for some in asked.chunks(ROWS) {
        let (text, arguments) = statement(parts, some, add)?;
        let query = sqlx::query_with(&text, arguments).persistent(is_kept(some));
        rows.append(&mut query.fetch_all(&mut *link).await?);
    }
    Ok(rows)
}

async fn executed<'a, T: Copy>(
    link: &mut SqliteConnection,
    parts: [&str; 3],
    rows: Vec<T>,
    add: Add<'a, T>,
) -> Result<(), Failure> {
    for some in rows.chunks(ROWS) {
        let (text, arguments) = statement(parts, some, add)?;
        let query = sqlx::query_with(&text, arguments).persistent(is_kept(some));
        query.execute(&mut *link).await?;
    }
    Ok(())
}

/// Returns whether a statement stays prepared. Of the many lengths of a list, only the two frequent
/// ones do.
fn is_kept<T>(rows: &[T]) -> bool {
    rows.len() == 1 || rows.len() == ROWS
}

/// Returns the text of a statement, `head each,each,… tail` with an `each` for every row, and its
/// arguments.
fn statement<'a, T: Copy>(
    [head, each, tail]: [&str; 3],
    rows: &[T],
    add: Add<'a, T>,
) -> Result<(String, SqliteArguments<'a>), Failure> {
    let mut arguments = SqliteArguments::default();
    for row in rows {
        add(&mut arguments, *row).map_err(sqlx::Error::Encode)?;
    }
    let list = vec![each; rows.len()].join(",");
    Ok((format!("{head}{list}{tail}"), arguments))
}
