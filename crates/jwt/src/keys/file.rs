//! A JWKS file that is read again when it changes.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tower_revoke_core::UnixTime;

use super::{Key, Skipped, jwk::MAX_BYTES, read_set};
use crate::{algorithm::AlgorithmSet, error::KeySetError};

/// A file that was written less than this before it was read may have changed since without
/// showing it: clocks of file systems tick coarsely.
const SETTLES_AFTER: Duration = Duration::from_secs(2);

pub(crate) struct KeyFile {
    path: PathBuf,
    allowed: AlgorithmSet,
    keys: Vec<Arc<Key>>,
    /// How the file looked when `keys` were read from it; `None`: read it at the next look.
    stamp: Option<Stamp>,
    is_failing: bool,
}

/// What tells one state of a file from the next, also when another file takes its place.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
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
            stamp: None,
            is_failing: false,
        };
        let skipped = file.read(now)?;
        Ok((file, skipped))
    }

    pub(super) fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Reads the file again if it has changed. What can't be read changes nothing.
    pub(super) fn look(&mut self, now: UnixTime) {
        let unchanged = self.stamp.is_some()
            && fs::metadata(&self.path).is_ok_and(|found| self.stamp == Some(Stamp::of(&found)));
        if unchanged {
            return;
        }
        match self.read(now) {
            Ok(_) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(path = %self.path.display(), "the key file can be read again");
                }
            }
            Err(error) => {
                self.stamp = None;
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

    fn read(&mut self, now: UnixTime) -> Result<Vec<Skipped>, KeySetError> {
        let (stamp, json) = read_file(&self.path).map_err(KeySetError::Io)?;
        let (keys, skipped) = read_set(&json, self.allowed, &self.keys)?;
        if keys.is_empty() {
            tracing::warn!(path = %self.path.display(), "the key file holds no key that can be used");
        }
        self.keys = keys;
        self.stamp = stamp.has_settled(now).then_some(stamp);
        Ok(skipped)
    }
}

impl Stamp {
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

/// The stamp is taken before the bytes: what is written in between shows at the next look.
fn read_file(path: &PathBuf) -> io::Result<(Stamp, Vec<u8>)> {
    // Asked before it is opened: to open a pipe waits for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no regular file",
        ));
    }
    let file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut json = Vec::new();
    // One byte more than is allowed tells a file that is too large.
    file.take(MAX_BYTES + 1).read_to_end(&mut json)?;
    Ok((stamp, json))
}
