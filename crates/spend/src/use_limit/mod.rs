//! A limited number of uses for each token.

mod layer;
mod service;
mod uses;

pub(crate) use self::uses::{TakeUse, TakenUse};
pub use self::{layer::UseLimitLayer, service::UseLimit};
