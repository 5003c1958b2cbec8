//! What calls must have in common to share a pending revocation.

use std::{
    fmt,
    hash::{Hash, Hasher},
    iter,
    sync::Arc,
};

use tower_revoke_core::{Revocations, TokenId, UnixTime};

use crate::{commit::Write, notice::Servers, settings::Settings};

/// The token, the list that it is revoked on, and the servers that are told.
///
/// Lists and servers are compared by their addresses. The key owns them, so that no other can get
/// the same address meanwhile.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) token: TokenId,
    pub(crate) list: Arc<dyn Revocations>,
    pub(crate) servers: Servers,
}

fn address<T: ?Sized>(of: &Arc<T>) -> usize {
    Arc::as_ptr(of).cast::<()>().addr()
}

impl Key {
    pub(super) fn revocation(&self, exp: Option<UnixTime>, settings: &Settings) -> Write {
        Write::revoke(self.list.clone(), self.token, exp, settings)
    }

    fn addresses(&self) -> impl Iterator<Item = usize> {
        iter::once(address(&self.list)).chain(self.servers.iter().map(address))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token && self.addresses().eq(other.addresses())
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.token.hash(state);
        for address in self.addresses() {
            address.hash(state);
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.token).finish()
    }
}
