//! The guide: one chapter per module, to be read in this order.
//!
//! 1. [`layers`]: what each layer does, and in which order to stack them; on axum, tonic and hyper.
//! 2. [`checks`]: what is checked of a token, in order, and where the keys come from.
//! 3. [`guarantees`]: what you can rely on, what each store promises, and what is not covered.
//! 4. [`scale`]: what grows with revocations and nodes, and what to choose then.
//! 5. [`revoking`]: ending tokens by hand, and what operators can ask.
//! 6. [`endpoints`]: a revocation endpoint, by which clients end their own tokens.
//! 7. [`rejections`]: what a rejected caller is told.
//! 8. [`settings`]: every default in one table.

#![allow(
    clippy::doc_markdown,
    reason = "chapters are Markdown files of their own"
)]

#[doc = include_str!("layers.md")]
pub mod layers {}
#[doc = include_str!("checks.md")]
pub mod checks {}
#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
#[doc = include_str!("scale.md")]
pub mod scale {}
#[doc = include_str!("revoking.md")]
pub mod revoking {}
#[doc = include_str!("endpoints.md")]
pub mod endpoints {}
#[doc = include_str!("rejections.md")]
pub mod rejections {}
#[doc = include_str!("settings.md")]
pub mod settings {}
