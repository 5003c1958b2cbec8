//! The cache of verified tokens, by a keyed hash: no token is kept.

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

/// A bounded number of tokens whose signature and claims were valid. The clock, the key set and the
/// revocation list are asked again on each use.
pub(crate) struct TokenCache {
    /// Random in each process, so that nobody can construct a collision.
    secret: Key,
    tokens: Cache<TokenHash, Verified, UnitWeighter, IdentityHash, Lifecycle>,
}

type Lifecycle = DefaultLifecycle<TokenHash, Verified>;

/// A verified token, and what decides whether it still is valid.
#[derive(Clone)]
pub(crate) struct Verified {
    pub(crate) token: Arc<VerifiedToken>,
    /// The seconds within which its claims are valid.
    pub(crate) window: Range<u64>,
    /// The index of its issuer.
    pub(crate) issuer: usize,
    /// The serial number of the key that verified it, and the version of the last key set that was
    /// seen to hold that key.
    pub(crate) key: u64,
    pub(crate) key_set_version: u64,
}

/// 128 bits of a keyed hash over the whole token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenHash([u64; 2]);

impl TokenCache {
    pub(crate) fn new(capacity: usize) -> io::Result<Self> {
        let mut random = [[0; 8]; 4];
        for word in &mut random {
            getrandom::fill(word).map_err(io::Error::other)?;
        }
        Ok(Self {
            secret: Key(random.map(u64::from_ne_bytes)),
            tokens: Cache::with(
                capacity,
                capacity as u64,
                UnitWeighter,
                IdentityHash,
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

    pub(crate) fn insert(&self, hash: TokenHash, verified: Verified) {
        self.tokens.insert(hash, verified);
    }

    pub(crate) fn remove(&self, hash: &TokenHash) {
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

/// A [`TokenHash`] is a keyed hash already: its first half is used as it is.
#[derive(Clone, Copy, Default)]
struct IdentityHash;

struct IdentityHasher(u64);

impl BuildHasher for IdentityHash {
    type Hasher = IdentityHasher;

    fn build_hasher(&self) -> IdentityHasher {
        IdentityHasher(0)
    }
}

impl Hasher for IdentityHasher {
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
