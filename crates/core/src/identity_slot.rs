//! The caller, for layers outside of the bearer layer.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{Authenticated, internal::StreamObserver};

/// Tells an outer layer who calls: that layer puts an empty slot into the request's extensions, and the
/// bearer layer fills it. An endpoint whose clients authenticate without a token fills it with the client.
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
#[derive(Clone)]
pub struct IdentitySlot {
    cell: Cell,
    /// Kept here rather than as a second extension, since one entry is cheaper than two.
    pub(crate) observer: Option<Arc<dyn StreamObserver>>,
}

/// `None` once it is dropped.
#[derive(Clone, Debug)]
struct Cell(Option<Inner>);

type Inner = Arc<OnceLock<Identity>>;

#[derive(Clone, Debug)]
enum Identity {
    Token(Authenticated),
    Client(Box<str>),
}

/// The number of empty cells that a thread keeps for later slots.
const SPARE: usize = 64;

thread_local! {
    // There is a slot for each request, so this saves an allocation each.
    static EMPTY: RefCell<Vec<Inner>> = const { RefCell::new(Vec::new()) };
}

impl IdentitySlot {
    /// Fills the slot. The first caller stays.
    pub fn fill(&self, caller: Authenticated) {
        self.set(Identity::Token(caller));
    }

    /// Fills the slot with the id of a client that has authenticated without a token, such as by a secret.
    /// The first caller stays.
    pub fn fill_client(&self, id: impl Into<Box<str>>) {
        self.set(Identity::Client(id.into()));
    }

    /// Returns whether the slot was filled.
    #[inline]
    pub fn is_filled(&self) -> bool {
        self.identity().is_some()
    }

    /// Returns the caller, if a bearer layer has filled the slot.
    #[inline]
    pub fn get(&self) -> Option<&Authenticated> {
        match self.identity()? {
            Identity::Token(caller) => Some(caller),
            Identity::Client(_) => None,
        }
    }

    /// Returns the id of the client, if it has authenticated without a token.
    pub fn client(&self) -> Option<&str> {
        match self.identity()? {
            Identity::Client(id) => Some(id),
            Identity::Token(_) => None,
        }
    }

    /// Returns the same slot without its observer.
    pub(crate) fn unobserved(&self) -> Self {
        Self {
            cell: self.cell.clone(),
            observer: None,
        }
    }

    #[inline]
    fn set(&self, identity: Identity) {
        if let Some(cell) = &self.cell.0 {
            let _ = cell.set(identity);
        }
    }

    #[inline]
    fn identity(&self) -> Option<&Identity> {
        self.cell.0.as_ref()?.get()
    }
}

/// Returns an empty slot.
impl Default for IdentitySlot {
    fn default() -> Self {
        let spare = EMPTY.try_with(|empty| empty.try_borrow_mut().ok()?.pop());
        Self {
            cell: Cell(Some(spare.ok().flatten().unwrap_or_default())),
            observer: None,
        }
    }
}

impl fmt::Debug for IdentitySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentitySlot")
            .field(&self.identity())
            .finish()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // Looked at first, since `get_mut` locks the count.
        let last = self.0.take().filter(|cell| Arc::strong_count(cell) == 1);
        let Some(mut cell) = last else {
            return;
        };
        let Some(inner) = Arc::get_mut(&mut cell) else {
            return;
        };
        // Dropped before the borrow, since it may hold the last reference to anything.
        drop(inner.take());
        let _ = EMPTY.try_with(|empty| {
            if let Ok(mut empty) = empty.try_borrow_mut()
                && empty.len() < SPARE
            {
                empty.push(cell);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Claims, TokenId, VerifiedToken};

    fn caller(subject: &str) -> Authenticated {
        let claims = Claims::from_value(serde_json::json!({ "sub": subject })).unwrap();
        let token = VerifiedToken::new(TokenId::of_jwt("issuer", "1"), claims, Duration::ZERO);
        Authenticated::new(Arc::new(token))
    }

    #[test]
    fn a_cell_is_used_again_empty_once_no_slot_has_it() {
        let slot = IdentitySlot::default();
        let clone = slot.clone();
        clone.fill(caller("ann"));
        clone.fill(caller("bob"));
        assert_eq!(slot.get().and_then(Authenticated::subject), Some("ann"));
        drop(slot);
        // The clone still has the cell.
        let other = IdentitySlot::default();
        assert!(other.get().is_none());
        assert_eq!(clone.get().and_then(Authenticated::subject), Some("ann"));
        let cell = Arc::as_ptr(clone.cell.0.as_ref().unwrap());
        let token = Arc::downgrade(clone.get().unwrap().token());
        drop(clone);
        assert!(token.upgrade().is_none());
        let again = IdentitySlot::default();
        assert_eq!(Arc::as_ptr(again.cell.0.as_ref().unwrap()), cell);
        assert!(again.get().is_none());
    }

    #[test]
    fn a_client_without_a_token_is_no_authenticated_token() {
        let slot = IdentitySlot::default();
        assert!(!slot.is_filled());
        slot.fill_client("shop");
        slot.fill_client("bank");
        slot.fill(caller("ann"));
        assert!(slot.is_filled() && slot.get().is_none());
        assert_eq!(slot.client(), Some("shop"));
    }
}
