//! The guide: one chapter per module, to be read in this order.
//!
//! To begin with:
//!
//! * [`start`]: from an empty project to a service that checks tokens, on axum, tonic and hyper.
//! * [`layers`]: what each layer does, and in which order to stack them.
//! * [`checks`]: what is checked of a token, in order, and where the keys come from.
//! * [`providers`]: the lines for Auth0, Okta, Entra ID, Cognito, Google, Keycloak, Kubernetes and others.
//! * [`tenants`]: issuers that are not known when the program starts, such as those of customers.
//! * [`rejections`]: what a rejected caller is told.
//!
//! To end tokens:
//!
//! * [`one_time`]: tokens that work once or n times, tickets for URLs, and tokens that end with their
//!   response.
//! * [`revoking`]: log out everywhere, ending tokens by hand, and what operators can ask.
//! * [`streams`]: event streams, downloads, gRPC streams and WebSockets that end with their token.
//! * [`endpoints`]: a revocation endpoint, by which clients end their own tokens.
//! * [`opaque`]: opaque tokens that you issue, and how they are verified and ended.
//!
//! To run it:
//!
//! * [`guarantees`]: what you can rely on, and what is not covered.
//! * [`stores`]: which store to choose, what each may lose, and how to restore a backup.
//! * [`nodes`]: several nodes over one store, and what grows with their number.
//! * [`rolling_out`]: layers that observe before they reject, and an outage that admits.
//! * [`operating`]: readiness, metrics, alerts, logs and a graceful shutdown.
//! * [`rate_limits`]: per verified client, with `tower_governor`.
//! * [`testing`]: a service of yours, with the test kit.
//! * [`migrating`]: from jwt-authorizer, tower-oauth2-resource-server and axum-login.
//! * [`gateways`]: from Axway's "Revoke a Token" and WSO2's policy, setting by setting.
//! * [`settings`]: every default in one table.

#![allow(
    clippy::doc_markdown,
    reason = "chapters are Markdown files of their own"
)]

#[doc = include_str!("start.md")]
pub mod start {}
#[doc = include_str!("layers.md")]
pub mod layers {}
#[doc = include_str!("checks.md")]
pub mod checks {}
#[doc = include_str!("providers.md")]
pub mod providers {}
#[doc = include_str!("tenants.md")]
pub mod tenants {}
#[doc = include_str!("rejections.md")]
pub mod rejections {}
#[doc = include_str!("one_time.md")]
pub mod one_time {}
#[doc = include_str!("revoking.md")]
pub mod revoking {}
#[doc = include_str!("streams.md")]
pub mod streams {}
#[doc = include_str!("endpoints.md")]
pub mod endpoints {}
#[doc = include_str!("opaque.md")]
pub mod opaque {}
#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
#[doc = include_str!("stores.md")]
pub mod stores {}
#[doc = include_str!("nodes.md")]
pub mod nodes {}
#[doc = include_str!("rolling_out.md")]
pub mod rolling_out {}
#[doc = include_str!("operating.md")]
pub mod operating {}
#[doc = include_str!("rate_limits.md")]
pub mod rate_limits {}
#[doc = include_str!("testing.md")]
pub mod testing {}
#[doc = include_str!("migrating.md")]
pub mod migrating {}
#[doc = include_str!("gateways.md")]
pub mod gateways {}
#[doc = include_str!("settings.md")]
pub mod settings {}
