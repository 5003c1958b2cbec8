//! Revoking, lifting and restoring.

use redb::ReadableTable;
use tower_revoke_core::{Change, KeyDigest, Lift, Revocation, internal::merge::KeyState};

use super::{Facet, Tables};
use crate::{
    fault::Fault,
    rows::{self, Lifted, Revoked},
};

impl Tables<'_> {
    pub(crate) fn revoke(&mut self, revocation: &Revocation) -> Result<(), Fault> {
        let key = revocation.key().digest();
        self.merge(key, |state| state.revoke(key, revocation.into()))?;
        Ok(())
    }

    /// Ends a revocation. Taken uses stay taken.
    pub(crate) fn lift(&mut self, lift: &Lift) -> Result<bool, Fault> {
        self.merge(lift.key.digest(), |state| state.lift(lift))
    }

    /// Restores a change that a node has seen before.
    pub(crate) fn restore(&mut self, known: &Change) -> Result<(), Fault> {
        self.merge(*known.key(), |state| state.restore(known))?;
        Ok(())
    }

    /// Reads the state of a key, changes it, and writes what differs. Returns whether the feed has
    /// a new change.
    fn merge(
        &mut self,
        key: KeyDigest,
        act: impl FnOnce(&mut KeyState) -> Option<Change>,
    ) -> Result<bool, Fault> {
        let old = self.state(key)?;
        let mut new = old.clone();
        let change = act(&mut new);
        if new.revoked != old.revoked {
            match &new.revoked {
                Some(revoked) => {
                    let row = Revoked::write(revoked)?;
                    self.revoked.insert(key.as_bytes(), row.as_slice())?;
                }
                None => drop(self.revoked.remove(key.as_bytes())?),
            }
            let [from, to] =
                [&old, &new].map(|one| one.revoked.as_ref().map(|revoked| revoked.listed.until()));
            self.ends_move(Facet::Revoked, key, from, to)?;
        }
        if new.lifted != old.lifted {
            match &new.lifted {
                Some(lifted) => {
                    let row = rows::write(&Lifted::from(lifted))?;
                    self.lifted.insert(key.as_bytes(), row.as_slice())?;
                }
                None => drop(self.lifted.remove(key.as_bytes())?),
            }
            let [from, to] = [&old, &new].map(|one| one.lifted.as_ref().map(|lifted| lifted.until));
            self.ends_move(Facet::Lifted, key, from, to)?;
        }
        if let Some(change) = &change {
            self.tell(change)?;
        }
        Ok(change.is_some())
    }

    fn state(&self, key: KeyDigest) -> Result<KeyState, Fault> {
        let revoked = self.revoked.get(key.as_bytes())?;
        let revoked = revoked.map(|row| Revoked::read_all(row.value()));
        let lifted = self.lifted.get(key.as_bytes())?;
        let lifted = lifted.map(|row| rows::read::<Lifted>(row.value()));
        Ok(KeyState {
            revoked: revoked.transpose()?.map(|(row, said)| row.with(said)),
            lifted: lifted.transpose()?.map(Into::into),
        })
    }
}
