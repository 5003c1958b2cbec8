//! The verifier of tokens that only their authorization server can read (RFC 7662).

mod answer;
mod builder;
mod flights;
mod rate;
mod server;
mod verifier;

pub use self::{
    answer::IntrospectionError,
    builder::{IntrospectionVerifierBuilder, IntrospectionVerifierError},
    verifier::IntrospectionVerifier,
};
