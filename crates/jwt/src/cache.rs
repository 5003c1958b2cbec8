//! The tokens that were verified before, known by a keyed hash: no token is kept.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    io,
    ops::Range,
    sync::Arc,
};

use highway::{HighwayHash, HighwayHasher, Key};
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};
use tower_revoke_core::VerifiedToken;

/// A bounded number of tokens whose signature and claims were good. Whether they still are, the
/// clock, the key set and the revocation list are asked each time.
pub(crate) struct TokenCache {
    /// Secret, and another one in each process: nobody can make two tokens meet.
    secret: Key,
    tokens: Cache<TokenHash, Verified, UnitWeighter, AsItIs, Lifecycle>,
}

type Lifecycle = DefaultLifecycle<TokenHash, Verified>;

/// What is known of a token that was verified.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) token: Arc<VerifiedToken>,
    /// The seconds in which its claims hold.
    pub(crate) window: Range<u64>,
    /// Whose it is, by number.
    pub(crate) issuer: usize,
    /// The key that verified it, and the version of the key set in which it last stood.
    pub(crate) key: u64,
    pub(crate) version: u64,
}

/// 128 bits of a keyed hash over the whole token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenHash([u64; 2]);

impl TokenCache {
    pub(crate) fn new(entries: usize) -> io::Result<Self> {
        let mut random = [[0; 8]; 4];
        for word in &mut random {
            getrandom::fill(word).map_err(io::Error::other)?;
        }
        Ok(Self {
            secret: Key(random.map(u64::from_ne_bytes)),
            tokens: Cache::with(
                entries,
                entries as u64,
                UnitWeighter,
                AsItIs,
                Lifecycle::default(),
            ),
        })
    }

    pub(crate) fn hash(&self, token: &[u8]) -> TokenHash {
        TokenHash(HighwayHasher::new(self.secret).hash128(token))
    }

    pub(crate) fn get(&self, hash: &TokenHash) -> Option<Verified> {
        self.tokens.get(hash)
    }

    pub(crate) fn put(&self, hash: TokenHash, verified: Verified) {
        self.tokens.insert(hash, verified);
    }

    pub(crate) fn forget(&self, hash: &TokenHash) {
        self.tokens.remove(hash);
    }

    #[cfg(all(test, feature = "aws-lc-rs"))]
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }
}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// The key is a keyed hash already: its first word does as it is.
#[derive(Clone, Copy, Default)]
struct AsItIs;

struct Word(u64);

impl BuildHasher for AsItIs {
    type Hasher = Word;

    fn build_hasher(&self) -> Word {
        Word(0)
    }
}

impl Hasher for Word {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
