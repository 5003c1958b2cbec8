//! By which hosts a dashboard may be called.

use std::{net::IpAddr, sync::Arc};

use http::{Request, header::HOST, uri::Authority};

/// `localhost`, all IP addresses, and the names that were added.
///
/// A page of another site that has its own name resolve to this server (DNS rebinding) still sends
/// that name. It can't send an address or a name that isn't its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Arc<Vec<String>>);

impl Hosts {
    pub(super) fn add(&mut self, name: String) {
        Arc::make_mut(&mut self.0).push(name);
    }

    /// Returns whether the request names a host, and only allowed ones. HTTP/2 has it in the URI, and
    /// may have a `Host` too.
    pub(super) fn allow<B>(&self, request: &Request<B>) -> bool {
        let authority = request.uri().authority().map(|it| it.as_str().as_bytes());
        let headers = request.headers().get_all(HOST).iter();
        let headers = headers.map(|value| value.as_bytes());
        let mut named = headers.chain(authority).peekable();
        named.peek().is_some() && named.all(|authority| self.contains(authority))
    }

    fn contains(&self, authority: &[u8]) -> bool {
        let Ok(authority) = Authority::try_from(authority) else {
            return false;
        };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let is = |name: &str| host.eq_ignore_ascii_case(name);
        // With credentials it is no `Host`.
        !authority.as_str().contains('@')
            && (is("localhost")
                || bare.unwrap_or(host).parse::<IpAddr>().is_ok()
                || self.0.iter().any(|name| is(name)))
    }
}
