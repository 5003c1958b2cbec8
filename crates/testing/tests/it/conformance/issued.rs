//! The issued tokens of the simulated server, and flaws in them.

use tower_revoke_core::{
    BoxFuture, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, KeyDigest, Revocation,
    RevocationKey, StoreError, TokenHash, TokenId, UnixTime,
};

use super::{
    flawed::Flawed,
    flaws::Flaw,
    server::{Handle, Op},
};

impl IssuedTokenStore for Handle {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let store = self.write(Op::Issue(Box::new(token.clone()))).await?;
            store.insert(token).await
        })
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        Box::pin(async move { self.reach().await?.find(hash).await })
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        Box::pin(async move {
            let store = self.reach().await?;
            store.page_of(holder, after, at_most).await
        })
    }
}

impl IssuedTokenStore for Flawed {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let was_free = self.sound.find(&token.hash).await?.is_none();
            tokio::task::yield_now().await;
            let outcome = self.sound.insert(token).await;
            let mut inserted = self.notes.issued.lock().unwrap();
            let earlier = inserted.iter_mut().find(|known| known.hash == token.hash);
            match (self.flaw, &outcome, earlier) {
                (_, Ok(()), _) => inserted.push(token.clone()),
                (Flaw::OverwritesIssuedTokens, Err(StoreError::AlreadyIssued), Some(earlier)) => {
                    *earlier = token.clone();
                    return Ok(());
                }
                (Flaw::InsertsEqualTokensAgain, Err(StoreError::AlreadyIssued), Some(earlier))
                    if earlier == token =>
                {
                    return Ok(());
                }
                (Flaw::ChecksThenInserts, Err(StoreError::AlreadyIssued), _) if was_free => {
                    return Ok(());
                }
                _ => {}
            }
            outcome
        })
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        Box::pin(async move {
            let mut found = match self.sound.find(hash).await {
                Err(_) if self.is(Flaw::FindsNoTokenWhileDown) => None,
                found => found?.filter(|token| !self.hides(token)),
            };
            // The half of a hash, in the place of a key.
            let key = KeyDigest::from_bytes(*hash.as_bytes().first_chunk().unwrap());
            let inserted = self.notes.issued.lock().unwrap();
            let mut known = inserted.iter().filter(|known| known.hash == *hash).cloned();
            match self.flaw {
                Flaw::CachesUnknownTokens if found.is_none() => {
                    self.seen_free.lock().unwrap().insert(key);
                }
                Flaw::CachesUnknownTokens if self.seen_free.lock().unwrap().contains(&key) => {
                    found = None;
                }
                Flaw::OverwritesIssuedTokens | Flaw::FindsPurgedTokens => found = known.next(),
                Flaw::ForgetsFurtherKeys => {
                    found.iter_mut().for_each(|token| token.keys.clear());
                }
                _ => {}
            }
            Ok(found)
        })
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        Box::pin(async move {
            let own = match self.flaw {
                Flaw::AcceptsAForeignCursorOfTokens => {
                    after.filter(|cursor| cursor.as_bytes().len() == 32)
                }
                _ => after,
            };
            let mut page = self.sound.page_of(holder, own, at_most).await?;
            match self.flaw {
                Flaw::SkipsATokenBetweenPages if after.is_some() && page.next.is_some() => {
                    page.tokens.pop();
                }
                Flaw::ListsTokensOfSessions if page.tokens.is_empty() => {
                    let inserted = self.notes.issued.lock().unwrap();
                    let of_session = inserted.iter().filter(|token| {
                        let session = token.session.as_deref().unwrap_or_default();
                        RevocationKey::session(&token.issuer, session).digest() == *holder
                    });
                    page.tokens.extend(of_session.take(at_most).cloned());
                }
                _ => {}
            }
            page.tokens.retain(|token| !self.hides(token));
            Ok(page)
        })
    }
}

impl Flawed {
    fn hides(&self, token: &IssuedToken) -> bool {
        let is_forgotten = self.is(Flaw::ForgetsATokenOnRestart)
            && *self.notes.boot.lock().unwrap() > 0
            && token.subject.as_deref() == Some("subject 3");
        is_forgotten || self.notes.hidden.lock().unwrap().contains(&token.hash)
    }

    fn hide(&self, hidden: impl Fn(&IssuedToken) -> bool) {
        let inserted = self.notes.issued.lock().unwrap();
        let hidden = inserted.iter().filter(|token| hidden(token));
        let hashes = hidden.map(|token| token.hash);
        self.notes.hidden.lock().unwrap().extend(hashes);
    }

    pub(super) fn revoked(&self, revocations: &[Revocation]) {
        if self.is(Flaw::DeletesRevokedTokens) {
            self.hide(|token| {
                let id = TokenId::of_opaque(&token.issuer, &token.hash);
                revocations.iter().any(|said| *said.key() == id.into())
            });
        }
    }

    pub(super) fn purged(&self, before: UnixTime) {
        if self.is(Flaw::PurgesTokensAtTheirExpiry) {
            self.hide(|token| {
                token
                    .expires_at
                    .is_some_and(|expires_at| expires_at < before)
            });
        }
    }
}
