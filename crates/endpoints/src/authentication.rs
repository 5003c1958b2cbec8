//! How endpoints authenticate their clients.

use std::{fmt, net::IpAddr, sync::Arc};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use tower_revoke_core::{IdentitySlot, internal::quoted_string};
use zeroize::Zeroizing;

use crate::{
    AuthenticationError, ClientAuthenticator, ClientCredentials, form::Form, response::CallError,
    throttle::Throttle,
};

/// A method of client authentication, as RFC 7591 §2 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClientAuthMethod {
    /// `client_secret_basic`: id and secret in the `Authorization` header.
    SecretBasic,
    /// `client_secret_post`: id and secret in the form.
    SecretPost,
    /// `none`: a public client, by its id in the form, or by `Basic` with an empty secret.
    None,
}

impl ClientAuthMethod {
    /// Returns the name in metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretBasic => "client_secret_basic",
            Self::SecretPost => "client_secret_post",
            Self::None => "none",
        }
    }
}

type PeerAddress = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

/// How the clients of an endpoint authenticate.
///
/// Every [`ClientAuthenticator`] converts into one with the default settings. Clones share the counts
/// of failures, so give all endpoints the same.
///
/// # Guessing
/// A failed authentication is answered after 100 ms, and later with each further failure for that
/// client or from that [address](Self::peer_address), up to 5 s. A right secret is never delayed,
/// whatever others try. At most 1,024 failures wait at one time; further ones get 429 at once.
///
/// # Monitoring
/// The id of a client that has authenticated by a secret is put into the `IdentitySlot` of an outer
/// layer, so `MonitorLayer` counts the calls of an endpoint by client. Public clients are anonymous.
///
/// # Examples
/// ```
/// use tower_revoke_endpoints::{
///     ClientAuthMethod, ClientAuthentication, ClientSecret, StaticClients,
/// };
///
/// let secret = ClientSecret::generate()?;
/// let clients = StaticClients::new().secret("shop", secret.hash()).public("cli");
/// let clients = ClientAuthentication::new(clients)
///     .methods([ClientAuthMethod::SecretBasic, ClientAuthMethod::None])
///     .realm("id.example.com");
/// # let _ = clients;
/// # Ok::<(), tower_revoke_endpoints::SecretError>(())
/// ```
#[derive(Clone)]
pub struct ClientAuthentication {
    clients: Arc<dyn ClientAuthenticator>,
    methods: Vec<ClientAuthMethod>,
    id_field: String,
    secret_field: String,
    challenge: HeaderValue,
    peer_address: Option<Arc<PeerAddress>>,
    throttle: Arc<Throttle>,
}

impl<A: ClientAuthenticator> From<A> for ClientAuthentication {
    fn from(clients: A) -> Self {
        Self::new(clients)
    }
}

impl ClientAuthentication {
    /// Authenticates clients by `client_secret_basic`.
    pub fn new(clients: impl ClientAuthenticator) -> Self {
        Self {
            clients: Arc::new(clients),
            methods: vec![ClientAuthMethod::SecretBasic],
            id_field: "client_id".to_owned(),
            secret_field: "client_secret".to_owned(),
            challenge: challenge("api"),
            peer_address: None,
            throttle: Arc::new(Throttle::new()),
        }
    }

    /// Sets the allowed methods. Defaults to [`SecretBasic`](ClientAuthMethod::SecretBasic).
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = ClientAuthMethod>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// Sets the names of the form fields. Default to `client_id` and `client_secret`.
    #[must_use]
    pub fn form_fields(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        (self.id_field, self.secret_field) = (id.into(), secret.into());
        self
    }

    /// Sets the realm of the `Basic` challenge. Defaults to `api`. Characters other
    /// than visible ASCII and spaces become question marks.
    #[must_use]
    pub fn realm(mut self, realm: &str) -> Self {
        self.challenge = challenge(realm);
        self
    }

    /// Sets how the address of the caller is read, by which guesses are counted too: from what the
    /// server puts into the extensions, or from a header that your own proxy sets. By default, they
    /// are counted by client only.
    #[must_use]
    pub fn peer_address(
        mut self,
        address: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.peer_address = Some(Arc::new(address));
        self
    }

    /// Returns the names of the allowed methods.
    pub(crate) fn method_names(&self) -> Vec<&'static str> {
        self.methods.iter().map(|method| method.as_str()).collect()
    }

    /// The challenge of a 401, if `Basic` is allowed.
    pub(crate) fn challenge(&self) -> Option<&HeaderValue> {
        let is_basic = self.methods.contains(&ClientAuthMethod::SecretBasic);
        is_basic.then_some(&self.challenge)
    }

    /// Returns the id of the client that is authenticated by a secret in the header.
    pub(crate) async fn authenticate_by_header(&self, parts: &Parts) -> Result<String, CallError> {
        let mut presented = self.presented(&parts.headers, &Form::parse(b""))?;
        presented.readings.retain(|pair| pair.secret.is_some());
        self.check(presented, parts).await
    }

    /// Returns the id of the authenticated client.
    pub(crate) async fn authenticate(
        &self,
        parts: &Parts,
        form: &Form<'_>,
    ) -> Result<String, CallError> {
        let presented = self.presented(&parts.headers, form)?;
        self.check(presented, parts).await
    }

    async fn check(&self, presented: Presented, parts: &Parts) -> Result<String, CallError> {
        if !self.methods.contains(&presented.method) {
            return Err(CallError::Client);
        }
        let mut known = None;
        for Pair { id, secret } in &presented.readings {
            let credentials = ClientCredentials::new(id, secret.as_deref().map(String::as_str));
            match self.clients.authenticate(credentials).await {
                Ok(()) => {
                    // Anybody can act as a public client, which has no secret.
                    if secret.is_some()
                        && let Some(slot) = parts.extensions.get::<IdentitySlot>()
                    {
                        slot.fill_client(id.as_str());
                    }
                    return Ok(id.clone());
                }
                Err(AuthenticationError::UnknownClient) => {}
                Err(AuthenticationError::WrongSecret) => known = Some(id.as_str()),
                Err(AuthenticationError::Unavailable(error)) => {
                    tracing::warn!(
                        target: "tower_revoke::endpoints",
                        error = &*error,
                        "the clients can't be looked up"
                    );
                    return Err(CallError::Unavailable);
                }
            }
        }
        let address = self
            .peer_address
            .as_ref()
            .and_then(|address| address(parts));
        self.throttle.failed(known, address).await?;
        Err(CallError::Client)
    }

    fn presented(&self, headers: &HeaderMap, form: &Form<'_>) -> Result<Presented, CallError> {
        let in_form = (form.get(&self.id_field)?, form.get(&self.secret_field)?);
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (value, None) = (values.next(), values.next()) else {
            return Err(CallError::Request(
                "there are several Authorization headers",
            ));
        };
        let Some(value) = value else {
            return Presented::in_form(in_form);
        };
        if in_form.1.is_some() {
            return Err(CallError::Request(
                "there are credentials in the header and in the form",
            ));
        }
        let presented = Presented::in_header(value).ok_or(CallError::Client)?;
        let is_same = |id| presented.readings.iter().any(|pair| pair.id == id);
        match in_form.0.is_none_or(is_same) {
            true => Ok(presented),
            false => Err(CallError::Request(
                "the client ids in the header and in the form differ",
            )),
        }
    }
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthentication")
            .field("methods", &self.methods)
            .finish_non_exhaustive()
    }
}

fn challenge(realm: &str) -> HeaderValue {
    let text = format!("Basic realm={}, charset=\"UTF-8\"", quoted_string(realm));
    HeaderValue::try_from(text).expect("a quoted-string fits a header")
}

/// The credentials of a request.
struct Presented {
    method: ClientAuthMethod,
    /// More than one where they can be read in two ways. Together they count as one guess.
    readings: Vec<Pair>,
}

struct Pair {
    id: String,
    secret: Option<Zeroizing<String>>,
}

impl Pair {
    fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret = Zeroizing::new(secret.into());
        Self {
            id: id.into(),
            secret: Some(secret).filter(|secret| !secret.is_empty()),
        }
    }
}

impl Presented {
    fn in_form((id, secret): (Option<&str>, Option<&str>)) -> Result<Self, CallError> {
        let id = id.ok_or(CallError::Client)?;
        Ok(Self {
            method: match secret {
                Some(_) => ClientAuthMethod::SecretPost,
                None => ClientAuthMethod::None,
            },
            readings: vec![Pair::new(id, secret.unwrap_or_default())],
        })
    }

    /// Reads `Basic` credentials. `None` if there are none.
    ///
    /// RFC 6749 §2.3.1 has id and secret form-urlencoded, and about half of the clients do it. So
    /// they are taken as they are first, and decoded where that makes a difference.
    fn in_header(value: &HeaderValue) -> Option<Self> {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = Zeroizing::new(BASE64.decode(encoded.trim()).ok()?);
        let text = std::str::from_utf8(&bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        let mut readings = vec![Pair::new(id, secret)];
        if text.contains(['%', '+']) {
            readings.push(Pair::new(decoded(id), decoded(secret)));
        }
        Some(Self {
            // As in the form: an empty secret is none.
            method: match secret {
                "" => ClientAuthMethod::None,
                _ => ClientAuthMethod::SecretBasic,
            },
            readings,
        })
    }
}

/// Accepts base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes a form-urlencoded word. A `=` or `&` in it, which an encoder would have escaped, stays.
fn decoded(word: &str) -> String {
    let escaped = word.replace('&', "%26").replace('=', "%3D");
    let mut names = form_urlencoded::parse(escaped.as_bytes());
    names
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}
