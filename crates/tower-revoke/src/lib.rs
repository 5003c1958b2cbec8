#![doc = include_str!("../README.md")]

#[doc(inline)]
pub use tower_revoke_core::{
    self as core, Authenticated, BearerToken, Claims, Clock, Lift, Outcome, Reason, Rejection,
    RejectionFormat, Revocation, RevocationKey, StoreError, TokenId, UnixTime,
};
#[cfg(feature = "spend")]
#[doc(inline)]
pub use tower_revoke_spend::{Head, NotRecorded, OnStoreError, RevokeLayer, Slots, When};
