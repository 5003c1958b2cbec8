//! A JWKS file that is read again when it changes.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tower_revoke_core::{Clock, UnixTime};

use super::{EMPTIED_TRUST, Key, Skipped, jwk::MAX_BYTES, read_set};
use crate::{algorithm::AlgorithmSet, error::KeySetError};

/// A file that was written less than this before it was read may have changed since without
/// showing it: clocks of file systems tick coarsely.
const SETTLES_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct KeyFile {
    path: PathBuf,
    allowed: AlgorithmSet,
    keys: Vec<Arc<Key>>,
    /// How the file looked when `keys` were read from it; `None`: read it at the next look.
    version: Option<FileVersion>,
    is_failing: bool,
    /// The uptime at which the file was first seen without a usable key.
    emptied_at: Option<Duration>,
}

/// What tells one state of a file from the next, also when another file takes its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    modified: Option<SystemTime>,
    len: u64,
    node: (u64, u64),
}

impl KeyFile {
    /// Reads the file; it must be there, and be a set.
    pub(crate) fn open(
        path: PathBuf,
        allowed: AlgorithmSet,
        now: UnixTime,
    ) -> Result<(Self, Vec<Skipped>), KeySetError> {
        let mut file = Self {
            path,
            allowed,
            keys: Vec::new(),
            version: None,
            is_failing: false,
            emptied_at: None,
        };
        let (keys, skipped) = file.read(now)?;
        file.keys = keys;
        Ok((file, skipped))
    }

    /// Whether a key may be missing because the file can't be used now.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    pub(super) fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Reads the file again if it has changed. What can't be used changes nothing, until the set
    /// has been without a usable key for too long.
    pub(super) fn look(&mut self, clock: &Clock) {
        self.look_at_file(clock);
        let is_over = |at| clock.uptime().saturating_sub(at) >= EMPTIED_TRUST;
        if self.emptied_at.is_some_and(is_over) && !self.keys.is_empty() {
            self.keys.clear();
            tracing::error!(
                path = %self.path.display(),
                "the key file has held no key that can be used for too long; the tokens of its keys \
                 are rejected with 503"
            );
        }
    }

    fn look_at_file(&mut self, clock: &Clock) {
        let unchanged = self.version.is_some()
            && fs::metadata(&self.path)
                .is_ok_and(|found| self.version == Some(FileVersion::of(&found)));
        if unchanged {
            return;
        }
        let read = self
            .read(clock.now())
            .and_then(|(keys, _)| match keys.is_empty() {
                true => Err(KeySetError::NoUsableKey),
                false => Ok(keys),
            });
        match read {
            Ok(keys) => {
                self.keys = keys;
                self.emptied_at = None;
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(path = %self.path.display(), "the key file can be read again");
                }
            }
            Err(error) => {
                if matches!(error, KeySetError::NoUsableKey) {
                    self.emptied_at.get_or_insert(clock.uptime());
                } else {
                    self.version = None;
                }
                // Once, not at every look.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        path = %self.path.display(),
                        error = &error as &dyn std::error::Error,
                        "the key file can't be used; the keys that were read before stay"
                    );
                }
            }
        }
    }

    fn read(&mut self, now: UnixTime) -> Result<(Vec<Arc<Key>>, Vec<Skipped>), KeySetError> {
        let (version, json) = read_file(&self.path).map_err(KeySetError::Io)?;
        let read = read_set(&json, self.allowed, &self.keys)?;
        self.version = version.has_settled(now).then_some(version);
        Ok(read)
    }
}

impl FileVersion {
    fn of(file: &Metadata) -> Self {
        #[cfg(unix)]
        let node = {
            use std::os::unix::fs::MetadataExt;
            (file.dev(), file.ino())
        };
        #[cfg(not(unix))]
        let node = (0, 0);
        Self {
            modified: file.modified().ok(),
            len: file.len(),
            node,
        }
    }

    fn has_settled(&self, now: UnixTime) -> bool {
        self.modified
            .and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok())
            .is_some_and(|at| at + SETTLES_AFTER < Duration::from_secs(now.as_secs()))
    }
}

/// The version is taken before the bytes: what is written in between shows at the next look.
fn read_file(path: &PathBuf) -> io::Result<(FileVersion, Vec<u8>)> {
    // Asked before it is opened: to open a pipe waits for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    let file = File::open(path)?;
    let version = FileVersion::of(&file.metadata()?);
    let mut json = Vec::new();
    // One byte more than is allowed tells a file that is too large.
    file.take(MAX_BYTES + 1).read_to_end(&mut json)?;
    Ok((version, json))
}
