//! Test tools for tower-revoke: for its own tests, for stores, and for programs that use it.
//!
//! | to | use |
//! |---|---|
//! | sign tokens, publish, rotate and withdraw keys | [`TestIssuer`] |
//! | make the caller of a handler that a test calls directly | [`authenticated`] |
//! | script a response body, frame by frame | [`ScriptedBody`], [`Gate`] |
//! | check that a layer honors the contract of `poll_ready` | [`readiness_conformance`] |
//! | make a store fail, hang or answer late | [`ScriptedStore`], [`Behavior`] |
//! | assert on what is logged | [`RecordedLog`] |
//! | look for a secret in all that an error shows | [`error_report`] |
//! | check a store against the contract of `Store` | [`store_conformance!`], [`conformance`] |

mod body;
mod caller;
pub mod conformance;
mod error_report;
mod issuer;
mod log;
mod readiness;
mod rounds;
mod store;

// For the tests of this workspace only: `tests/run` sets the variable that it reads.
#[doc(hidden)]
pub use self::rounds::rounds;
pub use self::{
    body::{Gate, ScriptedBody},
    caller::authenticated,
    error_report::error_report,
    issuer::{TestAlgorithm, TestIssuer, TestToken},
    log::RecordedLog,
    readiness::{ReadinessService, readiness_conformance},
    store::{Behavior, ScriptedStore, StoreOp, StoreScript},
};
