//! What tests of tower-revoke, of its stores and of programs that use it are made of.
//!
//! | to | use |
//! |---|---|
//! | play a response, frame by frame | [`ScriptedBody`], [`Gate`] |
//! | let a store fail, hang or dawdle | [`ScriptedStore`], [`Mood`] |

mod body;
mod store;

pub use self::{
    body::{Gate, ScriptedBody},
    store::{Mood, ScriptedStore, StoreOp, StoreScript},
};
