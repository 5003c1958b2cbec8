//! Opening and checking the file, and the errors of that.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{Builder, Database, DatabaseError, StorageError, backends::FileBackend};

use crate::{
    disk::{Disk, Health},
    error::RedbStoreError,
    fault::{Fault, is_full, words_of},
    schema::{self, Found, Identity},
};

/// The newest file format of redb that is supported, as it appears in each of its two headers.
const REDB_FORMAT: u8 = 3;

/// The path of the file, and how to open it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) cache_bytes: usize,
    pub(crate) health: Arc<Health>,
}

impl Place {
    /// Opens or creates the file, and records the opening in it.
    pub(crate) fn begin(&self) -> Result<(Database, Identity), RedbStoreError> {
        let db = self.open()?;
        let found = unwound(|| schema::begin(&db));
        match found.map_err(|fault| self.rejected(fault))? {
            Found::Ours(identity) => Ok((db, identity)),
            Found::Newer(found) => Err(RedbStoreError::Newer {
                path: self.path.clone(),
                what: "schema",
                found,
                known: schema::VERSION,
            }),
            Found::Foreign => Err(RedbStoreError::Foreign {
                path: self.path.clone(),
            }),
        }
    }

    /// Opens or creates the file, and repairs it after a crash.
    pub(crate) fn open(&self) -> Result<Database, RedbStoreError> {
        let is_new = !self.path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)
            .map_err(|error| self.failed(error))?;
        if is_new {
            self.keep_name().map_err(|error| self.failed(error))?;
        }
        if let Some(found) = self.newer_format(&file) {
            return Err(RedbStoreError::Newer {
                path: self.path.clone(),
                what: "file format",
                found: found.into(),
                known: REDB_FORMAT.into(),
            });
        }
        let disk = Disk {
            file: FileBackend::new(file).map_err(|error| self.not_opened(error))?,
            health: self.health.clone(),
        };
        let path = self.path.clone();
        let mut builder = Builder::new();
        builder
            .set_cache_size(self.cache_bytes)
            // The format that later releases of redb can read.
            .create_with_file_format_v3(true)
            .set_repair_callback(move |repair| {
                if repair.progress() == 0.0 {
                    tracing::warn!(
                        file = %path.display(),
                        "the file was not closed: it is checked before it is used"
                    );
                }
            });
        // redb checks the pages of a damaged file by assertions, which panic.
        let opened = catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(disk)));
        match opened {
            Ok(Ok(db)) => Ok(db),
            Ok(Err(error)) => Err(self.not_opened(error)),
            Err(panic) => Err(self.corrupt(words_of(panic.as_ref()))),
        }
    }

    /// Syncs the folder of a new file, without which a power cut can lose the file's name.
    fn keep_name(&self) -> io::Result<()> {
        if !cfg!(unix) {
            return Ok(());
        }
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }

    /// Returns the file's format if it is newer than supported. redb itself would report damage.
    fn newer_format(&self, mut file: &File) -> Option<u8> {
        let mut head = [0; 256];
        file.read_exact(&mut head).ok()?;
        let newest = head[64].max(head[192]);
        (head.starts_with(b"redb") && newest > REDB_FORMAT).then_some(newest)
    }

    pub(crate) fn bytes(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.path)?.len())
    }

    fn not_opened(&self, error: DatabaseError) -> RedbStoreError {
        let path = self.path.clone();
        match error {
            DatabaseError::DatabaseAlreadyOpen => RedbStoreError::Locked { path },
            // The file has no magic number, or is too short for one.
            DatabaseError::Storage(StorageError::Io(error))
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                RedbStoreError::Foreign { path }
            }
            DatabaseError::Storage(StorageError::Io(error)) => self.failed(error),
            DatabaseError::Storage(StorageError::Corrupted(what)) => self.corrupt(what),
            DatabaseError::UpgradeRequired(_) => RedbStoreError::Foreign { path },
            other => RedbStoreError::Io {
                path,
                source: Box::new(other),
            },
        }
    }

    fn failed(&self, error: io::Error) -> RedbStoreError {
        let path = self.path.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                RedbStoreError::ReadOnly {
                    path,
                    source: error,
                }
            }
            io::ErrorKind::UnexpectedEof => self.corrupt("it ends too early".to_owned()),
            _ if is_full(&error) => RedbStoreError::Full {
                path,
                source: error,
            },
            _ => RedbStoreError::Io {
                path,
                source: Box::new(error),
            },
        }
    }

    fn rejected(&self, fault: Fault) -> RedbStoreError {
        match fault {
            Fault::Full(error) => RedbStoreError::Full {
                path: self.path.clone(),
                source: io::Error::new(error.kind(), error),
            },
            Fault::Damaged(what) => self.corrupt(what),
            Fault::Row(error) => self.corrupt(error.to_string()),
            other => RedbStoreError::Io {
                path: self.path.clone(),
                source: Box::new(other),
            },
        }
    }

    fn corrupt(&self, what: String) -> RedbStoreError {
        RedbStoreError::Corrupt {
            path: self.path.clone(),
            what,
        }
    }
}

/// Runs work on the file, and converts a panic of redb over a damaged file to a fault.
pub(crate) fn unwound<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|panic| Err(Fault::of_panic(panic.as_ref())))
}
