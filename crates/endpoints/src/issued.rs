//! Issued tokens at the endpoints.

use std::time::Duration;

use tower_revoke_core::{
    BearerToken, BoxFuture, IssuedToken, IssuedTokenStore, KeyDigest, Revocation, RevocationKey,
    StoreError, TokenId, UnixTime, retention,
};
use tower_revoke_issued::IssuedTokens;

use crate::{ResolveError, ResolvedToken, TokenResolver};

/// The number of tokens of a page.
const PAGE: usize = 500;

/// The largest number of tokens of a holder that are read.
const LIMIT: usize = 10_000;

/// Until when a grant is ended at least, by default: see
/// [`RevocationEndpoint::access_token_lifetime`](crate::RevocationEndpoint::access_token_lifetime).
pub(crate) const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

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
            if let Some(key) = row.grant_key() {
                let latest = latest_expiry(self.store(), &key, now).await;
                let latest = latest.map_err(ResolveError::new)?;
                let latest = latest.unwrap_or_else(|| latest_expiry_of(&row, now));
                let revocation = Revocation::of_grant(key, latest).map_err(ResolveError::new)?;
                resolved = resolved.grant(revocation);
            }
            Ok(Some(resolved))
        })
    }
}

/// Returns the latest expiry of the tokens of a grant, also of those that are being issued now and live
/// no longer than the others. `None` if no token is known; `Some(None)` if one never expires, or there are
/// too many to read.
pub(crate) async fn latest_expiry(
    issued: &dyn IssuedTokenStore,
    grant: &RevocationKey,
    now: UnixTime,
) -> Result<Option<Option<UnixTime>>, StoreError> {
    let mut latest = None;
    let is_complete = each_token(issued, &grant.digest(), |token| {
        latest = Some(later(latest, latest_expiry_of(token, now)));
    })
    .await?;
    Ok(match is_complete {
        true => latest,
        false => Some(None),
    })
}

/// Calls `take` with the tokens of a holder. Returns whether these were all.
pub(crate) async fn each_token(
    issued: &dyn IssuedTokenStore,
    holder: &KeyDigest,
    mut take: impl FnMut(&IssuedToken),
) -> Result<bool, StoreError> {
    let mut after = None;
    for _ in 0..LIMIT / PAGE {
        let page = issued.page_of(holder, after.as_ref(), PAGE).await?;
        page.tokens.iter().for_each(&mut take);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// Returns the later of two expiries, of which the first may be missing.
pub(crate) fn later(one: Option<Option<UnixTime>>, other: Option<UnixTime>) -> Option<UnixTime> {
    match one {
        Some(one) => Some(one?.max(other?)),
        None => other,
    }
}

/// Returns the latest expiry of a token of a grant, and of one that is being issued now with the same
/// life. `None` if it never expires.
fn latest_expiry_of(token: &IssuedToken, now: UnixTime) -> Option<UnixTime> {
    let expires_at = token.expires_at?;
    let life = expires_at
        .as_secs()
        .saturating_sub(token.issued_at.as_secs());
    let renewed = now.saturating_add(Duration::from_secs(life));
    Some(expires_at.max(renewed))
}

/// Keeps the revocation of a grant until all access tokens have expired that exist now and live this long.
pub(crate) fn outlasting(revocation: Revocation, lifetime: Duration, now: UnixTime) -> Revocation {
    let Some(until) = revocation.retained_until() else {
        return revocation;
    };
    let least = retention::of_token(Some(now.saturating_add(lifetime)));
    revocation.retained(least.max(Some(until)))
}
