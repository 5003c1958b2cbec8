//! The caller, for layers outside of the bearer layer.

use std::sync::{Arc, OnceLock};

use crate::Authenticated;

/// Tells an outer layer who calls: that layer puts an empty slot into the request's extensions, and the
/// bearer layer fills it.
///
/// ```
/// use tower_revoke_core::IdentitySlot;
///
/// let slot = IdentitySlot::default();
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(slot.clone());
/// // … the request is on its way …
/// assert!(slot.get().is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct IdentitySlot(Arc<OnceLock<Authenticated>>);

impl IdentitySlot {
    /// Fills the slot. The first caller stays.
    pub fn fill(&self, caller: Authenticated) {
        let _ = self.0.set(caller);
    }

    /// Returns the caller, if a bearer layer has filled the slot.
    pub fn get(&self) -> Option<&Authenticated> {
        self.0.get()
    }
}
