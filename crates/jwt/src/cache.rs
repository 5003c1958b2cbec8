//! What is cached of a verified token.

use std::{ops::Range, sync::Arc};

use tower_revoke_core::{VerifiedToken, internal};

use crate::issuers::IssuerRef;

pub(crate) type TokenCache = internal::TokenCache<Verified>;

/// A verified token, and what decides whether it still is valid.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) token: Arc<VerifiedToken>,
    /// The seconds within which its claims are valid.
    pub(crate) window: Range<u64>,
    pub(crate) issuer: IssuerRef,
    /// The serial number of the key that verified it, and the version of the last key set that was
    /// seen to hold that key.
    pub(crate) key: u64,
    pub(crate) key_set_version: u64,
}
