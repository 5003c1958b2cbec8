//! Revocation at the end of a token's first response.

mod layer;
mod service;

pub use self::{layer::RevokeAfterResponseLayer, service::RevokeAfterResponse};
