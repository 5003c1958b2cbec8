//! Flaws in revocations, uses, lifts and purges.

use std::sync::Arc;

use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedTokenStore, KeyDigest, Lift, Listed,
    Records, Revocation, RevocationKey, Store, StoreError, UnixTime, Use, UseOutcome,
};

use super::super::flaws::Flaw;
use super::{BurnsWhenDropped, Flawed, fold, other_id};

impl Store for Flawed {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let mut taken = Vec::new();
        for said in revocations {
            taken.extend(self.bent(said, revocations.len() == 1).await);
        }
        if self.is(Flaw::TruncatesBatches) {
            taken.truncate(1_000);
        }
        let too_long = |said: &Revocation| said.reason().len() > 60_000;
        if self.is(Flaw::RejectsLongTexts) && taken.iter().any(too_long) {
            return Err(StoreError::Unavailable("value too long".into()));
        }
        *self.notes.grown.lock().unwrap() += taken.len() as u64;
        self.sound.revoke(&taken).await?;
        self.revoked(&taken);
        if self.is(Flaw::NumbersBeforeItCommits) {
            let keys: Vec<_> = taken.iter().map(|said| said.key().digest()).collect();
            self.notes.under_way.lock().unwrap().extend(&keys);
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            let mut under_way = self.notes.under_way.lock().unwrap();
            for key in keys {
                let at = under_way.iter().position(|other| *other == key);
                at.map(|at| under_way.swap_remove(at));
            }
        }
        Ok(())
    }

    async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
        let key = lift.key().digest();
        if self.is(Flaw::LiftsNoSpentRevocation)
            && self
                .stands(key)
                .await
                .is_some_and(|listed| listed.is_spent())
        {
            return Ok(false);
        }
        let lifted = self.sound.lift(lift).await?;
        if lifted && self.is(Flaw::LiftsWinTies) {
            self.notes
                .lifted
                .lock()
                .unwrap()
                .insert(key, lift.time().unwrap());
        }
        if lifted && self.is(Flaw::LiftsUsesToo) {
            let winners = self.notes.winners.lock().unwrap().remove(&key.as_token());
            for use_ in winners.unwrap_or_default() {
                self.sound.return_use(&use_).await?;
            }
        }
        Ok(lifted || self.is(Flaw::ReportsLiftsOfNothing))
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        if self.is(Flaw::AnswersWhileDown) && self.down() {
            return Ok(vec![None; keys.len()]);
        }
        if self.is(Flaw::NeverRecovers) && *self.notes.was_down.lock().unwrap() {
            return Err(StoreError::Unavailable("broken pipe".into()));
        }
        let folded: Vec<_> = keys
            .iter()
            .map(|key| match self.is(Flaw::FoldsCase) {
                true => KeyDigest::of_token(fold(key.as_token())),
                false => *key,
            })
            .collect();
        let mut listed = self.sound.look_up(&folded).await?;
        for (at, (key, listed)) in keys.iter().zip(&mut listed).enumerate() {
            match self.flaw {
                Flaw::AnswersAKeyOnce if keys[..at].contains(key) => *listed = None,
                Flaw::CachesUnlistedKeys if listed.is_none() => {
                    self.seen_free.lock().unwrap().insert(*key);
                }
                Flaw::CachesUnlistedKeys if self.seen_free.lock().unwrap().contains(key) => {
                    *listed = None;
                }
                Flaw::SpendsOnlySingleUses if self.limit_of(key) > Some(1) => {
                    listed.take_if(|listed| matches!(listed, Listed::Spent { .. }));
                }
                Flaw::PrefersUsesToRevocations
                    if matches!(listed, Some(Listed::Revoked { .. })) =>
                {
                    let uses = self.notes.winners.lock().unwrap();
                    let held = uses.get(&key.as_token()).map_or(0, Vec::len);
                    if held > 0 && self.limit_of(key) == u32::try_from(held).ok() {
                        let until = listed.and_then(|listed| listed.until());
                        *listed = Some(Listed::Spent { until });
                    }
                }
                _ => {}
            }
        }
        Ok(listed)
    }

    async fn take_use(&self, use_: &Use, now: UnixTime) -> Result<UseOutcome, StoreError> {
        let mut use_ = *use_;
        let key = KeyDigest::of_token(use_.token);
        let won = Ok(UseOutcome::Taken { left: 0 });
        let was_free = self.stands(key).await.is_none();
        let mut burns = BurnsWhenDropped(None);
        let first = *(self.notes.limits.lock().unwrap().entry(use_.token)).or_insert(use_);
        match self.flaw {
            Flaw::FoldsCase => use_.token = fold(use_.token),
            Flaw::ForgetsAfterADay => {
                let day = now.saturating_add(std::time::Duration::from_secs(5_400));
                use_.until = use_.until.or(Some(day));
            }
            Flaw::IgnoresAnotherLimit => use_.limit = first.limit,
            Flaw::TakesExpiredUses if use_.until.is_some_and(|until| until <= now) => return won,
            Flaw::TakesASecondUseOnDrop => {
                burns.0 = Some((Arc::clone(&self.server), use_));
                tokio::task::yield_now().await;
            }
            Flaw::CountsConcurrentRetries => {
                *self.notes.asked.lock().unwrap().entry(use_.id).or_default() += 1;
                tokio::task::yield_now().await;
                let times = self.notes.asked.lock().unwrap()[&use_.id];
                if times > 1 {
                    let mut other = use_;
                    other.id = other_id(use_.id, 0x77);
                    self.sound.take_use(&other, now).await?;
                }
            }
            Flaw::TakesLateUnderAnotherId if self.server.is_frozen() => {
                let mut late = use_;
                late.id = other_id(use_.id, 0x33);
                self.server.store().take_use(&late, now).await?;
            }
            Flaw::HangsWhileFrozen if self.server.is_frozen() => {
                return std::future::pending().await;
            }
            Flaw::CountsTimeInSignedNumbers => {
                use_.until = use_
                    .until
                    .map(|until| UnixTime::from_secs(until.as_secs() & i64::MAX as u64));
            }
            _ => {}
        }
        tokio::task::yield_now().await;
        let outcome = self.sound.take_use(&use_, now).await;
        burns.0 = None;
        if let (Flaw::SwapsConcurrentOutcomes, Ok(outcome)) = (self.flaw, &outcome) {
            self.notes.outcomes.lock().unwrap().push(*outcome);
            // Two concurrent calls get each other's answers.
            tokio::task::yield_now().await;
            let mut outcomes = self.notes.outcomes.lock().unwrap();
            return Ok(outcomes.pop().unwrap_or(*outcome));
        }
        if self.is(Flaw::CountsConcurrentRetries) {
            self.notes.asked.lock().unwrap().remove(&use_.id);
        }
        let mut winners = self.notes.winners.lock().unwrap();
        let of_token = winners.entry(use_.token).or_default();
        let asked_before = of_token.iter().any(|winner| winner.id == use_.id);
        if matches!(outcome, Ok(UseOutcome::Taken { .. })) && !asked_before {
            of_token.push(use_);
        }
        let limit = use_.limit.get();
        match (self.flaw, &outcome) {
            (Flaw::ChecksThenTakes, Ok(UseOutcome::Spent)) if was_free => won,
            (Flaw::LosesTheLastOfMany, Ok(UseOutcome::Taken { left: 0 })) if limit > 50 => {
                Ok(UseOutcome::Spent)
            }
            (Flaw::RejectsRepeatedUses, Ok(UseOutcome::Taken { .. })) if asked_before => {
                Ok(UseOutcome::Spent)
            }
            (Flaw::TakesPurgedUses, Err(StoreError::Expired))
                if use_.until.is_some_and(|until| until > now) =>
            {
                won
            }
            _ => outcome,
        }
    }

    async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
        let mut use_ = *use_;
        if self.is(Flaw::FoldsCase) {
            use_.token = fold(use_.token);
        }
        if self.is(Flaw::IgnoresReturns) {
            let mut winners = self.notes.winners.lock().unwrap();
            let of_token = winners.entry(use_.token).or_default();
            if let Some(at) = of_token.iter().position(|held| held.id == use_.id) {
                of_token.swap_remove(at);
                return Ok(true);
            }
        }
        let mut released = self.sound.return_use(&use_).await?;
        if !released && self.is(Flaw::ReturnsUsesOfOthers) {
            let winners = self.notes.winners.lock().unwrap().remove(&use_.token);
            for held in winners.unwrap_or_default() {
                released |= self.sound.return_use(&held).await?;
            }
        }
        let was_held = self.notes.winners.lock().unwrap().contains_key(&use_.token);
        Ok(released || self.is(Flaw::ReturnsTwice) && was_held)
    }

    async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
        *self.notes.is_purged.lock().unwrap() = true;
        let far = self
            .clock
            .now()
            .saturating_add(std::time::Duration::from_secs(1 << 30));
        let before = match self.flaw {
            Flaw::PurgesASecondEarly => UnixTime::from_secs(before.as_secs().saturating_add(1)),
            Flaw::PurgesNothing => UnixTime::EPOCH,
            _ => before,
        };
        if self.is(Flaw::PurgesUnboundedRules) && before > far {
            self.drop_key(&RevocationKey::subject("https://id.example.com", "1"))
                .await;
        }
        self.purged(before);
        self.sound.purge(before).await
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

impl ChangeFeed for Flawed {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move { self.pages(since).await })
    }

    fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(async move {
            // Their cursors are not those of the correct server.
            let has_own_cursors = matches!(
                self.flaw,
                Flaw::TiesACursorToItsHandle | Flaw::ForgetsItsFeedOnRestart
            );
            let end = self.sound.end().await?.filter(|_| !has_own_cursors);
            self.notes.end.lock().unwrap().clone_from(&end);
            Ok(end)
        })
    }

    fn listed<'a>(
        &'a self,
        after: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            let mut page = self.sound.listed(after).await?;
            let end = self.notes.end.lock().unwrap().clone();
            let followed = self.sound.changes(end.as_ref()).await;
            match (self.flaw, followed) {
                (Flaw::ChecksTheFeedDuringALoad, Err(error)) => return Err(error),
                (Flaw::EndsWhatIsListedAfterATrim, Err(_)) => page.more = false,
                _ => {}
            }
            Ok(page)
        })
    }

    fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
        Box::pin(async move {
            match self.flaw {
                Flaw::WakesWithoutAChange => None,
                Flaw::NeverWakes => std::future::pending().await,
                Flaw::TiesACursorToItsHandle | Flaw::ForgetsItsFeedOnRestart => {
                    self.sound
                        .changed(&Cursor::new(&since.as_bytes()[8..]))
                        .await;
                    None
                }
                Flaw::HandsOverAnotherHistory => match self.sound.changes(Some(since)).await {
                    Err(StoreError::HistoryWentBack) => self.sound.changes(None).await.ok(),
                    _ => self.sound.changed(since).await,
                },
                Flaw::SkipsAChangeThatItHandsOver => {
                    let mut news = self.sound.changed(since).await;
                    if let Some(news) = &mut news {
                        news.changes.remove(0);
                    }
                    news
                }
                _ => self.sound.changed(since).await,
            }
        })
    }

    fn restore<'a>(&'a self, known: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            for change in known {
                self.write_back(change).await?;
            }
            self.sound.restore(&[]).await
        })
    }
}
