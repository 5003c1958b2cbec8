//! The sources of a token.

mod cookie;
mod header;
mod query;
mod websocket;

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, header::COOKIE};
use tower_revoke_core::{BearerToken, MalformedToken, Reason, Rejection, internal::TokenCookies};

pub(crate) use self::query::keep_private;

/// The sources besides the header, which is always one (RFC 6750 §2.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) cookie: Option<Arc<str>>,
    pub(crate) query: bool,
    pub(crate) websocket_prefix: Option<Arc<str>>,
}

/// What a request presents as its credentials.
pub(crate) struct Presented {
    /// `Ok(None)`: no bearer credentials. The characters of one from the header are not checked.
    pub(crate) token: Result<Option<BearerToken>, Rejection>,
    /// Cookies that differ. Where there are any, there is no other token.
    pub(crate) cookies: Vec<Candidate>,
    /// Whether the token, well-formed or not, was in the query.
    pub(crate) in_query: bool,
}

/// A token, or a malformed one.
pub(crate) type Candidate = Result<BearerToken, Rejection>;

/// The token of one source, if there is one.
type Found = Option<Candidate>;

impl Sources {
    /// The names of RFC 9728 §2, which has none for cookies and subprotocols.
    pub(crate) fn methods(&self) -> Vec<String> {
        let query = self.query.then_some("query");
        let methods = ["header"].into_iter().chain(query);
        methods.map(str::to_owned).collect()
    }

    /// Reads the token, and removes it where inner services must not see it.
    pub(crate) fn take<B>(&self, request: &mut Request<B>) -> Presented {
        let mut token = header::read(request.headers_mut());
        let mut cookies = Vec::new();
        let mut in_query = false;
        if self.query {
            let found = query::take(request.uri_mut());
            in_query = found.is_some();
            token = one_of(token, found);
        }
        if let Some(prefix) = &self.websocket_prefix {
            token = one_of(token, websocket::take(request, prefix));
        }
        if let Some(name) = &self.cookie {
            TokenCookies::add(request.extensions_mut(), name.clone());
            mark_sensitive(request.headers_mut(), &COOKIE);
            if matches!(token, Ok(None)) {
                match cookie::read(request.headers(), name) {
                    cookie::Found::None => {}
                    cookie::Found::One(found) => token = found.map(Some),
                    cookie::Found::Several(found) => cookies = found,
                }
            }
        }
        Presented {
            token,
            cookies,
            in_query,
        }
    }
}

/// Reads a token that came by other means than `Authorization`.
fn read_token(value: &[u8]) -> Candidate {
    let value = std::str::from_utf8(value).map_err(|_| MalformedToken::Characters);
    value.and_then(BearerToken::new).map_err(Rejection::from)
}

/// RFC 6750 §2: "Clients MUST NOT use more than one method to transmit the token".
fn one_of(
    token: Result<Option<BearerToken>, Rejection>,
    other: Found,
) -> Result<Option<BearerToken>, Rejection> {
    match (token, other) {
        (token, None) => token,
        (Ok(None), other) => other.transpose(),
        _ => Err(ambiguous("a token came by more than one method")),
    }
}

/// The rejection where it is unknown which of several credentials is meant.
pub(crate) fn ambiguous(detail: &'static str) -> Rejection {
    Rejection::new(Reason::MalformedRequest).detail(detail)
}

/// Keeps the values of a header out of `Debug` and out of HPACK's tables.
fn mark_sensitive(headers: &mut HeaderMap, name: &HeaderName) {
    for (other, value) in headers.iter_mut() {
        if other == name {
            value.set_sensitive(true);
        }
    }
}
