//! How the entries of an outbox are encrypted, and with which keys.
//!
//! | bytes | of a sealed entry |
//! |---|---|
//! | 1 | the version of the format |
//! | 8 | the id of the key |
//! | 8 | until when it is owed, in seconds |
//! | 12 | the nonce, random |
//! | the rest | the holder, 16 bytes, and the token, encrypted; and 16 bytes of authentication |

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
};
use tower_revoke_core::{
    KeyDigest, OutboxError, OwedRevocation, StoreError, TokenCopy, TokenId, UnixTime,
};
use zeroize::Zeroizing;

/// The version of the format. Must be raised with every change.
const VERSION: u8 = 1;

/// Where an entry is, which is authenticated with it.
pub(crate) struct Place<'a> {
    pub(crate) server: &'a str,
    pub(crate) token: TokenId,
}

/// The keys with which an [`EmbeddedOutbox`](crate::EmbeddedOutbox) seals what it keeps, 32 random bytes
/// each.
///
/// Entries are sealed with the first key, and read with all. To replace the key, give the new one and
/// keep the former until nothing is owed that is sealed with it: at the latest after the client's
/// `retry_timeout`, by default a day. Keep keys apart from the files. The nonces are random; one key is
/// good for 2³² entries at least.
///
/// # Examples
/// ```
/// use tower_revoke_store_embedded::OutboxKeys;
///
/// # let (key, former) = ([1; 32], [2; 32]);
/// let keys = OutboxKeys::new(&key).and_former(&former);
/// ```
#[must_use]
pub struct OutboxKeys {
    current: OutboxKey,
    former: Vec<OutboxKey>,
}

type KeyId = [u8; 8];

struct OutboxKey {
    id: KeyId,
    key: RandomizedNonceKey,
}

impl OutboxKey {
    fn new(key: &[u8; 32]) -> Self {
        let hash = digest(
            &SHA256,
            &Zeroizing::new([&b"tower-revoke outbox key\n"[..], key].concat()),
        );
        let id = hash.as_ref().first_chunk().copied();
        Self {
            id: id.expect("a SHA-256 has 32 bytes"),
            key: RandomizedNonceKey::new(&AES_256_GCM_SIV, key).expect("the key has 32 bytes"),
        }
    }

    fn shown(id: KeyId) -> String {
        format!("{:016x}", u64::from_be_bytes(id))
    }
}

impl OutboxKeys {
    /// Seals and reads entries with this key.
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            current: OutboxKey::new(key),
            former: Vec::new(),
        }
    }

    /// Also reads entries that an earlier process sealed with this key.
    pub fn and_former(mut self, key: &[u8; 32]) -> Self {
        self.former.push(OutboxKey::new(key));
        self
    }

    fn all(&self) -> impl Iterator<Item = &OutboxKey> {
        [&self.current].into_iter().chain(&self.former)
    }

    pub(crate) fn seal(
        &self,
        place: &Place<'_>,
        owed: &OwedRevocation,
    ) -> Result<Vec<u8>, StoreError> {
        let OutboxKey { id, key } = &self.current;
        let until = owed.until.as_secs().to_be_bytes();
        let head = [&[VERSION][..], id, &until].concat();
        let token = owed.token.as_str().as_bytes();
        // As large as it gets, so that no plaintext is left behind where it grew from.
        let mut text = Vec::with_capacity(token.len() + 32);
        text.extend_from_slice(owed.holder.as_bytes());
        text.extend_from_slice(token);
        let aad = Aad::from(place.authenticated(&head));
        let nonce = key.seal_in_place_append_tag(aad, &mut text);
        let nonce = nonce.map_err(|error| StoreError::Unavailable(error.into()))?;
        Ok([&head[..], nonce.as_ref(), &text].concat())
    }

    pub(crate) fn open(
        &self,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<OwedRevocation, OutboxError> {
        let token = place.token;
        let not_authentic = || OutboxError::NotAuthentic { token };
        let (head, rest) = sealed.split_first_chunk::<17>().ok_or_else(not_authentic)?;
        let (version, id) = head.split_first().ok_or_else(not_authentic)?;
        if *version != VERSION {
            let version = *version;
            return Err(OutboxError::Version { token, version });
        }
        let id: KeyId = id.first_chunk().copied().ok_or_else(not_authentic)?;
        let key = self.all().find(|key| key.id == id);
        let key = key.ok_or_else(|| OutboxError::UnknownKey {
            token,
            key: OutboxKey::shown(id),
        })?;
        let (nonce, text) = rest.split_first_chunk::<12>().ok_or_else(not_authentic)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(place.authenticated(head));
        let opened = key.key.open_in_place(Nonce::from(nonce), aad, &mut text);
        let opened = opened.map_err(|_| not_authentic())?;
        let (holder, text) = opened.split_first_chunk().ok_or_else(not_authentic)?;
        let text = str::from_utf8(text).map_err(|_| not_authentic())?;
        Ok(OwedRevocation {
            id: token,
            holder: KeyDigest::from_bytes(*holder),
            token: TokenCopy::new(text.into()),
            until: until_of(head).ok_or_else(not_authentic)?,
        })
    }
}

impl Place<'_> {
    /// The data that are authenticated with an entry. Only the last one has no fixed length.
    fn authenticated(&self, head: &[u8]) -> Vec<u8> {
        let server = self.server.as_bytes();
        [
            b"tower-revoke outbox\n",
            head,
            self.token.as_bytes(),
            server,
        ]
        .concat()
    }
}

/// Reads the id of the key of an entry, as it is shown, from its first part. `None` if a newer release
/// has written it.
pub(crate) fn key_of(sealed: &[u8]) -> Option<String> {
    let (_, rest) = sealed
        .split_first()
        .filter(|(version, _)| **version == VERSION)?;
    Some(OutboxKey::shown(*rest.first_chunk()?))
}

/// Reads until when an entry is owed, from its first part. It is not authenticated yet.
pub(crate) fn until_of(sealed: &[u8]) -> Option<UnixTime> {
    let until = sealed.get(9..17)?.first_chunk()?;
    Some(UnixTime::from_secs(u64::from_be_bytes(*until)))
}

/// Without the keys.
impl fmt::Debug for OutboxKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.all().map(|key| OutboxKey::shown(key.id)))
            .finish()
    }
}
