//! The store as its own threads and files show it.

mod conformance;
mod damaged;
mod failing;
mod format;
mod keeping;
mod model;
#[cfg(feature = "outbox")]
mod outbox;

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use tower_revoke_core::UnixTime;

use crate::EmbeddedStore;

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

/// Moves the rows to the tree, as happens after some megabytes.
fn flush(store: &EmbeddedStore) {
    let flush = |open: &crate::shared::Open| {
        open.rows.rotate_memtable_and_wait().unwrap();
        Ok(())
    };
    store.shared().read(flush).unwrap();
}

/// Copies a folder as it is on the disk, in place of any other. A journal has reserved more than the
/// little that a test writes, and is read only so far.
fn copy(from: &Path, to: &Path) {
    const WRITTEN: u64 = 1 << 20;
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy(&from, &to);
            continue;
        }
        let (mut from, to) = (fs::File::open(from).unwrap(), fs::File::create(to).unwrap());
        io::copy(&mut (&mut from).take(WRITTEN), &mut &to).unwrap();
        to.set_len(from.metadata().unwrap().len()).unwrap();
    }
}
