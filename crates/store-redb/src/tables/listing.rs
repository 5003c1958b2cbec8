//! Revocations and rules: said, lifted, and written back.

use tower_revoke_core::{Change, KeyDigest, Lift, Listed, Revocation, UnixTime};

use super::{Facet, Tables, longer};
use crate::{
    fault::Fault,
    rows::{self, Lifted, Revoked, Said},
};

impl Tables<'_> {
    pub(crate) fn revoke(&mut self, revocation: &Revocation) -> Result<(), Fault> {
        let key = revocation.key();
        let until = revocation.retained_until();
        let listed = match revocation.issued_at_or_before() {
            Some(issued_at_or_before) => Listed::Rule {
                issued_at_or_before,
                until,
            },
            None => Listed::Revoked { until },
        };
        let said = Said::new(key, revocation.said_by(), revocation.reason());
        let at = revocation.said_at().unwrap_or(UnixTime::EPOCH);
        let key = key.digest();
        // It is newer than any lift, whatever the clocks said.
        let at = (self.lifted(key)?).map_or(at, |lifted| at.max(lifted.at));
        self.list(key, listed, at, said)
    }

    /// Adds a revocation; never shortens the one that is there.
    fn list(
        &mut self,
        key: KeyDigest,
        listed: Listed,
        at: UnixTime,
        said: Said,
    ) -> Result<(), Fault> {
        let old = self.revoked(key)?;
        let (new, said) = match &old {
            None => (Revoked::new(listed, at), said),
            Some((old, was_said)) => {
                let longer = old.listed().longer(listed);
                let said = if said.is_empty() {
                    was_said.clone()
                } else {
                    said
                };
                (Revoked::new(longer, old.at.max(at)), said)
            }
        };
        let old_head = old.as_ref().map(|(old, _)| *old);
        if old.as_ref() != Some(&(new, said.clone())) {
            let mut row = rows::write(&new)?;
            row.extend(rows::write(&said)?);
            self.revoked.insert(key.as_bytes(), row.as_slice())?;
            let ended = old_head.map(|old| old.listed().until());
            self.ends_move(Facet::Revoked, key, ended, Some(new.listed().until()))?;
        }
        if old_head != Some(new) {
            self.tell(&new.change(key))?;
        }
        Ok(())
    }

    /// Ends a revocation; taken uses stay.
    pub(crate) fn lift(&mut self, lift: &Lift) -> Result<bool, Fault> {
        let key = lift.key.digest();
        let Some(revoked) = self.end_revoked(key)? else {
            return Ok(false);
        };
        let after = UnixTime::from_secs(revoked.at.as_secs().saturating_add(1));
        let until = revoked.listed().until();
        self.keep_lift(key, lift.at.max(after), until)?;
        let at = lift.at.max(after);
        self.tell(&Change::Lifted { key, at, until })?;
        Ok(true)
    }

    /// Remembers the newer time, for the longer time.
    fn keep_lift(
        &mut self,
        key: KeyDigest,
        at: UnixTime,
        until: Option<UnixTime>,
    ) -> Result<(), Fault> {
        let old = self.lifted(key)?;
        let new = Lifted {
            at: old.map_or(at, |old| old.at.max(at)),
            until: old.map_or(until, |old| longer(old.until, until)),
        };
        let row = rows::write(&new)?;
        self.lifted.insert(key.as_bytes(), row.as_slice())?;
        self.ends_move(
            Facet::Lifted,
            key,
            old.map(|old| old.until),
            Some(new.until),
        )
    }

    fn end_revoked(&mut self, key: KeyDigest) -> Result<Option<Revoked>, Fault> {
        let old = self.revoked.remove(key.as_bytes())?;
        let Some(old) = old.map(|row| Revoked::read(row.value())).transpose()? else {
            return Ok(None);
        };
        self.ends_move(Facet::Revoked, key, Some(old.listed().until()), None)?;
        Ok(Some(old))
    }

    /// Takes back what somebody has seen here before.
    pub(crate) fn restore(&mut self, known: &Change) -> Result<(), Fault> {
        match *known {
            Change::Listed { key, listed, at } => {
                if (self.lifted(key)?).is_some_and(|lifted| at < lifted.at) {
                    return Ok(());
                }
                let listed = match listed {
                    Listed::Spent { until } => Listed::Revoked { until },
                    other => other,
                };
                self.list(key, listed, at, Said::default())
            }
            Change::Lifted { key, at, until } => {
                let is_newer = (self.lifted(key)?).is_none_or(|lifted| lifted.at < at);
                self.keep_lift(key, at, until)?;
                let ends_one = (self.revoked(key)?).is_some_and(|(revoked, _)| revoked.at < at);
                if is_newer && ends_one {
                    self.end_revoked(key)?;
                    self.tell(&Change::Lifted { key, at, until })?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
