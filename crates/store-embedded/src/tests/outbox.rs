//! Tests of the outbox, its keys, and what an attacker who has the files sees and can do.

use std::{fs, io::Read, path::Path};

use tempfile::TempDir;
use tower_revoke_core::{
    KeyDigest, Outbox, OutboxError, OwedRevocation, Store, TokenCopy, TokenHash, TokenId, UnixTime,
};
use tower_revoke_testing::RecordedLog;

use super::{NOW, flush};
use crate::{
    EmbeddedOutbox, EmbeddedStore, OutboxKeys,
    outbox::{entries_of, parts_of},
};

const SERVER: &str = "https://id.example.com/revoke orders";
const OTHER_SERVER: &str = "https://id.example.com/revoke invoices";
const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];
const LATER: UnixTime = UnixTime::from_secs(NOW.as_secs() + 1);

struct Fixture {
    store: EmbeddedStore,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(folder.path().join("outbox")).unwrap();
        Self { store, folder }
    }

    fn reopened(self) -> Self {
        let Self { store, folder } = self;
        drop(store);
        let store = EmbeddedStore::open(folder.path().join("outbox")).unwrap();
        Self { store, folder }
    }

    fn outbox(&self) -> EmbeddedOutbox {
        self.store.outbox(OutboxKeys::new(&KEY))
    }

    async fn put(&self, server: &str, text: &str, until: UnixTime) {
        let kept = self.outbox().put(server, &owed(text, until)).await;
        kept.unwrap();
    }

    /// Returns the tokens, or why they can't be read, in the order of their ids.
    async fn owed(&self, keys: OutboxKeys, server: &str) -> Vec<Result<String, OutboxError>> {
        let owed = self.store.outbox(keys).owed(server).await.unwrap();
        let text = |owed: OwedRevocation| owed.token.as_str().to_owned();
        owed.into_iter().map(|entry| entry.map(text)).collect()
    }

    /// Moves an entry, as somebody can who may write the files.
    async fn moved(&self, from: (&'static str, &'static str), to: (&'static str, &'static str)) {
        let [from, to] = [from, to].map(|(server, text)| parts_of(server, id(text)));
        let work = move |group: &mut crate::group::Group<'_>| {
            for row in group.rows.prefix(&from) {
                let (key, part) = row.into_inner().unwrap();
                let moved = [&to[..], &key[from.len()..]].concat();
                group.issued.rows.insert(key.to_vec(), None);
                group.issued.rows.insert(moved, Some(part.to_vec()));
            }
        };
        self.store.alone(work).await;
    }
}

fn id(text: &str) -> TokenId {
    TokenId::of_opaque("outbox", &TokenHash::of(text.as_bytes()))
}

fn owed(text: &str, until: UnixTime) -> OwedRevocation {
    OwedRevocation {
        id: id(text),
        holder: KeyDigest::of_token(id("ann")),
        token: TokenCopy::new(text.into()),
        until,
    }
}

/// A token of the largest size, of which every few bytes differ.
fn long(number: u32) -> String {
    let words = (0..1_024).map(|word| format!("{:08x}", word * 16 + number));
    words.collect()
}

fn contains(folder: &Path, text: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contains(&path, text);
        }
        // A journal has reserved more than the little that a test writes.
        let mut bytes = Vec::new();
        let file = fs::File::open(path).unwrap();
        file.take(1 << 20).read_to_end(&mut bytes).unwrap();
        bytes.windows(text.len()).any(|window| window == text)
    })
}

#[tokio::test]
async fn what_is_owed_outlives_the_process_until_it_is_removed() {
    let fixture = Fixture::new();
    let (one, two, three) = (long(1), long(2), "a-short.one".to_owned());
    for token in [&one, &two, &three, &two] {
        fixture.put(SERVER, token, NOW).await;
    }
    fixture.put(OTHER_SERVER, &one, LATER).await;
    let fixture = fixture.reopened();
    let keys = || OutboxKeys::new(&KEY);
    let mut found = fixture.owed(keys(), SERVER).await;
    found.sort_by_key(|entry| entry.clone().unwrap());
    let mut expected = [one.clone(), two.clone(), three.clone()].map(Ok);
    expected.sort_by_key(|entry| entry.clone().unwrap());
    assert_eq!(found, expected);
    assert_eq!(fixture.owed(keys(), "nobody").await, []);

    let outbox = fixture.outbox();
    for token in [&one, &three, "unknown"] {
        outbox.remove(SERVER, id(token)).await.unwrap();
    }
    // A shorter token with the same id leaves nothing of the longer one.
    let replaced = OwedRevocation {
        token: TokenCopy::new("short".into()),
        ..owed(&two, LATER)
    };
    outbox.put(SERVER, &replaced).await.unwrap();
    drop(outbox);
    let fixture = fixture.reopened();
    assert_eq!(fixture.owed(keys(), SERVER).await, [Ok("short".to_owned())]);
    let other = fixture.outbox().owed(OTHER_SERVER).await.unwrap();
    let other = other.into_iter().next().unwrap().unwrap();
    assert_eq!((other.id, other.until), (id(&one), LATER));
    assert_eq!(other.holder, KeyDigest::of_token(id("ann")));
}

/// Guarantee G8: the files never hold the token.
#[tokio::test]
async fn the_files_never_hold_a_token() {
    let fixture = Fixture::new();
    let token = long(3);
    fixture.put(SERVER, &token, NOW).await;
    flush(&fixture.store);
    fixture.put(OTHER_SERVER, &token, NOW).await;
    let Fixture { store, folder } = fixture;
    drop(store);
    for piece in [&token[..16], &token[300..316], &token[8_176..]] {
        assert!(!contains(folder.path(), piece.as_bytes()), "{piece}");
    }
    // What is looked for would be found.
    let readable = [&entries_of(SERVER)[..], id(&token).as_bytes()].concat();
    assert!(contains(folder.path(), &readable[1..]));
}

#[tokio::test]
async fn an_entry_is_read_with_its_own_key_and_in_its_own_place_only() {
    let fixture = Fixture::new();
    for (server, token) in [
        (SERVER, "first"),
        (SERVER, "second"),
        (OTHER_SERVER, "third"),
    ] {
        fixture.put(server, token, LATER).await;
    }
    let key = format!("{:?}", OutboxKeys::new(&KEY));
    let key = key.trim_matches(['[', ']', '"']).to_owned();
    let unknown = |token| OutboxError::UnknownKey {
        token: id(token),
        key: key.clone(),
    };
    // A wrong key.
    let found = fixture
        .owed(OutboxKeys::new(&OTHER_KEY), OTHER_SERVER)
        .await;
    assert_eq!(found, [Err(unknown("third"))]);
    // A former key that is listed, and one that is not.
    let rotated = || OutboxKeys::new(&OTHER_KEY);
    let found = fixture.owed(rotated().and_former(&KEY), OTHER_SERVER).await;
    assert_eq!(found, [Ok("third".to_owned())]);
    let found = fixture.owed(rotated().and_former(&[3; 32]), OTHER_SERVER);
    assert_eq!(found.await, [Err(unknown("third"))]);
    // The right key, in the place of another server's entry, and of another token's.
    fixture
        .moved((SERVER, "first"), (OTHER_SERVER, "first"))
        .await;
    fixture.moved((SERVER, "second"), (SERVER, "fourth")).await;
    let keys = || OutboxKeys::new(&KEY);
    let not_authentic = |token| OutboxError::NotAuthentic { token: id(token) };
    let found = fixture.owed(keys(), SERVER).await;
    assert_eq!(found, [Err(not_authentic("fourth"))]);
    let found = fixture.owed(keys(), OTHER_SERVER).await;
    assert_eq!(found.len(), 2);
    assert!(found.contains(&Err(not_authentic("first"))), "{found:?}");
    assert!(found.contains(&Ok("third".to_owned())), "{found:?}");
    // Back in its place it is read.
    fixture
        .moved((OTHER_SERVER, "first"), (SERVER, "first"))
        .await;
    let found = fixture.owed(keys(), SERVER).await;
    assert!(found.contains(&Ok("first".to_owned())), "{found:?}");
}

#[tokio::test]
async fn an_entry_of_which_any_byte_was_changed_is_not_read() {
    let fixture = Fixture::new();
    fixture.put(SERVER, "the-very-token", LATER).await;
    let key = [&parts_of(SERVER, id("the-very-token"))[..], &[0; 4]].concat();
    let row = {
        let key = key.clone();
        let read = move |open: &crate::shared::Open| Ok(open.rows.get(key).unwrap().unwrap());
        fixture.store.shared().read(read).unwrap().to_vec()
    };
    let write = async |row: Vec<u8>| {
        let key = key.clone();
        let work = move |group: &mut crate::group::Group<'_>| {
            group.issued.rows.insert(key, Some(row));
        };
        fixture.store.alone(work).await;
        fixture.owed(OutboxKeys::new(&KEY), SERVER).await
    };
    let token = id("the-very-token");
    for at in 0..row.len() {
        let mut changed = row.clone();
        changed[at] ^= 1;
        let found = write(changed).await.remove(0);
        let is_expected = match at {
            0 => found == Err(OutboxError::Version { token, version: 0 }),
            1..9 => matches!(found, Err(OutboxError::UnknownKey { .. })),
            _ => found == Err(OutboxError::NotAuthentic { token }),
        };
        assert!(is_expected, "byte {at}: {found:?}");
    }
    for len in 0..row.len() {
        let found = write(row[..len].to_vec()).await.remove(0);
        assert!(found.is_err(), "{len} bytes: {found:?}");
    }
    assert_eq!(write(row).await, [Ok("the-very-token".to_owned())]);
}

#[tokio::test]
async fn a_purge_removes_what_is_no_longer_owed() {
    let fixture = Fixture::new();
    let tokens: Vec<_> = (0..20).map(long).collect();
    for (number, token) in tokens.iter().enumerate() {
        let until = [NOW, LATER][number % 2];
        fixture
            .put([SERVER, OTHER_SERVER][number % 2], token, until)
            .await;
    }
    // An entry that ends at that very second is kept.
    assert_eq!(fixture.store.purge(NOW).await.unwrap(), 0);
    assert_eq!(fixture.store.purge(LATER).await.unwrap(), 10);
    let keys = || OutboxKeys::new(&KEY);
    assert_eq!(fixture.owed(keys(), SERVER).await, []);
    assert_eq!(fixture.owed(keys(), OTHER_SERVER).await.len(), 10);
}

#[tokio::test]
async fn what_a_lost_key_has_sealed_is_discarded_and_nothing_else() {
    let fixture = Fixture::new();
    let (lost, own) = (OutboxKeys::new(&OTHER_KEY), OutboxKeys::new(&KEY));
    let shown = format!("{lost:?}");
    let key = shown.trim_matches(['[', ']', '"']);
    let sealing = fixture.store.outbox(lost);
    // More rows than one step looks at.
    for number in 0..80 {
        let server = [SERVER, OTHER_SERVER][number as usize % 2];
        let kept = sealing.put(server, &owed(&long(number), LATER)).await;
        kept.unwrap();
    }
    drop(sealing);
    fixture.put(SERVER, "kept", LATER).await;
    let outbox = fixture.store.outbox(own);
    let discard = async |key: &str| outbox.discard_sealed_by(key, "ann").await.unwrap();

    let log = RecordedLog::start();
    for other in ["", "ffff", "5f2c6d0a91b3e847"] {
        assert_eq!(discard(other).await, 0);
    }
    assert_eq!(log.lines_with("unchanged"), 3, "{}", log.text());
    assert_eq!(discard(key).await, 80);
    let event = log.text();
    for part in [
        "via=\"outbox\"",
        "action=\"discard\"",
        "by=\"ann\"",
        key,
        "count=80",
        "outcome=\"done\"",
    ] {
        assert!(event.contains(part), "{part}: {event}");
    }
    assert_eq!(discard(key).await, 0);
    drop(outbox);
    let fixture = fixture.reopened();
    let keys = || OutboxKeys::new(&KEY).and_former(&OTHER_KEY);
    assert_eq!(fixture.owed(keys(), SERVER).await, [Ok("kept".to_owned())]);
    assert_eq!(fixture.owed(keys(), OTHER_SERVER).await, []);
}

#[test]
fn debug_output_shows_no_key() {
    let keys = OutboxKeys::new(&[0xab; 32]).and_former(&[0xcd; 32]);
    let fixture = Fixture::new();
    let shown = format!("{keys:?} {:?}", fixture.outbox());
    for secret in ["abab", "cdcd", "171", "205"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
