use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tower_revoke_core::{
    KeyDigest, Lift, Listed, Revocation, Store, StoreError, TokenId, UnixTime, Use, UseId,
    UseOutcome, retention,
};

#[derive(Clone, Default)]
struct MinimalStore(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    revoked: HashMap<KeyDigest, Listed>,
    uses: HashMap<TokenId, Uses>,
    purged_before: Option<UnixTime>,
}

struct Uses {
    limit: NonZeroU32,
    until: Option<UnixTime>,
    taken: HashSet<UseId>,
}

impl MinimalStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MinimalStore {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for revocation in revocations {
            let new = Listed::from(revocation);
            let kept = tables
                .revoked
                .entry(revocation.key().digest())
                .or_insert(new);
            *kept = kept.longer(new);
        }
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        Ok(self.tables().revoked.remove(&lift.key().digest()).is_some())
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let tables = self.tables();
        let spent = |key: &KeyDigest| {
            let uses = tables.uses.get(&key.as_token())?;
            let Uses { limit, until, .. } = *uses;
            (uses.taken.len() == limit.get() as usize).then_some(Listed::Spent { until })
        };
        let listed = |key: &KeyDigest| match (tables.revoked.get(key), spent(key)) {
            (Some(revoked), Some(spent)) => Some(revoked.longer(spent)),
            (revoked, spent) => revoked.copied().or(spent),
        };
        Ok(keys.iter().map(listed).collect())
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let mut tables = self.tables();
        // The clock may have been set back since the last purge. A purged use must not be taken a
        // second time.
        let is_forgotten = use_
            .until
            .is_some_and(|until| Some(until) < tables.purged_before);
        if is_forgotten || retention::has_ended(use_.until, now) {
            return Err(StoreError::Expired);
        }
        let uses = tables.uses.entry(use_.token).or_insert_with(|| Uses {
            limit: use_.limit,
            until: use_.until,
            taken: HashSet::new(),
        });
        let (stored, asked) = (uses.limit.get(), use_.limit.get());
        if stored != asked {
            return Err(StoreError::LimitMismatch { stored, asked });
        }
        let left = stored - uses.taken.len() as u32;
        if uses.taken.contains(&use_.id) {
            return Ok(UseOutcome::Taken { left });
        }
        if left == 0 {
            return Ok(UseOutcome::Spent);
        }
        uses.taken.insert(use_.id);
        Ok(UseOutcome::Taken { left: left - 1 })
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let uses = tables.uses.get_mut(&use_.token);
        Ok(uses.is_some_and(|uses| uses.taken.remove(&use_.id)))
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let ended = tables
            .revoked
            .extract_if(|_, listed| retention::ended_before(listed.until(), before))
            .count();
        let unused = tables.uses.extract_if(|_, uses| retention::ended_before(uses.until, before));
        let taken: usize = unused.map(|(_, uses)| uses.taken.len().max(1)).sum();
        tables.purged_before = tables.purged_before.max(Some(before));
        Ok((ended + taken) as u64)
    }
}
