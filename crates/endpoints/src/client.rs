//! The clients of the endpoints, and the port that authenticates them.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use tower_revoke_core::{BoxError, BoxFuture};

use crate::SecretHash;

/// Authenticates the clients that call an endpoint.
///
/// [`StaticClients`] is one for a fixed set of clients. Implement it over a database of your own for
/// more, with a slow hash if the secrets are passwords.
///
/// # Contract
/// * A client that has a secret is never accepted without one.
/// * Secrets are compared in constant time.
/// * The future completes in bounded time. It may be dropped at any await point.
pub trait ClientAuthenticator: Send + Sync + 'static {
    /// Checks a client's credentials.
    ///
    /// # Errors
    /// [`AuthenticationError`].
    fn authenticate<'a>(
        &'a self,
        credentials: ClientCredentials<'a>,
    ) -> BoxFuture<'a, Result<(), AuthenticationError>>;
}

/// The credentials of a client, as presented. `Debug` doesn't show the secret.
#[derive(Clone, Copy)]
pub struct ClientCredentials<'a> {
    id: &'a str,
    secret: Option<&'a str>,
}

impl<'a> ClientCredentials<'a> {
    pub(crate) fn new(id: &'a str, secret: Option<&'a str>) -> Self {
        Self { id, secret }
    }

    /// Returns the client id.
    pub fn id(&self) -> &'a str {
        self.id
    }

    /// Returns the secret. `None` for a public client.
    pub fn secret(&self) -> Option<&'a str> {
        self.secret
    }
}

impl fmt::Debug for ClientCredentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("id", &self.id)
            .field("has_secret", &self.secret.is_some())
            .finish()
    }
}

/// Why a client is not authenticated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// There is no such client.
    #[error("there is no such client")]
    UnknownClient,
    /// The secret is wrong, missing, or presented by a client that has none.
    #[error("the client's secret is wrong")]
    WrongSecret,
    /// The clients can't be looked up now. The caller gets a 503.
    #[error("the clients can't be looked up")]
    Unavailable(#[source] BoxError),
}

/// A fixed set of clients.
///
/// # Examples
/// ```
/// use tower_revoke_endpoints::{ClientSecret, StaticClients};
///
/// let (old, new) = (ClientSecret::generate()?, ClientSecret::generate()?);
/// let clients = StaticClients::new()
///     // Both secrets are valid while the client changes from one to the other.
///     .secret("shop", old.hash())
///     .secret("shop", new.hash())
///     .public("cli");
/// # let _ = clients;
/// # Ok::<(), tower_revoke_endpoints::SecretError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StaticClients(HashMap<String, Vec<SecretHash>>);

impl StaticClients {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a secret of a client. Each of its secrets is valid.
    #[must_use]
    pub fn secret(mut self, client: impl Into<String>, hash: SecretHash) -> Self {
        self.0.entry(client.into()).or_default().push(hash);
        self
    }

    /// Adds a public client: one that can't keep a secret, such as an app on a phone. It is known by
    /// its id only. Has no effect on a client that has a secret.
    ///
    /// Anyone can act as a public client, but must present the token to revoke it.
    #[must_use]
    pub fn public(mut self, client: impl Into<String>) -> Self {
        self.0.entry(client.into()).or_default();
        self
    }
}

/// Clients that may do something with all tokens of an issuer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientsByIssuer(HashMap<String, HashSet<String>>);

impl ClientsByIssuer {
    pub(crate) fn insert(&mut self, issuer: String, client: String) {
        self.0.entry(issuer).or_default().insert(client);
    }

    pub(crate) fn contains(&self, issuer: &str, client: &str) -> bool {
        let clients = self.0.get(issuer);
        clients.is_some_and(|clients| clients.contains(client))
    }
}

impl ClientAuthenticator for StaticClients {
    fn authenticate<'a>(
        &'a self,
        credentials: ClientCredentials<'a>,
    ) -> BoxFuture<'a, Result<(), AuthenticationError>> {
        let secrets = self.0.get(credentials.id());
        let result = match (secrets, credentials.secret()) {
            (None, _) => Err(AuthenticationError::UnknownClient),
            (Some(secrets), None) if secrets.is_empty() => Ok(()),
            (Some(secrets), Some(secret)) if secrets.iter().any(|hash| hash.matches(secret)) => {
                Ok(())
            }
            _ => Err(AuthenticationError::WrongSecret),
        };
        Box::pin(std::future::ready(result))
    }
}
