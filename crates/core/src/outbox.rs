//! The [`Outbox`] trait, which keeps across restarts what authorization servers are still to be told.

use std::fmt;

use crate::{BoxFuture, KeyDigest, StoreError, TokenCopy, TokenId, UnixTime};

/// Keeps the revocations that are owed to authorization servers until they are delivered, across
/// restarts.
///
/// It is shared by all clients of a process: each sees the entries of its `server` only, a name that
/// is the same in each run. There is at most one entry for a server and a token.
///
/// An entry holds the token itself, which anyone who reads it can use. An implementation must encrypt
/// what leaves the process, and authenticate it together with the server and the token's id, so that
/// no entry is accepted in the place of another.
pub trait Outbox: fmt::Debug + Send + Sync + 'static {
    /// Keeps a revocation, in place of an earlier one of the same token. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`]. The entry may have been kept.
    fn put<'a>(
        &'a self,
        server: &'a str,
        owed: &'a OwedRevocation,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Removes the entry of a token, if there is one. A [`put`](Self::put) that was called before never
    /// takes effect after it.
    ///
    /// # Errors
    /// [`StoreError`]. An entry that is left is delivered again after a restart.
    fn remove<'a>(
        &'a self,
        server: &'a str,
        token: TokenId,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Returns all entries of the server, and an error for each that can't be read.
    ///
    /// # Errors
    /// [`StoreError`] if it is unknown which entries there are.
    fn owed<'a>(
        &'a self,
        server: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Result<OwedRevocation, OutboxError>>, StoreError>>;
}

/// A revocation that is owed to an authorization server.
#[derive(Clone, Debug)]
pub struct OwedRevocation {
    /// The id of the token.
    pub id: TokenId,
    /// Whose token it is, see [`VerifiedToken::holder`](crate::VerifiedToken::holder).
    pub holder: KeyDigest,
    /// The token.
    pub token: TokenCopy,
    /// The first second at which it is no longer owed: the token has expired, or the server was tried
    /// for long enough.
    pub until: UnixTime,
}

/// Why an entry of an [`Outbox`] can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The entry was encrypted with a key that was not given.
    #[error(
        "the owed revocation of token {token} is sealed with the key {key}, which is not among the given keys"
    )]
    UnknownKey {
        /// The id of the token.
        token: TokenId,
        /// The id of the key.
        key: String,
    },
    /// The entry is damaged or forged, or belongs to another token or server.
    #[error(
        "the owed revocation of token {token} was changed, or belongs to another token or server"
    )]
    NotAuthentic {
        /// The id of the token.
        token: TokenId,
    },
    /// The entry was written by a newer release.
    #[error(
        "the owed revocation of token {token} has version {version} of the format, which this release doesn't know"
    )]
    Version {
        /// The id of the token.
        token: TokenId,
        /// The version of its format.
        version: u8,
    },
}
