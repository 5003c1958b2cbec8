//! An issuer's keys.

mod file;
mod jwk;
mod key;
mod pem;
#[cfg(feature = "remote")]
pub(crate) mod remote;
mod set;

pub(crate) use self::{
    file::KeyFile,
    jwk::{Skipped, read_set},
    key::{Key, candidates, has_key_id},
    pem::{is_public_key, public_der, starts_as_der},
    set::{KeySet, Source},
};
