//! The cache of verified tokens, by a keyed hash: no token is kept.

use std::{
    fmt,
    hash::{BuildHasher, Hash, Hasher},
    io,
};

use highway::{HighwayHash, HighwayHasher, Key};
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};

/// A bounded number of tokens that were found good, each with what its verifier keeps of it. The
/// clock and the revocation list are asked again on each use.
pub struct TokenCache<T> {
    /// Random in each process, so that nobody can construct a collision.
    secret: Key,
    tokens: Cache<CacheKey, T, UnitWeighter, IdentityHash, Lifecycle<T>>,
}

type Lifecycle<T> = DefaultLifecycle<CacheKey, T>;

/// 128 bits of a keyed hash over the whole token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheKey([u64; 2]);

impl<T: Clone> TokenCache<T> {
    /// Makes an empty cache.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn new(capacity: usize) -> io::Result<Self> {
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

    /// Returns the key of a token.
    pub fn key(&self, token: &[u8]) -> CacheKey {
        CacheKey(HighwayHasher::new(self.secret).hash128(token))
    }

    /// Returns what is kept of a token.
    pub fn get(&self, key: &CacheKey) -> Option<T> {
        self.tokens.get(key)
    }

    /// Keeps a token.
    pub fn insert(&self, key: CacheKey, verified: T) {
        self.tokens.insert(key, verified);
    }

    /// Forgets a token.
    pub fn remove(&self, key: &CacheKey) {
        self.tokens.remove(key);
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl<T> fmt::Debug for TokenCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").finish_non_exhaustive()
    }
}

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

/// A [`CacheKey`] is a keyed hash already: its first half is used as it is.
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
