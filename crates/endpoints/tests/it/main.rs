//! Tests of the endpoints as their clients see them.

mod administration;
mod authentication;
mod claim_names;
mod introspection;
mod issued;
mod metadata;
mod revocation;
mod support;
