//! A copy of a bearer token, for work that outlives its request.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

use crate::BearerToken;

/// A bearer token in memory of its own, as large as the token, which is erased when the last clone
/// is dropped.
///
/// A [`BearerToken`] is a handle on the whole head of its request, cookies and all: what outlives
/// the request keeps a copy. Its text never shows in `Debug`.
///
/// ```
/// use tower_revoke_core::{BearerToken, TokenCopy};
///
/// let presented = BearerToken::new("abc.def.ghi")?;
/// let kept = TokenCopy::from(&presented);
/// assert_eq!(kept.as_str(), "abc.def.ghi");
/// assert_eq!(format!("{kept:?}"), "TokenCopy(11 bytes)");
/// # Ok::<(), tower_revoke_core::MalformedToken>(())
/// ```
#[derive(Clone)]
pub struct TokenCopy(Arc<Zeroizing<Box<str>>>);

impl TokenCopy {
    /// Keeps a text that was a token before, such as one that an [`Outbox`](crate::Outbox) decrypted.
    pub fn new(token: Box<str>) -> Self {
        Self(Arc::new(Zeroizing::new(token)))
    }

    /// Returns the token itself. Anyone who has it can use it: keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&BearerToken> for TokenCopy {
    fn from(token: &BearerToken) -> Self {
        Self::new(token.as_str().into())
    }
}

impl fmt::Debug for TokenCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenCopy({} bytes)", self.as_str().len())
    }
}
