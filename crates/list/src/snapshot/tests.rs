//! Whatever happens to a file, it is read as it was written, or rejected.

use std::num::NonZeroU32;

use proptest::prelude::*;
use tower_revoke_core::{Change, Cursor, KeyDigest, Listed, TokenId, UnixTime, Use, UseId};

use super::{
    SnapshotError,
    file::{self, Entry, Writer, mac_of},
};

const KEY: [u8; 32] = [7; 32];

/// As many entries as two chunks and a half take.
const MANY: u64 = 5_500;

fn entries(count: u64) -> Vec<Entry> {
    let entry = |number: u64| {
        let mut bytes = [number as u8; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let key = KeyDigest::from_bytes(bytes);
        let time = UnixTime::from_secs(1_700_000_000 + number);
        match number % 5 {
            0 => Entry::Rule(Change::Lifted {
                key,
                at: time,
                until: None,
            }),
            1 => {
                let id = UseId::from_bytes(bytes);
                let mut use_ = Use::new(TokenId::from_bytes(bytes), id, NonZeroU32::MIN, None);
                use_.until = Some(time);
                Entry::from(use_)
            }
            _ => Entry::Token(Change::Listed {
                key,
                listed: Listed::Revoked { until: Some(time) },
                at: time,
            }),
        }
    };
    (0..count).map(entry).collect()
}

fn written(count: u64) -> Vec<u8> {
    written_of(&entries(count))
}

fn written_of(entries: &[Entry]) -> Vec<u8> {
    let cursor = Cursor::new([1, 2, 3]);
    let mut writer = Writer::begin(Vec::new(), &mac_of(&KEY), &cursor).unwrap();
    for entry in entries {
        writer.put(entry).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8], key: [u8; 32]) -> Result<Vec<Entry>, SnapshotError> {
    let mut entries = Vec::new();
    let each = |entry| {
        entries.push(entry);
        Ok(())
    };
    let cursor = file::read(bytes, &mac_of(&key), each)?;
    assert_eq!(cursor, Cursor::new([1, 2, 3]));
    Ok(entries)
}

#[test]
fn a_file_is_read_as_it_was_written() {
    for count in [0, 1, MANY] {
        let bytes = written(count);
        assert_eq!(read(&bytes, KEY).unwrap(), entries(count));
    }
    let use_ = entries(2)[1].into_use().unwrap();
    assert_eq!(Entry::from(use_), entries(2)[1]);
    // 23 to 40 bytes an entry.
    let length = written(MANY).len() as u64;
    assert!(length < 40 * MANY, "{length} bytes");
}

#[test]
fn an_unusable_file_is_an_error_that_names_the_reason() {
    let bytes = written(3);
    assert_eq!(read(&bytes, [8; 32]), Err(SnapshotError::OtherKey));
    assert_eq!(read(&[], KEY), Err(SnapshotError::Damaged));
    assert_eq!(read(&[b'#'; 100], KEY), Err(SnapshotError::NotASnapshot));
    let mut newer = bytes.clone();
    newer[8] = 2;
    assert_eq!(read(&newer, KEY), Err(SnapshotError::Version(2)));
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(read(&longer, KEY), Err(SnapshotError::Damaged));
}

/// Chunks of two files under one key don't fit together.
#[test]
fn a_file_is_not_spliced_from_two() {
    let mut entries = entries(MANY);
    let one = written_of(&entries);
    entries.reverse();
    let other = written_of(&entries);
    let end_of_first_chunk = |file: &[u8]| {
        let length = u32::from_le_bytes(*file[28..].first_chunk().unwrap());
        28 + 4 + length as usize + 32
    };
    let (head, _) = one.split_at(end_of_first_chunk(&one));
    let (_, tail) = other.split_at(end_of_first_chunk(&other));
    assert!(!tail.is_empty());
    let spliced = [head, tail].concat();
    assert_eq!(read(&spliced, KEY), Err(SnapshotError::Damaged));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A file that lists less than was written would make a revoked token valid.
    #[test]
    fn a_file_that_was_cut_or_changed_is_rejected(
        count in prop::sample::select(vec![0, 1, 3, MANY]),
        at in any::<prop::sample::Index>(),
        flip in prop::option::of(1_u8..),
    ) {
        let mut bytes = written(count);
        let at = at.index(bytes.len());
        match flip {
            Some(bits) => bytes[at] ^= bits,
            None => bytes.truncate(at),
        }
        prop_assert!(read(&bytes, KEY).is_err(), "at {at} of {}", bytes.len());
    }
}
