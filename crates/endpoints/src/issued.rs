//! Issued tokens at the endpoints.

use std::time::Duration;

use tower_revoke_core::{
    BearerToken, BoxFuture, IssuedToken, Revocation, TokenId, UnixTime, retention,
};
use tower_revoke_issued::IssuedTokens;

use crate::{ResolveError, ResolvedToken, TokenResolver};

/// How many tokens of a grant are read at a time.
const PAGE: usize = 500;

/// Resolves the tokens that were issued, of all kinds.
impl TokenResolver for IssuedTokens {
    fn resolve<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>> {
        Box::pin(async move {
            let now = self.clock().now();
            let row = self.find(token).await.map_err(ResolveError::new)?;
            let Some(row) = row.filter(|row| !retention::has_ended(row.retained_until(), now))
            else {
                return Ok(None);
            };
            let id = TokenId::of_opaque(&row.issuer, &row.hash);
            let mut resolved = ResolvedToken::new(&row.issuer, id, row.expires_at)
                .client(&row.client)
                .kind(row.kind.clone());
            if let (Some(key), Some(grant)) = (row.grant_key(), &row.grant) {
                let end = end_of(self, grant, now).await?;
                let revocation = Revocation::of_grant(key, end).map_err(ResolveError::new)?;
                resolved = resolved.grant(revocation);
            }
            Ok(Some(resolved))
        })
    }
}

/// Returns the latest expiry of the grant's tokens, see [`latest_expiry_of`]. `None` if one of them
/// never expires.
async fn end_of(
    tokens: &IssuedTokens,
    grant: &str,
    now: UnixTime,
) -> Result<Option<UnixTime>, ResolveError> {
    let mut end = now;
    let mut after = None;
    loop {
        let page = tokens.of_grant(grant, after.as_ref(), PAGE).await;
        let page = page.map_err(ResolveError::new)?;
        for token in &page.tokens {
            let Some(expiry) = latest_expiry_of(token, now) else {
                return Ok(None);
            };
            end = end.max(expiry);
        }
        after = page.next;
        if after.is_none() {
            return Ok(Some(end));
        }
    }
}

/// Returns the latest expiry of a token of a grant, and of one that is being issued now with the same
/// life. `None` if it never expires.
pub(crate) fn latest_expiry_of(token: &IssuedToken, now: UnixTime) -> Option<UnixTime> {
    let expires_at = token.expires_at?;
    let life = expires_at
        .as_secs()
        .saturating_sub(token.issued_at.as_secs());
    let renewed = now.saturating_add(Duration::from_secs(life));
    Some(expires_at.max(renewed))
}
