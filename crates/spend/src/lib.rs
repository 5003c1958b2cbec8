//! What a call costs its token: one of a limited number of uses, or its life.
//!
//! | layer | a token | parallel calls |
//! |---|---|---|
//! | [`UseLimitLayer`] | can be used once, or n times; the use is taken *before* the call | only as many as there are uses |
//! | [`RevokeAfterResponseLayer`] | is revoked *before the last byte* of its first response | pass until the first response ends |
//!
//! Both belong between the bearer layer and the service:
//!
//! ```
//! use tower_revoke_core::Outcome;
//! use tower_revoke_spend::{Condition, RevokeAfterResponseLayer, UseLimitLayer};
//!
//! let download = UseLimitLayer::single();
//! let report = UseLimitLayer::uses::<3>().return_on(Outcome::Exception);
//! let like_wso2 = RevokeAfterResponseLayer::new().when(Condition::scope("OTT"));
//! ```
//!
//! # When a use is spent
//! Every outcome spends the use, unless a rule returns it ([`UseLimitLayer::return_on`]). A rule is
//! applied once, to the head of the response. A client that leaves spends its use; so do a panic, a
//! timeout further out, and a crash of the process after the use was taken.
//!
//! # When a response ends
//! [`tower_revoke_core::end`] says when a response is over. If nothing follows the head (HEAD, 204,
//! 304, an upgrade, an empty body, HTTP/1.0 without a length), the head waits for the store, and so
//! does an error of the inner service. Otherwise the last frame does. It may be small and sent by
//! itself, so a server should set `TCP_NODELAY` on its sockets; without it the frame can wait up to
//! 40 ms for the client to acknowledge what came before.
//!
//! Layers that answer in place of the inner service, such as a timeout or one that catches panics,
//! belong inside of these layers. Outside, their response doesn't wait for the revocation.
//!
//! # When the store fails
//! Before the inner call, the call is rejected with 503. If it is unknown whether a use was taken,
//! the use is returned by its id.
//!
//! After the call, [`RevokeAfterResponseLayer`] asks the store again and again. If it doesn't confirm
//! the revocation within the [commit timeout](RevokeAfterResponseLayer::commit_timeout), the response
//! becomes a 500 if its head is still to come, and otherwise its body is cut off, unless
//! [`OnStoreError::Deliver`] was chosen. In either case the work goes on, for which
//! [capacity](PendingRevocations) was reserved before the call.
//!
//! An outbox, of the client that [`also_at`](RevokeAfterResponseLayer::also_at) was given, is waited for
//! in the same way. [`UseLimitLayer`] waits for it after the last use, with the head of the response.
//!
//! # Rolling it out
//! With [`observe`](UseLimitLayer::observe) a layer rejects nobody and spends nothing: it logs and counts
//! what it would reject, by what it has seen in this process.
//!
//! # What is not covered
//! A revocation does not end a stream that was admitted before. An automatic retry outside of a layer
//! finds its token spent; one inside keeps its use.
//!
//! # Runtime
//! The layers need a tokio runtime with its timer enabled.

// A library never panics on what it is given.
#![cfg_attr(
    not(test),
    warn(clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod commit;
mod condition;
mod future;
mod ledger;
mod notice;
mod outcome_rule;
mod pending;
mod revoke_after_response;
mod settings;
mod use_limit;

pub use self::{
    commit::{CommitError, OnStoreError},
    condition::{Condition, ConditionRequest},
    future::{SpendBody, SpendFuture},
    outcome_rule::ResponseHead,
    pending::{PendingReport, PendingRevocations},
    revoke_after_response::{RevokeAfterResponse, RevokeAfterResponseLayer},
    use_limit::{UseLimit, UseLimitLayer},
};
