//! The choice between several tokens of a request.

use std::sync::Arc;

use tower_revoke_core::{Authenticated, BearerToken, Reason, Rejection, TokenVerifier};

use crate::source::{Candidate, ambiguous};

/// What a verifier has to check.
pub(crate) enum Asked {
    One(BearerToken),
    OneOf(Vec<Candidate>),
}

/// Returns the caller of the valid candidate, with its token.
///
/// A candidate that was revoked or spent rejects the request: the caller has logged out, and the others
/// may have been planted. So does one that can't be checked now, since it may have been revoked, and
/// a second valid one of another caller. Without a valid one, the first gives the reason.
pub(crate) async fn choose<V: TokenVerifier>(
    verifier: Arc<V>,
    candidates: Vec<Candidate>,
) -> (Result<Authenticated, Rejection>, Option<BearerToken>) {
    let mut good: Option<(Authenticated, BearerToken)> = None;
    let mut not_good: Option<Rejection> = None;
    let mut forbidden: Option<Rejection> = None;
    let is_only = candidates.len() == 1;
    for candidate in candidates {
        let answer = match candidate {
            Ok(token) => match verifier.verify_candidate(&token).await {
                Ok(caller) => Ok((caller, token)),
                // The layer may admit it, if no other candidate casts doubt on it.
                Err(rejection) if is_only && rejection.unchecked_token().is_some() => {
                    return (Err(rejection), Some(token));
                }
                Err(rejection) => Err(rejection),
            },
            Err(malformed) => Err(malformed),
        };
        match answer {
            Ok(found) => match &good {
                None => good = Some(found),
                Some((first, _)) if is_same_caller(first, &found.0) => {}
                Some(_) => {
                    let two = || ambiguous("the cookies are those of two callers");
                    forbidden.get_or_insert_with(two);
                }
            },
            Err(rejection) => match rejection.reason() {
                Reason::Revoked | Reason::Spent => return (Err(rejection), None),
                reason if reason.status().is_server_error() => {
                    forbidden.get_or_insert(rejection);
                }
                _ => {
                    not_good.get_or_insert(rejection);
                }
            },
        }
    }
    match (forbidden, good) {
        (Some(rejection), _) => (Err(rejection), None),
        (None, Some((caller, token))) => (Ok(caller), Some(token)),
        (None, None) => {
            let rejection = not_good.unwrap_or_else(|| Reason::NoToken.into());
            (Err(rejection), None)
        }
    }
}

/// Tokens without an issuer or a subject never have the same caller.
fn is_same_caller(a: &Authenticated, b: &Authenticated) -> bool {
    subject_of(a).is_some() && subject_of(a) == subject_of(b)
}

fn subject_of(caller: &Authenticated) -> Option<(&str, &str)> {
    let claims = caller.token().claims();
    Some((claims.issuer()?, claims.subject()?))
}
