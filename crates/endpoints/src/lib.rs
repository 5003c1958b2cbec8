//! Endpoints of an authorization server, or of a service in front of one: [`RevocationEndpoint`]
//! (RFC 7009), [`IntrospectionEndpoint`] (RFC 7662), the [`AuthorizationServerMetadata`] (RFC 8414)
//! that names them, and an [`AdministrationEndpoint`].
//!
//! Each is a plain `tower::Service<http::Request<B>>`. Clients authenticate as
//! [`ClientAuthentication`] says, against [`StaticClients`] or a [`ClientAuthenticator`] of your own.
//! Tokens are revoked in a revocation list, so every service over the same store rejects them within
//! its `max_staleness`.
//!
//! # Guarantees
//! * **A 200 is final.** It is sent once the revocation is durable in the store.
//! * **Only its client revokes a token**, or a client that was named a
//!   [`revoker`](RevocationEndpoint::revoker) of its issuer.
//! * **A refresh token takes its access tokens along**, if its grant is known.
//! * **A right secret always passes**, whatever others guess.
//! * **No token and no secret is kept or logged.** Of secrets, only hashes are configured.

mod administration;
mod authentication;
mod client;
mod form;
mod introspection;
mod issued;
mod metadata;
mod request;
mod resolver;
mod response;
mod revocation;
mod secret;
mod throttle;

pub use self::{
    administration::AdministrationEndpoint,
    authentication::{ClientAuthMethod, ClientAuthentication},
    client::{AuthenticationError, ClientAuthenticator, ClientCredentials, StaticClients},
    introspection::IntrospectionEndpoint,
    metadata::{AuthorizationServerMetadata, MetadataError},
    resolver::{ResolveError, ResolvedToken, TokenResolver},
    revocation::RevocationEndpoint,
    secret::{ClientSecret, SecretError, SecretHash},
};
