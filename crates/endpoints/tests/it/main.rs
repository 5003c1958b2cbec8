//! Tests of the endpoints as their clients see them.

mod authentication;
mod metadata;
mod revocation;
mod support;
