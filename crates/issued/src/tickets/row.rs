//! A ticket as the store keeps it.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tower_revoke_core::{
    ClaimNames, Claims, ClaimsError, IssuedToken, KeyDigest, TokenHash, TokenId, TokenKind,
    UnixTime, VerifiedToken,
};

const KIND: &str = "ticket";

/// Makes the row of a ticket that stands for `parent`.
///
/// The row has neither subject nor grant, so that tickets are not listed among a subject's tokens.
pub(crate) fn of_ticket(
    hash: TokenHash,
    parent: &VerifiedToken,
    copied: Map<String, Value>,
    scopes: &[String],
    now: UnixTime,
    expires_at: UnixTime,
) -> Result<IssuedToken, ClaimsError> {
    let claims = parent.claims();
    let mut all = copied;
    all.remove("nbf");
    for (name, value) in [
        ("iss", claims.issuer()),
        ("sub", claims.subject()),
        ("client_id", claims.client()),
        ("sid", claims.session()),
        ("grant_id", claims.grant()),
    ] {
        put(&mut all, name, value.map(Value::from));
    }
    for (name, time) in [("iat", claims.issued_at()), ("exp", claims.expires_at())] {
        put(&mut all, name, time.map(|time| time.as_secs().into()));
    }
    let scope = (!scopes.is_empty()).then(|| scopes.join(" ").into());
    put(&mut all, "scope", scope);
    // What can't be read is not stored.
    read(all.clone())?;
    let issuer = claims.issuer().unwrap_or_default();
    let client = claims.client().unwrap_or_default();
    let mut row = IssuedToken::new(hash, TokenKind::new(KIND), issuer, client, now);
    row.expires_at = Some(expires_at);
    row.keys = parent.keys().to_vec();
    row.claims = Map::from_iter([
        ("claims".to_owned(), Value::Object(all)),
        ("leeway".to_owned(), json!(parent.leeway().as_secs())),
    ]);
    Ok(row)
}

/// A copied claim names neither the client nor the scopes.
fn read(claims: Map<String, Value>) -> Result<Claims, ClaimsError> {
    let names = ClaimNames::default().client("client_id").scopes("scope");
    Claims::from_value_with(Value::Object(claims), &names)
}

fn put(all: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(all.insert(name.to_owned(), value)),
        None => drop(all.remove(name)),
    }
}

/// Returns the token that a row stands for. `None` if the row is not a ticket's.
pub(crate) fn verified(row: &IssuedToken) -> Option<Result<VerifiedToken, ClaimsError>> {
    if row.kind.as_str() != KIND {
        return None;
    }
    let claims = row.claims.get("claims")?.as_object()?.clone();
    let leeway = Duration::from_secs(row.claims.get("leeway")?.as_u64()?);
    let (parent, others) = row.keys.split_first()?;
    let until = row.expires_at?;
    let used = TokenId::of_opaque(&row.issuer, &row.hash);
    Some(read(claims).map(|claims| {
        let token = VerifiedToken::new(KeyDigest::as_token(parent), claims, leeway);
        let token = others.iter().copied().fold(token, VerifiedToken::with_key);
        token.with_single_use(used, until)
    }))
}
