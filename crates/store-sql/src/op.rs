//! The operations of a batch, and their answers.

use tower_revoke_core::{
    Change, KeyDigest, Lift, Listed, Revocation, RevocationKey, UnixTime, Use, UseOutcome,
    internal::merge::{Details, Revoked},
};

use crate::{
    backend::{columns_of, listed},
    issued::IssuedRow,
    value::{end, escaped_len, secs, time},
};

/// The answer to an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is no answer but success.
    #[default]
    Done,
    /// Whether a lift found a revocation, or the return of a use that use.
    Found(bool),
    /// The outcome of taking a use.
    Use(UseOutcome),
    /// The uses of the token are counted with this limit.
    LimitMismatch(u32),
    /// The use has expired, or may have been purged.
    Expired,
    /// There is an issued token with this hash.
    AlreadyIssued,
}

/// One operation. Its times are such that a database can store.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Revoke(KeyDigest, Revoked),
    Lift {
        key: KeyDigest,
        at: UnixTime,
        details: Option<Box<Details>>,
    },
    TakeUse(Use),
    ReturnUse(Use),
    Restore(Change),
    Issue(Box<IssuedRow>),
}

impl Op {
    pub(crate) fn revoke(revocation: &Revocation) -> Self {
        let mut revoked = Revoked::from(revocation);
        revoked.listed = storable(revoked.listed);
        revoked.at = storable_time(revoked.at);
        Self::Revoke(revocation.key().digest(), revoked)
    }

    pub(crate) fn lift(lift: &Lift) -> Self {
        let details = Details {
            rule: None,
            by: lift.author().to_owned(),
            reason: lift.reason().to_owned(),
        };
        Self::Lift {
            key: lift.key().digest(),
            at: storable_time(lift.time().unwrap_or(UnixTime::EPOCH)),
            details: details.kept(),
        }
    }

    pub(crate) fn take_use(use_: &Use) -> Self {
        let mut use_ = *use_;
        use_.until = storable_end(use_.until);
        Self::TakeUse(use_)
    }

    pub(crate) fn return_use(use_: &Use) -> Self {
        Self::ReturnUse(*use_)
    }

    /// Returns `None` for a change that is not written back, such as the return of a use.
    pub(crate) fn restore(known: &Change) -> Option<Self> {
        let storable = match *known {
            Change::Listed { key, listed, at } => Change::Listed {
                key,
                listed: storable(listed),
                at: storable_time(at),
            },
            Change::UsedUp { key, until } => Change::UsedUp {
                key,
                until: storable_end(until),
            },
            Change::Lifted { key, at, until } => Change::Lifted {
                key,
                at: storable_time(at),
                until: storable_end(until),
            },
            _ => return None,
        };
        Some(Self::Restore(storable))
    }

    /// Returns the length of its texts as they are stored, in bytes.
    pub(crate) fn words(&self) -> usize {
        let details = match self {
            Self::Revoke(_, revoked) => &revoked.details,
            Self::Lift { details, .. } => details,
            Self::Issue(row) => return row.body.len(),
            _ => return 0,
        };
        let Some(details) = details else { return 0 };
        let mut words = escaped_len(&details.by) + escaped_len(&details.reason);
        if let Some(RevocationKey::Rule { issuer, claim }) = &details.rule {
            words += escaped_len(issuer);
            let claim = claim.iter();
            words += claim
                .map(|(name, value)| escaped_len(name) + escaped_len(value))
                .sum::<usize>();
        }
        words
    }

    /// Returns the use of a single-use token that it takes, if it does.
    pub(crate) fn single_use(&self) -> Option<&Use> {
        match self {
            Self::TakeUse(use_) if use_.limit.get() == 1 => Some(use_),
            _ => None,
        }
    }

    /// Returns whether repeating it gives the same answer. A lift or the return of a use that took
    /// effect finds nothing the second time, and would then answer no; an issued token finds itself.
    pub(crate) fn can_be_repeated(&self) -> bool {
        !matches!(
            self,
            Self::Lift { .. } | Self::ReturnUse(_) | Self::Issue(_)
        )
    }
}

fn storable_time(at: UnixTime) -> UnixTime {
    time(secs(at))
}

fn storable_end(until: Option<UnixTime>) -> Option<UnixTime> {
    end(until).map(time)
}

fn storable(of: Listed) -> Listed {
    let (spent, issued, until) = columns_of(&of);
    listed(spent, issued, until)
}
