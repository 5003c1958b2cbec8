//! What is written, as the function `apply` takes it: one array for each column.

use sqlx::{Postgres, postgres::PgArguments, query::Query};
use tower_revoke_core::{Change, Claim, Lift, Listed, Revocation, RevocationKey, UnixTime};

use crate::value::{end, secs, written};

/// What is to be done. Part of the schema: numbers stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Revoke = 0,
    Lift = 1,
    Claim = 2,
    Release = 3,
    RestoreListed = 4,
    RestoreLifted = 5,
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    what: Do,
    digest: [u8; 16],
    id: Option<[u8; 16]>,
    limit: Option<i64>,
    issued: Option<i64>,
    until: Option<i64>,
    at: i64,
    issuer: Option<String>,
    claim: Option<(String, String)>,
    by: String,
    reason: String,
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
            until: end(said.remembered_until()),
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

    pub(crate) fn claim(claim: &Claim) -> Self {
        Self::of_use(Do::Claim, claim)
    }

    pub(crate) fn release(claim: &Claim) -> Self {
        Self::of_use(Do::Release, claim)
    }

    fn of_use(what: Do, claim: &Claim) -> Self {
        Self {
            id: Some(*claim.id.as_bytes()),
            limit: Some(claim.limit.get().into()),
            until: end(claim.until),
            ..Self::new(what, *claim.token.as_bytes())
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

    /// Whether it claims the only use of a token.
    pub(crate) fn is_single_claim(&self) -> bool {
        self.what == Do::Claim && self.limit == Some(1)
    }

    /// Whether a second time gives the answer of the first.
    pub(crate) fn can_be_repeated(&self) -> bool {
        !matches!(self.what, Do::Lift | Do::Release)
    }
}

fn column<'a, T>(ops: &[&'a Op], of: impl Fn(&'a Op) -> T) -> Vec<T> {
    ops.iter().map(|op| of(op)).collect()
}

/// Binds claims of only uses to the statement that calls `claim_new`.
pub(crate) fn bound_singles<'a>(
    statement: &'a str,
    now: UnixTime,
    mark: i64,
    ops: &[&'a Op],
) -> Query<'a, Postgres, PgArguments> {
    sqlx::query(statement)
        .bind(secs(now))
        .bind(mark)
        .bind(column(ops, |op| &op.digest[..]))
        .bind(column(ops, |op| op.id.as_ref().map(|id| &id[..])))
        .bind(column(ops, |op| op.until))
}

/// Binds what is to be done to the statement that calls `apply`.
pub(crate) fn bound<'a>(
    statement: &'a str,
    now: UnixTime,
    mark: i64,
    ops: &[&'a Op],
) -> Query<'a, Postgres, PgArguments> {
    sqlx::query(statement)
        .bind(secs(now))
        .bind(mark)
        .bind(column(ops, |op| op.what as i16))
        .bind(column(ops, |op| &op.digest[..]))
        .bind(column(ops, |op| op.id.as_ref().map(|id| &id[..])))
        .bind(column(ops, |op| op.limit))
        .bind(column(ops, |op| op.issued))
        .bind(column(ops, |op| op.until))
        .bind(column(ops, |op| op.at))
        .bind(column(ops, |op| op.issuer.as_deref()))
        .bind(column(ops, |op| {
            op.claim.as_ref().map(|(name, _)| &name[..])
        }))
        .bind(column(ops, |op| {
            op.claim.as_ref().map(|(_, value)| &value[..])
        }))
        .bind(column(ops, |op| op.by.as_str()))
        .bind(column(ops, |op| op.reason.as_str()))
}
