//! A JWKS file that is read again when it changes.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tower_revoke_core::{Clock, UnixTime};

use super::{
    jwk::{EMPTIED_MAX_AGE, MAX_BYTES, Skipped, read_set},
    key::Key,
};
use crate::{algorithm::Algorithm, error::KeySetError};

/// A file whose modification time is more recent than this may change again without a new one: the
/// clocks of file systems are coarse.
const TIMESTAMP_GRANULARITY: Duration = Duration::from_secs(2);

pub(crate) struct KeyFile {
    path: PathBuf,
    allowed: Arc<[Algorithm]>,
    keys: Vec<Arc<Key>>,
    /// The version that `keys` were read from; `None` if the file must be read again.
    version: Option<FileVersion>,
    is_failing: bool,
    /// The uptime at which the file was first seen without a usable key.
    emptied_at: Option<Duration>,
}

/// Identifies the content of a file, also when another file replaces it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    modified: Option<SystemTime>,
    len: u64,
    node: (u64, u64),
}

impl KeyFile {
    /// Reads the file, which must be there, and be a key set.
    pub(crate) fn open(
        path: PathBuf,
        allowed: Arc<[Algorithm]>,
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

    /// Whether keys may be missing because the file can't be used now.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing
    }

    pub(super) fn keys(&self) -> &[Arc<Key>] {
        &self.keys
    }

    /// Reads the file again if it has changed. A file that can't be used changes nothing, until it
    /// has had no usable key for too long.
    pub(super) fn refresh(&mut self, clock: &Clock) {
        self.read_if_changed(clock);
        let is_over = |at| clock.uptime().saturating_sub(at) >= EMPTIED_MAX_AGE;
        if self.emptied_at.is_some_and(is_over) && !self.keys.is_empty() {
            self.keys.clear();
            tracing::error!(
                target: "tower_revoke::jwt",
                path = %self.path.display(),
                "the key file has had no usable key for too long; tokens signed with its former keys \
                 are rejected with 503"
            );
        }
    }

    fn read_if_changed(&mut self, clock: &Clock) {
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
                    tracing::info!(
                        target: "tower_revoke::jwt",
                        path = %self.path.display(),
                        "the key file can be used again"
                    );
                }
            }
            Err(error) => {
                if matches!(error, KeySetError::NoUsableKey) {
                    self.emptied_at.get_or_insert(clock.uptime());
                } else {
                    self.version = None;
                }
                // Once, not at every refresh.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(
                        target: "tower_revoke::jwt",
                        path = %self.path.display(),
                        error = &error as &dyn std::error::Error,
                        "the key file can't be used; its former keys stay in use"
                    );
                }
            }
        }
    }

    fn read(&mut self, now: UnixTime) -> Result<(Vec<Arc<Key>>, Vec<Skipped>), KeySetError> {
        let (version, json) = read_file(&self.path).map_err(KeySetError::Io)?;
        let read = read_set(&json, &self.allowed, &self.keys)?;
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
            .is_some_and(|at| at + TIMESTAMP_GRANULARITY < Duration::from_secs(now.as_secs()))
    }
}

/// The version is read before the content: a write in between then shows at the next refresh.
fn read_file(path: &PathBuf) -> io::Result<(FileVersion, Vec<u8>)> {
    // Checked before it is opened: opening a pipe blocks until it has a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let file = File::open(path)?;
    let version = FileVersion::of(&file.metadata()?);
    let mut json = Vec::new();
    // One byte more than is allowed shows that a file is too large.
    file.take(MAX_BYTES + 1).read_to_end(&mut json)?;
    Ok((version, json))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file may be written again within one tick of its timestamp.
    #[test]
    fn a_version_has_settled_once_no_later_write_can_have_its_timestamp() {
        let version = FileVersion {
            modified: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(100)),
            len: 0,
            node: (0, 0),
        };
        for (now, expected) in [(101, false), (102, false), (103, true)] {
            let has_settled = version.has_settled(UnixTime::from_secs(now));
            assert_eq!(has_settled, expected, "{now}");
        }
    }
}
