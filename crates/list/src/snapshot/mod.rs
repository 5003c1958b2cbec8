//! A copy of the mirror in a local file, for a start while the store is down.

mod file;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tower_revoke_core::Cursor;

pub(crate) use self::file::{Entry, Writer};
use self::file::{Mac, mac_of};
use crate::RevocationListError;

/// The shortest interval between two files.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps a copy of a list's mirror in a local file, so that a node that starts while its store is
/// down still rejects what it knew to be revoked. Set by
/// [`RevocationListBuilder::snapshot`](crate::RevocationListBuilder::snapshot).
///
/// While the store doesn't answer, the list rejects the tokens that the file lists. All others
/// remain unknown, so their requests fail with 503, and the node is not ready. Once the store
/// answers, only its answers count: a lift that was made meanwhile takes effect. The list then
/// follows the feed from where the file ends, without loading everything. If the store's history
/// went back, the list writes back what the file has, as any running node does. If the feed no
/// longer covers the time since the file was written, everything is loaded.
///
/// # Examples
/// ```
/// use tower_revoke_core::Store;
/// use tower_revoke_list::{MirrorSnapshot, RevocationList, RevocationListError};
///
/// // The key is 32 random bytes, from wherever the program has its other secrets.
/// fn list(store: impl Store, key: [u8; 32]) -> Result<RevocationList, RevocationListError> {
///     RevocationList::builder(store)
///         .snapshot(MirrorSnapshot::new("/var/lib/app/revocations", key))
///         .build()
/// }
/// ```
///
/// When the program ends, [`RevocationList::shutdown`](crate::RevocationList::shutdown) writes the
/// file a last time.
///
/// # The file
/// The file has digests, times, and the random ids of uses: no token, subject, author or reason. It
/// takes about 30 bytes an entry. Every [`interval`](Self::interval) in which something has
/// changed, a new file is written beside it (`.new`), flushed to the disk, and renamed. No request
/// waits for that. Each node needs a file of its own.
///
/// # The key
/// The file is authenticated by HMAC-SHA256, since a forged file could make a revoked token valid.
/// Keep the key apart from the file. Whoever can write the file but doesn't have the key can remove
/// it, or replace it by an older one, which costs a full load at most.
///
/// A file that is damaged, forged, or written with another key is logged, counted in
/// [`ListStats::snapshots_rejected`](crate::ListStats::snapshots_rejected), and ignored: the list
/// starts as it does without one.
#[derive(Clone)]
#[must_use]
pub struct MirrorSnapshot {
    path: PathBuf,
    mac: Mac,
    interval: Duration,
}

/// Why a snapshot was ignored, or could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file system failed.
    #[error("the file of the snapshot can't be read or written: {0}")]
    Io(io::ErrorKind),
    /// It was not written in this interval of time.
    #[error("the snapshot was not written within {0:?}")]
    TimedOut(Duration),
    /// The mirror is not complete: it is being loaded, or too much is listed.
    #[error("the mirror is not complete, so there is nothing to write")]
    NoMirror,
    /// The file is something else.
    #[error("the file is not a snapshot of a mirror")]
    NotASnapshot,
    /// Another version of this crate wrote the file.
    #[error("the snapshot has version {0} of the format, but must have version 1")]
    Version(u32),
    /// The file was written with another key.
    #[error("the snapshot was written with another key")]
    OtherKey,
    /// The file was truncated, damaged or forged.
    #[error("the snapshot was truncated or changed after it was written")]
    Damaged,
    /// The file has more entries than the mirror may hold.
    #[error("the snapshot has more entries than mirror_capacity, which is {0}")]
    TooLarge(u64),
    /// The feed of the store no longer covers the time since the file was written.
    #[error("the feed of the store no longer covers the time since the snapshot was written")]
    TooOld,
    /// The file is about another store.
    #[error("the snapshot is about another store")]
    OtherStore,
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged,
            kind => Self::Io(kind),
        }
    }
}

/// What became of the snapshot of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotState {
    /// None is configured, or none has been written yet.
    #[default]
    None,
    /// It is in memory, and the store has not answered yet.
    Loaded,
    /// The store has answered, and the mirror continues from the snapshot.
    TakenOver,
    /// It was ignored.
    Rejected(SnapshotError),
}

impl MirrorSnapshot {
    /// Keeps the snapshot in a file, authenticated with a key. The file need not exist, but its
    /// folder must.
    pub fn new(path: impl Into<PathBuf>, key: [u8; 32]) -> Self {
        Self {
            path: path.into(),
            mac: mac_of(&key),
            interval: Duration::from_secs(60),
        }
    }

    /// Sets how often the file is written, if something has changed. Defaults to a minute, and must
    /// be at least a second.
    ///
    /// A node that was down for longer than the feed of its store keeps changes, less this interval,
    /// loads everything when it starts. For most stores that is 10 minutes.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    pub(crate) fn every(&self) -> Duration {
        self.interval
    }

    pub(crate) fn check(&self) -> Result<(), RevocationListError> {
        if self.interval < MIN_INTERVAL {
            return Err(RevocationListError::SnapshotInterval(self.interval));
        }
        if !self.folder().is_dir() {
            return Err(RevocationListError::SnapshotFolder(
                self.folder().to_owned(),
            ));
        }
        Ok(())
    }

    /// Reads the file, entry by entry. Returns the position in the feed at which it was written, or
    /// `None` if there is no file.
    pub(crate) fn read(
        &self,
        each: impl FnMut(Entry) -> Result<(), SnapshotError>,
    ) -> Result<Option<Cursor>, SnapshotError> {
        match File::open(&self.path) {
            Ok(file) => file::read(io::BufReader::new(file), &self.mac, each).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a new file beside the old one, and puts it in its place.
    pub(crate) fn write(
        &self,
        cursor: &Cursor,
        fill: impl FnOnce(&mut Writer<File>) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let mut aside = OsString::from(&self.path);
        aside.push(".new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut writer = Writer::begin(options.open(&aside)?, &self.mac, cursor)?;
        fill(&mut writer)?;
        writer.finish()?.sync_all()?;
        fs::rename(&aside, &self.path)?;
        // A rename survives a power cut only once the folder is on the disk.
        #[cfg(unix)]
        File::open(self.folder())?.sync_all()?;
        Ok(())
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

impl fmt::Debug for MirrorSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorSnapshot")
            .field("path", &self.path)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
