//! The rows, their keys and their encoding.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tower_revoke_core::{
    Change, KeyDigest, Listed, RevocationKey, RevocationRecord, UnixTime,
    internal::merge::{self, KeyState, Revoked, UseCount},
    retention,
};

use crate::fault::Fault;

/// The kinds of rows: the first byte of each key. Part of the format, as is their order: a full load
/// reads from [`STATE`] up to [`HELD`].
///
/// Digest to [`Row`], for a revocation and its last lift.
pub(crate) const STATE: u8 = 1;
/// Token to [`Row`], for its uses.
pub(crate) const USES: u8 = 2;
/// Token and use id of each taken use of a token with more than one use.
pub(crate) const HELD: u8 = 3;
/// The index of expiries: seconds, number of a group and number of a part to [`RowKey`]s. Each row is
/// in it under the time at which its first part expires, and may be under earlier times.
pub(crate) const ENDS: u8 = 4;
/// Number of a group and number of a part to a [`GroupHead`], in the first part, and events.
pub(crate) const GROUP: u8 = 5;

/// Hash of an issued token and number of a part to the token, in JSON.
pub(crate) const ISSUED: u8 = 6;
/// Digest of a subject or a grant, and hash, for each of its issued tokens.
pub(crate) const ISSUED_OF: u8 = 7;
/// Seconds at which an issued token expires for the store, and its hash.
pub(crate) const ISSUED_ENDS: u8 = 8;
/// Digest of an authorization server, token and number of a part to a sealed entry of the outbox.
#[cfg(feature = "outbox")]
pub(crate) const OWED: u8 = 9;

/// The most events in one part of a group.
///
/// Rows stay shorter than a sector of the disk. One that is missing in a torn write then leaves an
/// unreadable journal entry, which ends the journal, and not a wrong checksum, which is damage.
pub(crate) const PART: usize = 16;

/// The most keys in one row of the index of expiries.
pub(crate) const ENDS_PART: usize = 24 * size_of::<RowKey>();

/// A kind and a digest.
pub(crate) type RowKey = [u8; 17];

pub(crate) fn row_key(kind: u8, digest: &[u8; 16]) -> RowKey {
    let mut key = [kind; 17];
    key[1..].copy_from_slice(digest);
    key
}

/// Splits the last 17 bytes of a key into a kind and a digest.
pub(crate) fn split(key: &[u8]) -> Result<(RowKey, KeyDigest), Fault> {
    match key.last_chunk::<17>() {
        Some(key @ [_, digest @ ..]) => Ok((*key, KeyDigest::from_bytes(*digest))),
        None => Err(Fault::damaged("a key is too short")),
    }
}

pub(crate) fn end_key(end: UnixTime, group: u64, part: u32) -> Vec<u8> {
    let (end, group, part) = (
        end.as_secs().to_be_bytes(),
        group.to_be_bytes(),
        part.to_be_bytes(),
    );
    [&[ENDS][..], &end, &group, &part].concat()
}

pub(crate) fn group_key(group: u64, part: u32) -> Vec<u8> {
    [&[GROUP][..], &group.to_be_bytes(), &part.to_be_bytes()].concat()
}

/// Returns the numbers of a group and of its part.
pub(crate) fn group_of(key: &[u8]) -> Result<(u64, u32), Fault> {
    match key.split_first_chunk::<9>() {
        Some(([GROUP, group @ ..], part)) if part.len() == 4 => {
            let part = part
                .iter()
                .fold(0, |part, byte| part << 8 | u32::from(*byte));
            Ok((u64::from_be_bytes(*group), part))
        }
        _ => Err(Fault::Damaged("the key of a group is invalid".to_owned())),
    }
}

pub(crate) fn write(row: &impl Serialize) -> Result<Vec<u8>, Fault> {
    Ok(postcard::to_allocvec(row)?)
}

pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    Ok(postcard::from_bytes(bytes)?)
}

/// The metadata of a group of writes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct GroupHead {
    pub(crate) written: UnixTime,
    /// The random name of the opening of the folder in which it was written.
    pub(crate) opening: [u8; 8],
    /// How many changes there were in all earlier groups.
    pub(crate) began_at: u64,
    pub(crate) events: u32,
    /// How many entries there are after it.
    pub(crate) entries: u64,
    /// Entries that expired before this time may have been purged.
    pub(crate) purged_before: Option<UnixTime>,
}

impl GroupHead {
    /// Reads the first part of a group: its head, and the first events.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, Vec<Change>), Fault> {
        read(bytes)
    }
}

/// What is stored under one key: a revocation with its last lift, or the uses of a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) state: KeyState,
    pub(crate) uses: Option<Uses>,
}

/// The taken uses of a token. The ids of several uses have rows of their own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Uses {
    pub(crate) count: UseCount,
    /// The id of a single use.
    pub(crate) only: Option<[u8; 16]>,
}

impl Row {
    /// Returns how the key is listed.
    pub(crate) fn listed(&self) -> Option<Listed> {
        let revoked = self.state.revoked.as_ref();
        let used_up = self.uses.and_then(|uses| uses.count.spent());
        merge::listed(revoked.map(|revoked| revoked.listed), used_up)
    }

    /// Returns the change that brings a follower without any state up to date.
    pub(crate) fn change(&self, key: KeyDigest) -> Option<Change> {
        Some(match &self.state.revoked {
            Some(revoked) => Change::Listed {
                key,
                listed: revoked.listed,
                at: revoked.at,
            },
            None => Change::UsedUp {
                key,
                until: self.uses?.count.spent()?.until(),
            },
        })
    }

    pub(crate) fn record(self, digest: KeyDigest) -> Option<RevocationRecord> {
        let Revoked {
            listed,
            at,
            details,
        } = self.state.revoked?;
        let details = details.map(|details| *details).unwrap_or_default();
        let key = match listed {
            Listed::Rule { .. } => details.rule,
            _ => Some(RevocationKey::Token(digest.as_token())),
        };
        Some(RevocationRecord {
            digest,
            key,
            listed,
            at,
            by: details.by,
            reason: details.reason,
        })
    }

    /// Returns how many entries it counts as: one for a revocation or rule, and one for each taken
    /// use. With all uses returned it still stores the limit, and counts as one.
    pub(crate) fn weight(&self) -> u64 {
        let uses = self
            .uses
            .map_or(0, |uses| u64::from(uses.count.taken.max(1)));
        u64::from(self.state.revoked.is_some()) + uses
    }

    /// Returns when the first of its parts expires.
    pub(crate) fn end(&self) -> Option<UnixTime> {
        let revoked = self.state.revoked.as_ref();
        let revoked = revoked.and_then(|revoked| revoked.listed.until());
        let lifted = self.state.lifted.as_ref();
        let lifted = lifted.and_then(|lifted| lifted.until);
        let uses = self.uses.and_then(|uses| uses.count.until);
        [revoked, lifted, uses].into_iter().flatten().min()
    }

    /// Drops what expired before a time, and returns whether the uses are gone.
    pub(crate) fn purge(&mut self, before: UnixTime) -> bool {
        self.state.purge(before);
        let uses = &mut self.uses;
        uses.take_if(|uses| retention::ended_before(uses.count.until, before))
            .is_some()
    }
}
