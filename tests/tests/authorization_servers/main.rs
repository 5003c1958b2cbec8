//! Tests the stack against real authorization servers, and our clients of RFC 7662 and 7009 by each
//! method of authentication.

mod clients;
mod keycloak;
mod oidc_provider;
