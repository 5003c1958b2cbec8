//! What a response costs the token that paid for it.
//!
//! [`RevokeLayer`] stands between the bearer layer and the service:
//!
//! * [`RevokeLayer::single_use`] and [`RevokeLayer::uses`] use a use *before* the call. Of any
//!   number of calls, on any number of nodes that share a store, exactly so many reach the service.
//! * [`RevokeLayer::after_response`] revokes the token *before the last byte* of the response is
//!   handed to the transport: the client that has a whole response has a dead token.
//!
//! ```
//! use tower_revoke_core::Outcome;
//! use tower_revoke_spend::{RevokeLayer, When};
//!
//! let download = RevokeLayer::single_use();
//! let patient = RevokeLayer::uses(3).return_on(Outcome::Exception);
//! let like_wso2 = RevokeLayer::after_response().when(When::scope("OTT"));
//! ```
//!
//! # How a use ends
//! Every outcome spends, unless a rule returns the use ([`RevokeLayer::return_on`]). A rule
//! is asked once, at the head of the response. A client that leaves spends; so do a panic, a
//! time-out further out, and a crash of the whole program after a use.
//!
//! # When the end is
//! [`tower_revoke_core::end`] says when a response is over. Where nothing follows the head (HEAD,
//! 204, 304, an upgrade, an empty body, HTTP/1.0 without a length), the head waits for the store,
//! and so does an error of the inner service; else the last frame does. That frame may be small and
//! come by itself: a server sets `TCP_NODELAY` on its sockets, or the frame waits for the client to
//! acknowledge what came before it, for up to 40 ms.
//!
//! What answers in the inner service's place belongs inside of this layer: a time-out, or what
//! catches panics. Further out, it has an answer of its own while the token's end is still being
//! written down.
//!
//! # When the store fails
//! Before the inner call: 503, and nothing happened; a use whose answer was lost is returned
//! by its id. After it, for `after_response`: the store is asked again and again. What it doesn't
//! confirm within [`RevokeLayer::commit_timeout`] turns into a 500 while the head is still to come,
//! and otherwise into a body that is cut off, unless [`OnStoreError::Deliver`] was chosen. The work
//! goes on in either case, in a [slot](PendingRevocations) that was taken before the call.
//!
//! # What it doesn't do
//! A revocation does not cut a stream that was admitted before. An automatic retry outside of this
//! layer finds its token spent; one inside of it keeps its use.
//!
//! It needs a tokio runtime with its timer.

mod body;
mod config;
mod future;
mod layer;
mod owed;
mod pending;
mod service;
mod slots;
mod when;

pub use self::{
    body::RevokeBody,
    config::{Head, OnStoreError},
    future::RevokeFuture,
    layer::RevokeLayer,
    owed::NotRecorded,
    service::Revoke,
    slots::PendingRevocations,
    when::{Call, When},
};
