//! The issuers of a verifier, and which of them a token names.

#[cfg(feature = "remote")]
use std::sync::Weak;
use std::{ops::Deref, sync::Arc};

use tower_revoke_core::{Reason, Rejection, internal::IssuerDigests};

#[cfg(feature = "remote")]
use crate::resolver::{Resolved, ResolvedIssuers};
use crate::{Algorithm, keys::KeySet, rules::Rules, verifier::Missing};

/// An issuer, with the keys that are its own (RFC 8725 §3.8).
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) digests: IssuerDigests,
    pub(crate) algorithms: Arc<[Algorithm]>,
    pub(crate) rules: Rules,
    pub(crate) keys: Arc<KeySet>,
}

/// Those that are configured, and those that a resolver trusts.
pub(crate) struct Issuers {
    pub(crate) configured: Vec<Issuer>,
    #[cfg(feature = "remote")]
    pub(crate) resolved: Option<ResolvedIssuers>,
}

/// The issuer of a cached token.
#[derive(Clone)]
pub(crate) enum IssuerRef {
    /// The index of a configured one.
    Configured(usize),
    /// One that a resolver trusts, for as long as it does.
    #[cfg(feature = "remote")]
    Resolved(Weak<Resolved>),
}

impl Issuers {
    /// The issuer that `iss` names. It is not verified yet, but only selects the keys, with which a
    /// false one fails.
    pub(crate) fn of(
        &self,
        claim: Option<&str>,
    ) -> Result<Result<(Found<'_>, IssuerRef), Missing>, Rejection> {
        let claim = claim.ok_or_else(|| {
            Rejection::new(Reason::MissingClaim).detail("the token lacks the claim iss")
        })?;
        let mut configured = self.configured.iter().enumerate();
        if let Some((index, issuer)) = configured.find(|(_, issuer)| claim == issuer.name) {
            return Ok(Ok((
                Found::Configured(issuer),
                IssuerRef::Configured(index),
            )));
        }
        #[cfg(feature = "remote")]
        if let Some(resolved) = &self.resolved {
            return Ok(match resolved.get(claim) {
                Some(issuer) => {
                    let issuer_ref = IssuerRef::Resolved(Arc::downgrade(&issuer));
                    Ok((Found::Resolved(issuer), issuer_ref))
                }
                None => Err(Missing::Issuer(claim.to_owned())),
            });
        }
        Err(Reason::WrongIssuer.into())
    }

    /// The issuer of a cached token, if it is still trusted.
    pub(crate) fn by(&self, issuer: &IssuerRef) -> Option<Found<'_>> {
        match issuer {
            IssuerRef::Configured(index) => self.configured.get(*index).map(Found::Configured),
            #[cfg(feature = "remote")]
            IssuerRef::Resolved(issuer) => {
                let current = self.resolved.as_ref()?.current(issuer);
                current.map(Found::Resolved)
            }
        }
    }
}

/// A trusted issuer.
pub(crate) enum Found<'a> {
    Configured(&'a Issuer),
    #[cfg(feature = "remote")]
    Resolved(Arc<Resolved>),
}

impl Deref for Found<'_> {
    type Target = Issuer;

    fn deref(&self) -> &Issuer {
        match self {
            Self::Configured(issuer) => issuer,
            #[cfg(feature = "remote")]
            Self::Resolved(resolved) => &resolved.issuer,
        }
    }
}
