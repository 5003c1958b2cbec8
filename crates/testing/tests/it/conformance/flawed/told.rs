//! Flaws in the feed, in write-backs and in records.

use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, KeyDigest, Lift, LiftRecord, Listed,
    RecordFilter, RecordPage, Records, Revocation, Store, StoreError, UnixTime,
};

use super::super::{
    flaws::Flaw,
    server::{PAGE, in_load},
};
use super::Flawed;

impl Flawed {
    pub(super) async fn pages(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let mut inner = None;
        match (self.flaw, since) {
            (Flaw::PanicsOnAForeignCursor, Some(cursor)) => {
                assert!(cursor.as_bytes().len() == 17, "index out of bounds");
            }
            (Flaw::TiesACursorToItsHandle, Some(cursor)) => {
                let (number, rest) = cursor
                    .as_bytes()
                    .split_first_chunk()
                    .ok_or(StoreError::ForeignCursor)?;
                if u64::from_be_bytes(*number) != self.number {
                    return Err(StoreError::ForeignCursor);
                }
                inner = Some(Cursor::new(rest));
            }
            (Flaw::ForgetsItsFeedOnRestart, Some(cursor)) => {
                let (boot, rest) = cursor
                    .as_bytes()
                    .split_first_chunk()
                    .ok_or(StoreError::ForeignCursor)?;
                let (boot, now) = (u64::from_be_bytes(*boot), *self.notes.boot.lock().unwrap());
                if boot > now {
                    return Err(StoreError::ForeignCursor);
                }
                inner = match boot == now {
                    true => Some(Cursor::new(rest)),
                    false => Some(self.end_of_feed().await?),
                };
            }
            _ => {}
        }
        let since = inner.as_ref().or(since);
        let mut page = match (self.flaw, self.sound.changes(since).await) {
            (Flaw::RestartsOnAForeignCursor, Err(StoreError::ForeignCursor)) => {
                self.sound.changes(None).await?
            }
            (Flaw::ContinuesAfterATrim, Err(StoreError::CursorTooOld)) => {
                self.nothing_new().await?
            }
            (Flaw::ContinuesAfterASetBack, Err(StoreError::HistoryWentBack)) => {
                self.nothing_new().await?
            }
            (Flaw::MissesARegrownHistory, Err(StoreError::HistoryWentBack))
                if *self.notes.grown.lock().unwrap() > 10 =>
            {
                self.nothing_new().await?
            }
            (_, page) => page?,
        };
        let load = since.and_then(in_load);
        match self.flaw {
            Flaw::SkipsOneBetweenPagesOfALoad if load.is_some() => drop(page.changes.remove(0)),
            Flaw::SkipsOneBetweenPages if load.is_none() && since.is_some() && page.more => {
                page.changes.pop();
            }
            Flaw::EndsALoadWithItsLastPage if load.is_some() && in_load(&page.next).is_none() => {
                page.more = false;
            }
            Flaw::TakesTheCursorAfterTheLoad if load.is_some() && in_load(&page.next).is_none() => {
                page.next = self.end_of_feed().await?;
            }
            Flaw::LagsByOneCall if load.is_none() && !page.changes.is_empty() => {
                // Like a reader of a lagging replica.
                let mut is_late = self.notes.is_late.lock().unwrap();
                *is_late = !*is_late;
                if let (true, Some(since)) = (*is_late, since) {
                    page.changes.clear();
                    page.next = since.clone();
                    page.more = false;
                }
            }
            Flaw::NumbersBeforeItCommits => {
                let under_way = self.notes.under_way.lock().unwrap();
                page.changes
                    .retain(|change| !under_way.contains(change.key()));
            }
            Flaw::OmitsReturnedUses => {
                page.changes
                    .retain(|change| !matches!(change, Change::Returned { .. }));
            }
            Flaw::TellsUsesAsARevocation => {
                for change in &mut page.changes {
                    if let Change::UsedUp { key, until } = *change {
                        *change = Change::Listed {
                            key,
                            listed: Listed::Spent { until },
                            at: UnixTime::EPOCH,
                        };
                    }
                }
            }
            Flaw::ChangesTheTimeOfLifts => {
                for change in &mut page.changes {
                    if let Change::Lifted { at, .. } = change {
                        *at = UnixTime::from_secs(at.as_secs() - 1);
                    }
                }
            }
            Flaw::TiesACursorToItsHandle => {
                page.next =
                    Cursor::new([&self.number.to_be_bytes()[..], page.next.as_bytes()].concat());
            }
            Flaw::ForgetsItsFeedOnRestart => {
                let boot = *self.notes.boot.lock().unwrap();
                page.next = Cursor::new([&boot.to_be_bytes()[..], page.next.as_bytes()].concat());
            }
            Flaw::AlwaysReportsMore => page.more |= *self.notes.grown.lock().unwrap() > 5_000,
            _ => {}
        }
        debug_assert!(page.changes.len() <= PAGE);
        Ok(page)
    }

    pub(super) async fn write_back(&self, change: &Change) -> Result<(), StoreError> {
        let key = *change.key();
        let stands = self.stands(key).await;
        let is_purged = *self.notes.is_purged.lock().unwrap();
        let said = match *change {
            Change::Listed {
                listed: Listed::Revoked { until },
                at,
                ..
            } => Some(
                Revocation::of_token(key.as_token(), None)
                    .retained(until)
                    .at(at),
            ),
            _ => None,
        };
        match (self.flaw, change, said) {
            (Flaw::RestoresNoUses, Change::UsedUp { .. }, _) => Ok(()),
            (Flaw::OverwritesOnRestore, _, Some(said)) if stands.is_some() => {
                self.drop_key(&key.as_token().into()).await;
                self.sound.revoke(&[said]).await
            }
            (Flaw::RestoresLiftedRevocations, _, Some(said)) => self.sound.revoke(&[said]).await,
            (Flaw::PurgesLifts, _, Some(said)) if is_purged => self.sound.revoke(&[said]).await,
            (Flaw::AddsDetailsToRestoredChanges, _, Some(said)) if stands.is_none() => {
                self.sound.restore(&[*change]).await?;
                if self.stands(key).await.is_some() {
                    self.sound.revoke(&[said.by("restored")]).await?;
                }
                Ok(())
            }
            (Flaw::RestoresLiftsWithoutTheirTime, Change::Lifted { at, .. }, _) => {
                let lift = Lift::new(key.as_token()).at(*at);
                self.sound.lift(&lift).await.map(drop)
            }
            (Flaw::ForgetsRestoredLiftsEarly, Change::Lifted { until, .. }, _) => {
                if stands.is_some_and(|listed| listed.until() > *until) {
                    (self.notes.lifted.lock().unwrap()).insert(key, UnixTime::EPOCH);
                }
                self.sound.restore(&[*change]).await
            }
            (Flaw::ForgetsRestoredLiftsEarly, _, Some(said)) if is_purged => {
                let is_forgotten = self.notes.lifted.lock().unwrap().contains_key(&key);
                match is_forgotten {
                    true => self.sound.revoke(&[said]).await,
                    false => self.sound.restore(&[*change]).await,
                }
            }
            (Flaw::RestoresNoLiftsOfUnlistedKeys, Change::Lifted { .. }, _) if stands.is_none() => {
                Ok(())
            }
            _ => self.sound.restore(&[*change]).await,
        }
    }

    async fn end_of_feed(&self) -> Result<Cursor, StoreError> {
        let mut page = self.sound.changes(None).await?;
        while page.more {
            page = self.sound.changes(Some(&page.next)).await?;
        }
        Ok(page.next)
    }

    async fn nothing_new(&self) -> Result<Changes, StoreError> {
        Ok(Changes {
            changes: Vec::new(),
            next: self.end_of_feed().await?,
            more: false,
        })
    }
}

impl Records for Flawed {
    fn page<'a>(
        &'a self,
        wanted: &'a RecordFilter,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordPage, StoreError>> {
        Box::pin(async move {
            if self.is(Flaw::AcceptsAForeignCursorOfRecords) {
                let own = after.filter(|cursor| cursor.as_bytes().len() == 16);
                return self.sound.page(wanted, own, at_most).await;
            }
            if self.is(Flaw::MatchesReasonsInAnyCase)
                && let Some(reason) = wanted.only_reason()
            {
                let lower = RecordFilter::all().because(reason.to_lowercase());
                let mut page = self.sound.page(wanted, after, at_most).await?;
                if page.records.is_empty() && wanted.only_key().is_none() {
                    page = self.sound.page(&lower, after, at_most).await?;
                }
                return Ok(page);
            }
            let mut page = self.sound.page(wanted, after, at_most).await?;
            match self.flaw {
                Flaw::SkipsARecordBetweenPages if after.is_some() && page.next.is_some() => {
                    page.records.pop();
                }
                _ => {}
            }
            Ok(page)
        })
    }

    fn last_lift<'a>(
        &'a self,
        key: &'a KeyDigest,
    ) -> BoxFuture<'a, Result<Option<LiftRecord>, StoreError>> {
        Box::pin(async move {
            let mut lift = self.sound.last_lift(key).await?;
            if self.is(Flaw::ForgetsTheAuthorOfLifts) {
                lift.iter_mut().for_each(|lift| lift.by.clear());
            }
            Ok(lift)
        })
    }
}
