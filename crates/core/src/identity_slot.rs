//! Where an outer layer learns who calls.

use std::sync::{Arc, OnceLock};

use crate::Authenticated;

/// Through which an outer layer learns who calls: it puts an empty slot into the request's
/// extensions, the bearer layer fills it.
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
    /// Says who calls. The first word counts.
    pub fn fill(&self, caller: Authenticated) {
        let _ = self.0.set(caller);
    }

    /// Who calls, if a bearer layer found out.
    pub fn get(&self) -> Option<&Authenticated> {
        self.0.get()
    }
}
