//! The names of the cookies that may hold a token.

use std::{iter, sync::Arc};

use http::Extensions;

/// The names of the cookies from which the bearer layers of a request read tokens, kept in its
/// extensions.
///
/// They are recorded whether or not a token was found there. A layer that forwards the request
/// removes these cookies.
///
/// ```
/// use http::Request;
/// use tower_revoke_core::internal::TokenCookies;
///
/// let mut request = Request::new(());
/// TokenCookies::add(request.extensions_mut(), "session".into());
/// TokenCookies::add(request.extensions_mut(), "admin".into());
/// let names: Vec<_> = TokenCookies::names(request.extensions()).collect();
/// assert_eq!(names, ["admin", "session"]);
/// ```
#[derive(Clone, Debug)]
pub struct TokenCookies {
    name: Arc<str>,
    /// The names from outer layers.
    outer: Option<Arc<TokenCookies>>,
}

impl TokenCookies {
    /// Adds the name of a cookie.
    pub fn add(extensions: &mut Extensions, name: Arc<str>) {
        let outer = extensions.remove::<Self>().map(Arc::new);
        extensions.insert(Self { name, outer });
    }

    /// Returns the names, the last added first.
    pub fn names(extensions: &Extensions) -> impl Iterator<Item = &str> + Clone {
        let all = iter::successors(extensions.get::<Self>(), |cookie| cookie.outer.as_deref());
        all.map(|cookie| &*cookie.name)
    }
}
