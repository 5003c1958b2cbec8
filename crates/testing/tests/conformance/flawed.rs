//! Stores with one fault each: the sound server of `server.rs`, but for that.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use tower_revoke_core::{
    BoxFuture, Change, Changes, Claim, ClaimId, ClaimOutcome, Clock, Cursor, KeyDigest, Lift,
    Listed, Records, RecordsPage, Revocation, RevocationKey, Store, StoreError, TokenId, UnixTime,
    Wanted,
};

use crate::{
    flaws::Flaw,
    server::{Handle, PAGE, Server, in_load},
};

/// What all handles to one server remember besides its data, so that they can err together.
#[derive(Default)]
pub(crate) struct Notes {
    /// The limit with which a token was first claimed, and who was told that he won.
    limits: Mutex<HashMap<TokenId, Claim>>,
    winners: Mutex<HashMap<TokenId, Vec<Claim>>>,
    /// What is being written at the moment.
    under_way: Mutex<Vec<KeyDigest>>,
    asked: Mutex<HashMap<ClaimId, u32>>,
    lifted: Mutex<HashMap<KeyDigest, UnixTime>>,
    last: Mutex<HashMap<KeyDigest, Revocation>>,
    pub(crate) is_purged: Mutex<bool>,
    pub(crate) boot: Mutex<u64>,
    pub(crate) was_down: Mutex<bool>,
    pub(crate) grown: Mutex<u64>,
}

pub(crate) struct Flawed {
    pub(crate) sound: Handle,
    pub(crate) server: Arc<Server>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) flaw: Flaw,
    pub(crate) clock: Clock,
    pub(crate) number: u64,
    /// Keys that this handle has once seen unlisted.
    pub(crate) seen_free: Mutex<HashSet<KeyDigest>>,
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Ends what stands under a key, without asking anybody.
    async fn drop_key(&self, key: &RevocationKey) {
        let lift = Lift {
            key: key.clone(),
            at: UnixTime::EPOCH,
            by: String::new(),
            reason: String::new(),
        };
        let _ = self.server.store().lift(&lift).await;
    }

    async fn stands(&self, key: KeyDigest) -> Option<Listed> {
        self.server.store().look_up(&[key]).await.unwrap()[0]
    }

    /// The revocation as a flawed store takes it; `None` if it doesn't.
    async fn bent(&self, said: &Revocation, alone: bool) -> Option<Revocation> {
        let key = said.key();
        let digest = key.digest();
        let stands = self.stands(digest).await;
        let until = said.remembered_until();
        match (self.flaw, stands) {
            (Flaw::ShortensTokens, Some(Listed::Revoked { .. })) if alone => {
                self.drop_key(key).await;
            }
            (Flaw::ShortensRules, Some(Listed::Rule { .. })) => self.drop_key(key).await,
            (Flaw::TogglesARevocation, Some(Listed::Revoked { .. })) => {
                let last = (self.notes.last.lock().unwrap()).insert(digest, said.clone());
                if last.as_ref() == Some(said) {
                    self.drop_key(key).await;
                    return None;
                }
            }
            (Flaw::TogglesARevocation, _) => {
                self.notes.last.lock().unwrap().insert(digest, said.clone());
            }
            (Flaw::LiftsWinTies, _) => {
                let lifted = self.notes.lifted.lock().unwrap().get(&digest).copied();
                if lifted.is_some_and(|lifted| said.said_at() <= Some(lifted)) {
                    return None;
                }
            }
            (Flaw::CutsWordsAtNul, _) => {
                let cut = |word: &str| word.split('\0').next().unwrap_or_default().to_owned();
                let (by, reason) = (cut(said.said_by()), cut(said.reason()));
                return Some(said.clone().by(by).because(reason));
            }
            (Flaw::ForgetsWho, _) => return Some(said.clone().by("")),
            (Flaw::CountsTimeInSignedNumbers, _) => {
                if let Some(until) = until.filter(|until| until.as_secs() > i64::MAX as u64) {
                    let wrapped = UnixTime::from_secs(until.as_secs() & i64::MAX as u64);
                    return Some(said.clone().until(wrapped));
                }
            }
            (Flaw::FoldsCase, _) => {
                if let RevocationKey::Token(token) = key
                    && fold(*token) != *token
                {
                    return Some(Revocation::of_token(fold(*token), until));
                }
            }
            _ => {}
        }
        Some(said.clone())
    }

    /// With which limit the token was first claimed.
    fn limit_of(&self, key: &KeyDigest) -> Option<u32> {
        let limits = self.notes.limits.lock().unwrap();
        Some(limits.get(&key.as_token())?.limit.get())
    }

    fn down(&self) -> bool {
        !self.server.is_up()
    }
}

/// As a column without a binary collation compares.
fn fold(token: TokenId) -> TokenId {
    let bytes = *token.as_bytes();
    match bytes.iter().all(u8::is_ascii_alphabetic) {
        true => TokenId::from_bytes(bytes.map(|byte| byte.to_ascii_lowercase())),
        false => token,
    }
}

fn other_id(id: ClaimId, by: u8) -> ClaimId {
    let mut bytes = *id.as_bytes();
    bytes[0] ^= by;
    ClaimId::from_bytes(bytes)
}

/// Takes a use when it is dropped before its time.
struct BurnsWhenDropped(Option<(Arc<Server>, Claim)>);

impl Drop for BurnsWhenDropped {
    fn drop(&mut self) {
        if let Some((server, claim)) = self.0.take() {
            let id = other_id(claim.id, 0x55);
            let burnt = Claim { id, ..claim };
            let store = server.store();
            // The memory store answers at once.
            let _ = futures_util::FutureExt::now_or_never(store.claim(&burnt));
        }
    }
}

impl Store for Flawed {
    async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
        let mut taken = Vec::new();
        for said in revocations {
            taken.extend(self.bent(said, revocations.len() == 1).await);
        }
        if self.is(Flaw::TakesAThousandOfABatch) {
            taken.truncate(1_000);
        }
        let too_long = |said: &Revocation| said.reason().len() > 60_000;
        if self.is(Flaw::RefusesLongWords) && taken.iter().any(too_long) {
            return Err(StoreError::Unavailable("value too long".into()));
        }
        *self.notes.grown.lock().unwrap() += taken.len() as u64;
        self.sound.revoke(&taken).await?;
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
        let key = lift.key.digest();
        let lifted = self.sound.lift(lift).await?;
        if lifted && self.is(Flaw::LiftsWinTies) {
            self.notes.lifted.lock().unwrap().insert(key, lift.at);
        }
        if lifted && self.is(Flaw::LiftsUsesToo) {
            let winners = self.notes.winners.lock().unwrap().remove(&key.as_token());
            for claim in winners.unwrap_or_default() {
                self.sound.release(&claim).await?;
            }
        }
        Ok(lifted || self.is(Flaw::LiftsWhatIsNot))
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        if self.is(Flaw::IsOpenWhileDown) && self.down() {
            return Ok(vec![None; keys.len()]);
        }
        if self.is(Flaw::NeverComesBack) && *self.notes.was_down.lock().unwrap() {
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
                Flaw::RemembersWhatWasFree if listed.is_none() => {
                    self.seen_free.lock().unwrap().insert(*key);
                }
                Flaw::RemembersWhatWasFree if self.seen_free.lock().unwrap().contains(key) => {
                    *listed = None;
                }
                Flaw::CountsOneUseOnly if self.limit_of(key) > Some(1) => {
                    listed.take_if(|listed| matches!(listed, Listed::Spent { .. }));
                }
                Flaw::ShowsUsesFirst if matches!(listed, Some(Listed::Revoked { .. })) => {
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

    async fn claim(&self, claim: &Claim) -> Result<ClaimOutcome, StoreError> {
        let mut claim = *claim;
        let key = KeyDigest::of_token(claim.token);
        let won = Ok(ClaimOutcome::Won { left: 0 });
        let now = self.clock.now();
        let was_free = self.stands(key).await.is_none();
        let mut burns = BurnsWhenDropped(None);
        let first = *(self.notes.limits.lock().unwrap().entry(claim.token)).or_insert(claim);
        match self.flaw {
            Flaw::FoldsCase => claim.token = fold(claim.token),
            Flaw::ForgetsAfterADay => {
                let day = now.saturating_add(std::time::Duration::from_secs(5_400));
                claim.until = claim.until.or(Some(day));
            }
            Flaw::TakesAnyLimit => claim.limit = first.limit,
            Flaw::WinsOnAPastLife if claim.until.is_some_and(|until| until <= now) => return won,
            Flaw::BurnsADroppedUse => {
                burns.0 = Some((Arc::clone(&self.server), claim));
                tokio::task::yield_now().await;
            }
            Flaw::TakesAUseForEachAsking => {
                *self
                    .notes
                    .asked
                    .lock()
                    .unwrap()
                    .entry(claim.id)
                    .or_default() += 1;
                tokio::task::yield_now().await;
                let times = self.notes.asked.lock().unwrap()[&claim.id];
                if times > 1 {
                    let id = other_id(claim.id, 0x77);
                    self.sound.claim(&Claim { id, ..claim }).await?;
                }
            }
            Flaw::ClaimsLateUnderAnotherId if self.server.is_frozen() => {
                let id = other_id(claim.id, 0x33);
                let late = Claim { id, ..claim };
                self.server.store().claim(&late).await?;
            }
            Flaw::AnswersNoClaimWhileFrozen if self.server.is_frozen() => {
                return std::future::pending().await;
            }
            Flaw::CountsTimeInSignedNumbers => {
                claim.until = claim
                    .until
                    .map(|until| UnixTime::from_secs(until.as_secs() & i64::MAX as u64));
            }
            _ => {}
        }
        tokio::task::yield_now().await;
        let outcome = self.sound.claim(&claim).await;
        burns.0 = None;
        if self.is(Flaw::TakesAUseForEachAsking) {
            self.notes.asked.lock().unwrap().remove(&claim.id);
        }
        let mut winners = self.notes.winners.lock().unwrap();
        let of_token = winners.entry(claim.token).or_default();
        let asked_before = of_token.iter().any(|winner| winner.id == claim.id);
        if matches!(outcome, Ok(ClaimOutcome::Won { .. })) && !asked_before {
            of_token.push(claim);
        }
        let limit = claim.limit.get();
        match (self.flaw, &outcome) {
            (Flaw::ChecksThenClaims, Ok(ClaimOutcome::Spent)) if was_free => won,
            (Flaw::LosesTheLastOfMany, Ok(ClaimOutcome::Won { left: 0 })) if limit > 50 => {
                Ok(ClaimOutcome::Spent)
            }
            (Flaw::RefusesWhoAsksAgain, Ok(ClaimOutcome::Won { .. })) if asked_before => {
                Ok(ClaimOutcome::Spent)
            }
            (Flaw::WinsWhatWasPurged, Err(StoreError::LifeIsPast))
                if claim.until.is_some_and(|until| until > now) =>
            {
                won
            }
            _ => outcome,
        }
    }

    async fn release(&self, claim: &Claim) -> Result<bool, StoreError> {
        let mut claim = *claim;
        if self.is(Flaw::FoldsCase) {
            claim.token = fold(claim.token);
        }
        if self.is(Flaw::KeepsWhatIsGivenBack) {
            let mut winners = self.notes.winners.lock().unwrap();
            let of_token = winners.entry(claim.token).or_default();
            if let Some(at) = of_token.iter().position(|held| held.id == claim.id) {
                of_token.swap_remove(at);
                return Ok(true);
            }
        }
        let mut released = self.sound.release(&claim).await?;
        if !released && self.is(Flaw::GivesBackAnothersUse) {
            let winners = self.notes.winners.lock().unwrap().remove(&claim.token);
            for held in winners.unwrap_or_default() {
                released |= self.sound.release(&held).await?;
            }
        }
        let was_held = self
            .notes
            .winners
            .lock()
            .unwrap()
            .contains_key(&claim.token);
        Ok(released || self.is(Flaw::GivesBackTwice) && was_held)
    }

    async fn changes(&self, since: Option<&Cursor>) -> Result<Changes, StoreError> {
        let mut inner = None;
        match (self.flaw, since) {
            (Flaw::PanicsOnAForeignCursor, Some(cursor)) => {
                assert!(cursor.0.len() == 17, "index out of bounds");
            }
            (Flaw::TiesACursorToItsHandle, Some(cursor)) => {
                let (number, rest) = cursor
                    .0
                    .split_first_chunk()
                    .ok_or(StoreError::ForeignCursor)?;
                if u64::from_be_bytes(*number) != self.number {
                    return Err(StoreError::ForeignCursor);
                }
                inner = Some(Cursor(rest.to_vec()));
            }
            (Flaw::ForgetsItsFeedOnRestart, Some(cursor)) => {
                let (boot, rest) = cursor
                    .0
                    .split_first_chunk()
                    .ok_or(StoreError::ForeignCursor)?;
                let (boot, now) = (u64::from_be_bytes(*boot), *self.notes.boot.lock().unwrap());
                if boot > now {
                    return Err(StoreError::ForeignCursor);
                }
                inner = match boot == now {
                    true => Some(Cursor(rest.to_vec())),
                    false => Some(self.end_of_feed().await?),
                };
            }
            _ => {}
        }
        let since = inner.as_ref().or(since);
        let mut page = match (self.flaw, self.sound.changes(since).await) {
            (Flaw::TakesAForeignCursorForNone, Err(StoreError::ForeignCursor)) => {
                self.sound.changes(None).await?
            }
            (Flaw::GoesOnAfterATrim, Err(StoreError::CursorTooOld)) => self.nothing_new().await?,
            (Flaw::GoesOnAfterASetBack, Err(StoreError::HistoryWentBack)) => {
                self.nothing_new().await?
            }
            (Flaw::NoticesNoGrownHistory, Err(StoreError::HistoryWentBack))
                if *self.notes.grown.lock().unwrap() > 10 =>
            {
                self.nothing_new().await?
            }
            (_, page) => page?,
        };
        let load = since.and_then(in_load);
        match self.flaw {
            Flaw::SkipsOneAtABorderOfALoad if load.is_some() => drop(page.changes.remove(0)),
            Flaw::SkipsOneAtABorder if load.is_none() && since.is_some() && page.more => {
                page.changes.pop();
            }
            Flaw::NotesTheFeedAfterTheLoad if load.is_some() && !page.more => {
                page.next = self.end_of_feed().await?;
            }
            Flaw::NumbersBeforeItCommits => {
                let under_way = self.notes.under_way.lock().unwrap();
                page.changes
                    .retain(|change| !under_way.contains(change.key()));
            }
            Flaw::TellsOfNoUseGivenBack => {
                page.changes
                    .retain(|change| !matches!(change, Change::Freed { .. }));
            }
            Flaw::TellsLiftsInTheirOwnTime => {
                for change in &mut page.changes {
                    if let Change::Lifted { at, .. } = change {
                        *at = UnixTime::from_secs(at.as_secs() - 1);
                    }
                }
            }
            Flaw::TiesACursorToItsHandle => {
                page.next = Cursor([&self.number.to_be_bytes()[..], &page.next.0].concat());
            }
            Flaw::ForgetsItsFeedOnRestart => {
                let boot = *self.notes.boot.lock().unwrap();
                page.next = Cursor([&boot.to_be_bytes()[..], &page.next.0].concat());
            }
            Flaw::SaysMoreForEver => page.more |= *self.notes.grown.lock().unwrap() > 5_000,
            _ => {}
        }
        debug_assert!(page.changes.len() <= PAGE);
        Ok(page)
    }

    async fn changed(&self, since: &Cursor) {
        match self.flaw {
            Flaw::WakesForNothing => {}
            Flaw::NeverWakes => std::future::pending().await,
            Flaw::TiesACursorToItsHandle | Flaw::ForgetsItsFeedOnRestart => {
                self.sound.changed(&Cursor(since.0[8..].to_vec())).await;
            }
            _ => self.sound.changed(since).await,
        }
    }

    async fn restore(&self, known: &[Change]) -> Result<(), StoreError> {
        for change in known {
            self.write_back(change).await?;
        }
        self.sound.restore(&[]).await
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
        if self.is(Flaw::PurgesRulesInTheEnd) && before > far {
            self.drop_key(&RevocationKey::subject("https://id.example.com", "1"))
                .await;
        }
        self.sound.purge(before).await
    }

    fn records(&self) -> Option<&dyn Records> {
        Some(self)
    }
}

impl Flawed {
    async fn write_back(&self, change: &Change) -> Result<(), StoreError> {
        let key = *change.key();
        let stands = self.stands(key).await;
        let is_purged = *self.notes.is_purged.lock().unwrap();
        let said = match *change {
            Change::Listed {
                listed: Listed::Revoked { until },
                at,
                ..
            } => Some(Revocation::of_token(key.as_token(), until).at(at)),
            _ => None,
        };
        match (self.flaw, change, said) {
            (
                Flaw::WritesNoSpentTokenBack,
                Change::Listed {
                    listed: Listed::Spent { .. },
                    ..
                },
                _,
            ) => Ok(()),
            (Flaw::WritesBackOverWhatStands, _, Some(said)) if stands.is_some() => {
                self.drop_key(&key.as_token().into()).await;
                self.sound.revoke(&[said]).await
            }
            (Flaw::RevivesWhatWasLifted, _, Some(said)) => self.sound.revoke(&[said]).await,
            (Flaw::PurgesLifts, _, Some(said)) if is_purged => self.sound.revoke(&[said]).await,
            (Flaw::SignsWhatIsWrittenBack, _, Some(said)) if stands.is_none() => {
                self.sound.restore(&[*change]).await?;
                if self.stands(key).await.is_some() {
                    self.sound.revoke(&[said.by("restored")]).await?;
                }
                Ok(())
            }
            (Flaw::LiftsAllWhenWrittenBack, Change::Lifted { at, .. }, _) => {
                let lift = Lift {
                    key: key.as_token().into(),
                    at: *at,
                    by: String::new(),
                    reason: String::new(),
                };
                self.sound.lift(&lift).await.map(drop)
            }
            (Flaw::ForgetsALiftOfNothing, Change::Lifted { .. }, _) if stands.is_none() => Ok(()),
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
        wanted: &'a Wanted,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<RecordsPage, StoreError>> {
        Box::pin(async move {
            if self.is(Flaw::TakesNoForeignCursorOfRecordsAmiss) {
                let own = after.filter(|cursor| cursor.0.len() == 16);
                return self.sound.page(wanted, own, at_most).await;
            }
            if self.is(Flaw::FindsReasonsInAnyCase)
                && let Some(reason) = wanted.only_reason()
            {
                let lower = Wanted::all().because(reason.to_lowercase());
                let mut page = self.sound.page(wanted, after, at_most).await?;
                if page.records.is_empty() && wanted.only_key().is_none() {
                    page = self.sound.page(&lower, after, at_most).await?;
                }
                return Ok(page);
            }
            let mut page = self.sound.page(wanted, after, at_most).await?;
            match self.flaw {
                Flaw::SkipsARecordAtABorder if after.is_some() && page.next.is_some() => {
                    page.records.pop();
                }
                _ => {}
            }
            Ok(page)
        })
    }
}
