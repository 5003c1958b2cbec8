//! The format of a snapshot's file.
//!
//! A header of [`MAGIC`], the version and an id of the key is followed by chunks: the length of the
//! payload, whose highest bit marks the last chunk, the payload, and a code that authenticates both
//! and everything before them. The payloads of all chunks are the cursor and then the entries, none
//! of them split.

use std::{
    io::{self, Read, Write},
    num::NonZeroU32,
};

use hmac::{Hmac, KeyInit, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tower_revoke_core::{Change, Cursor, TokenId, UnixTime, Use, UseId};

use super::SnapshotError;

pub(super) type Mac = Hmac<Sha256>;

const MAGIC: [u8; 8] = *b"TWRVSNAP";
const VERSION: u32 = 1;
const HEADER: usize = 8 + 4 + 16;
const CODE: usize = 32;

/// A chunk ends with the entry that reaches this length.
const CHUNK: usize = 64 << 10;

/// The longest chunk that is read, so that a damaged length takes no memory.
const MAX_CHUNK: u32 = 1 << 20;

/// Marks the last chunk in its length.
const LAST: u32 = 1 << 31;

/// More bytes than an entry takes.
const ENTRY: usize = 128;

/// One entry of the mirror. The order and the fields of the variants are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// A change that leads to the state of a token.
    Token(Change),
    /// A change that leads to the state of a rule.
    Rule(Change),
    /// A use that was taken through the list.
    Use {
        token: TokenId,
        id: [u8; 16],
        limit: NonZeroU32,
        until: Option<UnixTime>,
    },
}

impl From<Use> for Entry {
    fn from(use_: Use) -> Self {
        Self::Use {
            token: use_.token,
            id: *use_.id.as_bytes(),
            limit: use_.limit,
            until: use_.until,
        }
    }
}

impl Entry {
    /// Returns the use, if it is one.
    pub(crate) fn into_use(self) -> Option<Use> {
        let Self::Use {
            token,
            id,
            limit,
            until,
        } = self
        else {
            return None;
        };
        let mut use_ = Use::new(token, UseId::from_bytes(id), limit, None);
        use_.until = until;
        Some(use_)
    }
}

pub(super) fn mac_of(key: &[u8; 32]) -> Mac {
    Mac::new_from_slice(key).expect("an HMAC takes a key of any length")
}

fn header(mac: &Mac) -> [u8; HEADER] {
    let id = mac.clone().chain_update(b"the key of a mirror's snapshot");
    let id = id.finalize().into_bytes();
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..].copy_from_slice(&id[..16]);
    header
}

/// Returns the code of a chunk before it is finalized. `before` is the code of the last chunk, or
/// the header, so that chunks can't be reordered, removed, or taken from another file.
fn code(mac: &Mac, before: &[u8], length: [u8; 4], payload: &[u8]) -> Mac {
    mac.clone()
        .chain_update(before)
        .chain_update(length)
        .chain_update(payload)
}

/// Writes a file, chunk by chunk.
pub(crate) struct Writer<W> {
    to: W,
    mac: Mac,
    before: Vec<u8>,
    chunk: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(mut to: W, mac: &Mac, cursor: &Cursor) -> io::Result<Self> {
        let before = header(mac).to_vec();
        to.write_all(&before)?;
        let chunk = postcard::to_allocvec(cursor.as_bytes()).map_err(io::Error::other)?;
        Ok(Self {
            to,
            mac: mac.clone(),
            before,
            chunk,
        })
    }

    pub(crate) fn put(&mut self, entry: &Entry) -> io::Result<()> {
        let mut bytes = [0; ENTRY];
        let bytes = postcard::to_slice(entry, &mut bytes).map_err(io::Error::other)?;
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush(0)?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.flush(LAST)?;
        Ok(self.to)
    }

    fn flush(&mut self, last: u32) -> io::Result<()> {
        let length = u32::try_from(self.chunk.len()).map_err(io::Error::other)?;
        let length = (length | last).to_le_bytes();
        let code = code(&self.mac, &self.before, length, &self.chunk);
        self.before.clear();
        self.before.extend(code.finalize().into_bytes());
        self.to.write_all(&length)?;
        self.to.write_all(&self.chunk)?;
        self.to.write_all(&self.before)?;
        self.chunk.clear();
        Ok(())
    }
}

/// Reads a file. Each entry is authenticated before it is parsed, and whether the file is complete
/// is known when this returns: until then the caller must not use the entries.
pub(super) fn read(
    mut from: impl Read,
    mac: &Mac,
    mut each: impl FnMut(Entry) -> Result<(), SnapshotError>,
) -> Result<Cursor, SnapshotError> {
    let (mut found, expected) = ([0; HEADER], header(mac));
    from.read_exact(&mut found)?;
    if found[..8] != MAGIC {
        return Err(SnapshotError::NotASnapshot);
    }
    if found[8..12] != expected[8..12] {
        let [.., a, b, c, d] = *found.first_chunk::<12>().ok_or(SnapshotError::Damaged)?;
        return Err(SnapshotError::Version(u32::from_le_bytes([a, b, c, d])));
    }
    if found != expected {
        return Err(SnapshotError::OtherKey);
    }
    let mut before = found.to_vec();
    let (mut chunk, mut cursor) = (Vec::new(), None);
    loop {
        let mut word = [0; 4];
        from.read_exact(&mut word)?;
        let (length, is_last) = match u32::from_le_bytes(word) {
            word if word & LAST == 0 => (word, false),
            word => (word & !LAST, true),
        };
        if length > MAX_CHUNK {
            return Err(SnapshotError::Damaged);
        }
        chunk.resize(length as usize + CODE, 0);
        from.read_exact(&mut chunk)?;
        let (mut payload, said) = chunk.split_at(length as usize);
        // In constant time.
        let is_authentic = code(mac, &before, word, payload).verify_slice(said);
        is_authentic.map_err(|_| SnapshotError::Damaged)?;
        before.clear();
        before.extend_from_slice(said);
        if cursor.is_none() {
            let (bytes, rest) = parse::<Vec<u8>>(payload)?;
            (cursor, payload) = (Some(Cursor::new(bytes)), rest);
        }
        while !payload.is_empty() {
            let (entry, rest) = parse(payload)?;
            each(entry)?;
            payload = rest;
        }
        if is_last {
            break;
        }
    }
    if from.read(&mut [0])? > 0 {
        return Err(SnapshotError::Damaged);
    }
    cursor.ok_or(SnapshotError::Damaged)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, &'a [u8]), SnapshotError> {
    postcard::take_from_bytes(bytes).map_err(|_| SnapshotError::Damaged)
}
