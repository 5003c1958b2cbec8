//! The store: the traits of core as requests to the servers.

use std::{fmt, sync::Arc};

use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, Value, cmd};
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore,
    KeyDigest, Lift, LiftRecord, Listed, RecordFilter, RecordPage, Records, Revocation, Store,
    StoreError, TokenHash, UnixTime, Use, UseOutcome, internal::merge, retention,
};

use crate::{
    client::Request,
    cursor::Position,
    error::{Failure, RedisStoreError, malformed},
    inner::Inner,
    scripts::SCRIPTS,
    value::{bytes, list, number},
    wire::{self, Update},
};

/// The revocations in one script, which blocks the server for some milliseconds.
const REVOKED_AT_ONCE: usize = 512;

/// The entries of each kind that one script purges.
const PURGED_AT_ONCE: usize = 512;

/// A [`Store`] in Redis: one server, a primary that Sentinel watches, or a cluster.
///
/// Clones share connections. The [documentation of the crate](crate) states its guarantees.
#[derive(Clone)]
pub struct RedisStore(pub(crate) Arc<Inner>);

impl Store for RedisStore {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let updates = revocations.iter().map(Update::revoke);
        self.0.write(updates).await
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let inner = &self.0;
        let update = Update::lift(lift);
        let tag = inner.tag(&update.key);
        let request = Request::write(inner.updates(tag, &[update])).once();
        let answer = inner.client.ask(tag, &request).await;
        let answer = inner.or_error(answer).await?;
        Ok(list(&answer).first().and_then(number) == Some(1))
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.0.look_up(keys).await
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let inner = &self.0;
        if retention::has_ended(use_.until, now) {
            return Err(StoreError::Expired);
        }
        let tag = inner.tag(&KeyDigest::of_token(use_.token));
        Inner::take_use(inner, tag, use_).await
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let inner = &self.0;
        let tag = inner.tag(&KeyDigest::of_token(use_.token));
        let mut call = SCRIPTS.return_use.on(&inner.keys[tag].all());
        inner
            .stamped(&mut call, inner.trims(1))
            .arg(&use_.token.as_bytes()[..])
            .arg(&use_.id.as_bytes()[..]);
        let request = Request::write(call).once();
        let answer = inner.client.ask(tag, &request).await;
        Ok(number(&inner.or_error(answer).await?) == Some(1))
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        let inner = &self.0;
        let mut dropped = 0;
        for tag in 0..inner.keys.len() {
            loop {
                let purged = inner.or_error(inner.purge(tag, before).await).await?;
                dropped += purged.0;
                if !purged.1 {
                    break;
                }
            }
        }
        Ok(dropped)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        Some(self)
    }
}

impl ChangeFeed for RedisStore {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(self.0.changes(since))
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move { self.0.end().await.map(Some) })
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(self.0.listed(after))
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            let inner = &self.0;
            match Position::decode(since, &inner.id, inner.keys.len()) {
                Ok(Position::Feed(seen)) => inner.news(&seen).await,
                // A load has more at once.
                Ok(Position::Load(..)) => None,
                _ => std::future::pending().await,
            }
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let updates = known.iter().filter_map(Update::restore);
            self.0.write(updates).await
        })
    }
}

impl Records for RedisStore {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(self.0.records(wanted, after, at_most.max(1)))
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        Box::pin(self.0.last_lift(key))
    }
}

impl IssuedTokenStore for RedisStore {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.0.issue(token))
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        Box::pin(async move {
            let found = self.0.issued(&[*hash]).await?;
            Ok(found.into_iter().next().flatten())
        })
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        Box::pin(self.0.issued_to(holder, after, at_most.max(1)))
    }
}

impl Inner {
    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        let mut by_tag = vec![Vec::new(); self.keys.len()];
        for (at, key) in keys.iter().enumerate() {
            by_tag[self.tag(key)].push((at, key));
        }
        let asked = by_tag
            .iter()
            .enumerate()
            .filter(|(_, wanted)| !wanted.is_empty());
        let asked = asked.map(|(tag, wanted)| async move {
            let get = |hash: &str| {
                let mut get = cmd("HMGET");
                get.arg(hash);
                for (_, key) in wanted {
                    get.arg(&key.as_bytes()[..]);
                }
                get
            };
            let of = &self.keys[tag];
            let guard = SCRIPTS.takes_writes.on(&[&of.meta]);
            let answers = self
                .client
                .each(tag, [get(&of.listed), get(&of.uses), guard]);
            Ok::<_, Failure>((wanted, answers.await?))
        });
        let mut found = vec![None; keys.len()];
        for (wanted, answers) in self.or_error(try_join_all(asked).await).await? {
            let [listed, uses, _] = answers.as_slice() else {
                return Err(malformed());
            };
            let (listed, uses) = (list(listed), list(uses));
            if listed.len() != wanted.len() || uses.len() != wanted.len() {
                return Err(malformed());
            }
            for ((at, _), values) in wanted.iter().zip(listed.iter().zip(uses)) {
                found[*at] = what_is_listed(values).ok_or_else(malformed)?;
            }
        }
        Ok(found)
    }

    /// Writes updates: those of different tags concurrently, those of one tag in order.
    async fn write(&self, updates: impl Iterator<Item = Update>) -> Result<(), StoreError> {
        let mut by_tag: Vec<Vec<Update>> = self.keys.iter().map(|_| Vec::new()).collect();
        for update in updates {
            by_tag[self.tag(&update.key)].push(update);
        }
        let written = by_tag.iter().enumerate().map(|(tag, updates)| async move {
            for updates in updates.chunks(REVOKED_AT_ONCE) {
                let request = Request::write(self.updates(tag, updates));
                self.client.ask(tag, &request).await?;
            }
            Ok::<_, Failure>(())
        });
        // One tag that fails must not keep the others from being written.
        for written in join_all(written).await {
            self.or_error(written).await?;
        }
        Ok(())
    }

    fn updates(&self, tag: usize, updates: &[Update]) -> Cmd {
        let mut call = SCRIPTS.revoke.on(&self.keys[tag].all());
        self.stamped(&mut call, self.trims(updates.len()));
        for update in updates {
            call.arg(&update.command).arg(&update.details);
        }
        call
    }

    /// Returns how many entries were removed, and whether there are more.
    async fn purge(&self, tag: usize, before: UnixTime) -> Result<(u64, bool), Failure> {
        let of = &self.keys[tag];
        let keys: Vec<_> = of.all().into_iter().chain(of.of_issued()).collect();
        let mut call = SCRIPTS.purge.on(&keys);
        call.arg(&self.keep)
            .arg(&wire::time(before)[..])
            .arg(PURGED_AT_ONCE);
        let answer = self.client.ask(tag, &Request::read(call)).await?;
        match list(&answer) {
            [dropped, more] => Ok((number(dropped).unwrap_or(0), number(more) == Some(1))),
            _ => Err(RedisStoreError::Malformed("the answer to a purge").into()),
        }
    }
}

/// `None` if the values can't be read.
fn what_is_listed((listed, uses): (&Value, &Value)) -> Option<Option<Listed>> {
    let (listed, uses) = (bytes(listed), bytes(uses));
    let revoked = match listed.is_empty() {
        true => None,
        false => Some(wire::listed(listed)?.0),
    };
    let used_up = match uses.is_empty() {
        true => None,
        false => wire::spent(uses)?,
    };
    Some(merge::listed(revoked, used_up))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("topology", self.0.client.servers.topology())
            .finish_non_exhaustive()
    }
}
