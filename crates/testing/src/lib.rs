//! What tests of tower-revoke, of its stores and of programs that use it are made of.
//!
//! | to | use |
//! |---|---|
//! | sign tokens, publish, rotate and withdraw keys | [`TestIssuer`] |
//! | play a response, frame by frame | [`ScriptedBody`], [`Gate`] |
//! | see whether a layer keeps to `poll_ready` | [`readiness_conformance`] |
//! | let a store fail, hang or dawdle | [`ScriptedStore`], [`Behavior`] |
//! | count what is logged | [`RecordedLog`] |
//! | prove a store against its contract | [`store_conformance!`], [`conformance`] |

mod body;
pub mod conformance;
mod issuer;
mod log;
mod readiness;
mod rounds;
mod store;

// For the tests of this workspace: its variable is set by `tests/run`.
#[doc(hidden)]
pub use self::rounds::rounds;
pub use self::{
    body::{Gate, ScriptedBody},
    issuer::{TestAlgorithm, TestIssuer, TestToken},
    log::RecordedLog,
    readiness::{ReadinessService, readiness_conformance},
    store::{Behavior, ScriptedStore, StoreOp, StoreScript},
};
