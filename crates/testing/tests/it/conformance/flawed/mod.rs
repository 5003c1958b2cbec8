//! Stores with one fault each: the correct server of `server.rs`, with one deviation.

mod store;
mod told;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
};

use tower_revoke_core::{
    Clock, Cursor, IssuedToken, KeyDigest, Lift, Listed, Revocation, RevocationKey, RevocationKind,
    Store, TokenHash, TokenId, UnixTime, Use, UseId, UseOutcome,
};

use super::{
    flaws::Flaw,
    server::{Handle, Server},
};

/// State besides the data that all handles to one server share, so that they can deviate together.
#[derive(Default)]
pub(crate) struct Notes {
    /// The limit of the first use of a token, and the uses that won.
    limits: Mutex<HashMap<TokenId, Use>>,
    winners: Mutex<HashMap<TokenId, Vec<Use>>>,
    /// Keys whose write is in progress.
    under_way: Mutex<Vec<KeyDigest>>,
    /// Outcomes of concurrent uses.
    outcomes: Mutex<Vec<UseOutcome>>,
    asked: Mutex<HashMap<UseId, u32>>,
    lifted: Mutex<HashMap<KeyDigest, UnixTime>>,
    last: Mutex<HashMap<KeyDigest, Revocation>>,
    pub(crate) is_purged: Mutex<bool>,
    pub(crate) boot: Mutex<u64>,
    pub(crate) was_down: Mutex<bool>,
    pub(crate) grown: Mutex<u64>,
    /// The cursor that [`ChangeFeed::end`](tower_revoke_core::ChangeFeed::end) returned last.
    end: Mutex<Option<Cursor>>,
    is_late: Mutex<bool>,
    /// The tokens that were inserted, and those that are no longer found.
    pub(crate) issued: Mutex<Vec<IssuedToken>>,
    pub(crate) hidden: Mutex<HashSet<TokenHash>>,
}

pub(crate) struct Flawed {
    pub(crate) sound: Handle,
    pub(crate) server: Arc<Server>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) flaw: Flaw,
    pub(crate) clock: Clock,
    pub(crate) number: u64,
    /// Keys that this handle has seen unlisted.
    pub(crate) seen_free: Mutex<HashSet<KeyDigest>>,
}

impl Flawed {
    pub(crate) fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// Lifts whatever is listed under a key.
    async fn drop_key(&self, key: &RevocationKey) {
        let lift = Lift::new(key.clone());
        let _ = self.server.store().lift(&lift).await;
    }

    async fn stands(&self, key: KeyDigest) -> Option<Listed> {
        self.server.store().look_up(&[key]).await.unwrap()[0]
    }

    /// Returns the revocation as the flawed store takes it; `None` if it ignores it.
    async fn bent(&self, said: &Revocation, alone: bool) -> Option<Revocation> {
        let key = said.key();
        let digest = key.digest();
        let stands = self.stands(digest).await;
        let until = said.retained_until();
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
            (Flaw::KeepsNoKind, _) if said.kind() == RevocationKind::Spent => {
                let mut revoked = Revocation::of_token(digest.as_token(), None).retained(until);
                if let Some(at) = said.time() {
                    revoked = revoked.at(at);
                }
                return Some(revoked.by(said.author()).because(said.reason()));
            }
            (Flaw::KeepsTheLastKind, Some(Listed::Revoked { .. }))
                if said.kind() == RevocationKind::Spent =>
            {
                self.drop_key(key).await;
            }
            (Flaw::LiftsWinTies, _) => {
                let lifted = self.notes.lifted.lock().unwrap().get(&digest).copied();
                if lifted.is_some_and(|lifted| said.time() <= Some(lifted)) {
                    return None;
                }
            }
            (Flaw::CutsTextsAtNul, _) => {
                let cut = |word: &str| word.split('\0').next().unwrap_or_default().to_owned();
                let (by, reason) = (cut(said.author()), cut(said.reason()));
                return Some(said.clone().by(by).because(reason));
            }
            (Flaw::ForgetsTheAuthor, _) => return Some(said.clone().by("")),
            (Flaw::CountsTimeInSignedNumbers, _) => {
                if let Some(until) = until.filter(|until| until.as_secs() > i64::MAX as u64) {
                    let wrapped = UnixTime::from_secs(until.as_secs() & i64::MAX as u64);
                    return Some(said.clone().retained(Some(wrapped)));
                }
            }
            (Flaw::FoldsCase, _) => {
                if let RevocationKey::Token(token) = key
                    && fold(*token) != *token
                {
                    return Some(Revocation::of_token(fold(*token), None).retained(until));
                }
            }
            _ => {}
        }
        Some(said.clone())
    }

    /// Returns the limit of the token's first use.
    fn limit_of(&self, key: &KeyDigest) -> Option<u32> {
        let limits = self.notes.limits.lock().unwrap();
        Some(limits.get(&key.as_token())?.limit.get())
    }

    fn down(&self) -> bool {
        !self.server.is_up()
    }
}

/// Compares like a column without a binary collation.
fn fold(token: TokenId) -> TokenId {
    let bytes = *token.as_bytes();
    match bytes.iter().all(u8::is_ascii_alphabetic) {
        true => TokenId::from_bytes(bytes.map(|byte| byte.to_ascii_lowercase())),
        false => token,
    }
}

fn other_id(id: UseId, by: u8) -> UseId {
    let mut bytes = *id.as_bytes();
    bytes[0] ^= by;
    UseId::from_bytes(bytes)
}

/// Takes a use if the call is dropped before it is done.
struct BurnsWhenDropped(Option<(Arc<Server>, Use)>);

impl Drop for BurnsWhenDropped {
    fn drop(&mut self) {
        if let Some((server, mut burnt)) = self.0.take() {
            burnt.id = other_id(burnt.id, 0x55);
            let store = server.store();
            // The memory store answers immediately.
            let _ = futures_util::FutureExt::now_or_never(store.take_use(&burnt, UnixTime::EPOCH));
        }
    }
}
