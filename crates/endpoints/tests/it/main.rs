//! Tests of the endpoints as their clients see them.

mod authentication;
mod introspection;
mod metadata;
mod revocation;
mod support;
