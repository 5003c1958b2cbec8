//! The folder: whose it is, who has it open, and what was acknowledged in it.
//!
//! A file of our own beside fjall's folder says all that. It is locked while the store is open.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Mutex,
};

use fjall::{Database, KeyspaceCreateOptions};

use crate::{
    EmbeddedStoreError,
    fault::{Fault, is_full},
    rows::{GROUP, GroupHead, group_of},
    shared::{Open, State, locked},
};

/// The version of the schema. Must be raised with every change that an older release would misread.
const SCHEMA: u32 = 1;

/// The version of fjall's files, as its version file has it.
const FJALL_FORMAT: u8 = 3;

/// Our file: [`MAGIC`], [`SCHEMA`], the name of the store, and the number of the last acknowledged
/// group, followed by its complement.
const LEDGER: &str = "tower-revoke";
const MAGIC: &[u8; 12] = b"tower-revoke";
const ACKNOWLEDGED_AT: u64 = 32;
const LEDGER_LEN: usize = 48;

/// The folder of fjall.
const DATA: &str = "data";

/// How much is gathered in memory before it is written to the tree. What is in memory is in the
/// journal too, and is read from there at the next start.
const GATHERED: u64 = 16 << 20;

/// One thread writes to the tree, the other compacts it.
const WORKERS: usize = 2;

#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// The random name of the store.
    pub(crate) store: [u8; 16],
    cache_bytes: u64,
    ledger: Mutex<File>,
}

impl Folder {
    /// Creates the folder if it doesn't exist, checks whose it is, and locks it.
    pub(crate) fn begin(path: PathBuf, cache_bytes: u64) -> Result<Self, EmbeddedStoreError> {
        let failed = |error| failed(&path, error);
        match fs::create_dir(&path) {
            Ok(()) => sync_folder(path.parent().unwrap_or(&path)).map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
        let foreign = || EmbeddedStoreError::Foreign { path: path.clone() };
        if !path.is_dir() {
            return Err(foreign());
        }
        let ledger = path.join(LEDGER);
        if !ledger.exists() && fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(foreign());
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&ledger).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(EmbeddedStoreError::Locked { path });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let store = match &bytes[..] {
            // Nothing was written to a folder before its ledger was complete.
            [] | [0, ..] if !path.join(DATA).exists() => {
                let store = random().map_err(failed)?;
                let schema = SCHEMA.to_be_bytes();
                let bytes = [&MAGIC[..], &schema, &store, &mark(0)].concat();
                file.rewind().map_err(failed)?;
                file.write_all(&bytes).map_err(failed)?;
                file.sync_all().map_err(failed)?;
                sync_folder(&path).map_err(failed)?;
                store
            }
            bytes => {
                let Some((magic, rest)) = bytes.split_first_chunk() else {
                    return Err(foreign());
                };
                let (true, Some((schema, rest))) = (magic == MAGIC, rest.split_first_chunk())
                else {
                    return Err(foreign());
                };
                let found = u32::from_be_bytes(*schema);
                if found > SCHEMA {
                    return Err(EmbeddedStoreError::Newer {
                        path,
                        what: "schema",
                        found,
                        known: SCHEMA,
                    });
                }
                match rest.first_chunk() {
                    Some(store) if bytes.len() == LEDGER_LEN => *store,
                    _ => return Err(corrupt(&path, "its ledger has the wrong length")),
                }
            }
        };
        Ok(Self {
            path,
            store,
            cache_bytes,
            ledger: Mutex::new(file),
        })
    }

    /// Opens the tree, and checks that all acknowledged groups are there.
    pub(crate) fn open(&self) -> Result<Open, EmbeddedStoreError> {
        let acknowledged = self.acknowledged()?;
        let data = self.path.join(DATA);
        let version = data.join("version");
        if !version.exists() {
            if acknowledged > 0 {
                return Err(self.corrupt("its data are missing"));
            }
            // A start that was cut off. fjall can't continue it.
            if data.exists() {
                fs::remove_dir_all(&data).map_err(|error| self.failed(error))?;
            }
        } else if let Ok([b'F', b'J', b'L', found]) = fs::read(&version).as_deref()
            && *found > FJALL_FORMAT
        {
            return Err(EmbeddedStoreError::Newer {
                path: self.path.clone(),
                what: "file format",
                found: (*found).into(),
                known: FJALL_FORMAT.into(),
            });
        }
        // fjall asserts some of what it reads.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_data(&data)));
        let opened = opened.unwrap_or_else(|panic| Err(Fault::of_panic(panic.as_ref())));
        let open = opened.map_err(|fault| self.rejected(fault))?;
        let last = locked(&open.state).last;
        if last < acknowledged {
            let missing = acknowledged - last;
            return Err(self.corrupt(format!("its last {missing} groups of writes are missing")));
        }
        Ok(open)
    }

    fn open_data(&self, data: &Path) -> Result<Open, Fault> {
        let database = Database::builder(data)
            .cache_size(self.cache_bytes)
            .worker_threads(WORKERS)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(GATHERED);
        let rows = database.keyspace("rows", options)?;
        let mut state = State::default();
        for row in rows.prefix([GROUP]) {
            let (key, row) = row.into_inner()?;
            let (group, part) = group_of(&key)?;
            if part > 0 {
                continue;
            }
            let (head, _) = GroupHead::read(&row)?;
            if state.last == 0 {
                (state.first, state.first_events) = (group, head.events);
            } else if group != state.last + 1 {
                return Err(Fault::Damaged(format!(
                    "group {} is missing",
                    state.last + 1
                )));
            }
            state.last = group;
            state.changes = head.began_at + u64::from(head.events);
            state.entries = head.entries;
            state.purged_before = head.purged_before;
        }
        Ok(Open {
            database,
            rows,
            state: Mutex::new(state),
        })
    }

    /// Returns the number of the last group that was acknowledged.
    fn acknowledged(&self) -> Result<u64, EmbeddedStoreError> {
        let mut bytes = [0; 16];
        let mut file = locked(&self.ledger);
        let read = file.seek(SeekFrom::Start(ACKNOWLEDGED_AT));
        let read = read.and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|error| self.failed(error))?;
        let group = (u128::from_be_bytes(bytes) >> 64) as u64;
        match mark(group) == bytes {
            true => Ok(group),
            false => Err(self.corrupt("its ledger is invalid")),
        }
    }

    /// Records that a group is on the disk.
    ///
    /// It is not flushed, which would cost as much as the group itself. After a power cut the
    /// number may be too low, but never too high.
    pub(crate) fn acknowledge(&self, group: u64) -> io::Result<()> {
        let mut file = locked(&self.ledger);
        file.seek(SeekFrom::Start(ACKNOWLEDGED_AT))?;
        file.write_all(&mark(group))
    }

    pub(crate) fn failed(&self, error: io::Error) -> EmbeddedStoreError {
        failed(&self.path, error)
    }

    pub(crate) fn rejected(&self, fault: Fault) -> EmbeddedStoreError {
        match fault {
            Fault::Full(error) => self.failed(error.kind().into()),
            Fault::Damaged(what) => self.corrupt(what),
            Fault::Storage(error) => match crate::fault::io_error(&*error) {
                Some(cause) => self.failed(cause.kind().into()),
                None if matches!(*error, fjall::Error::Locked) => EmbeddedStoreError::Locked {
                    path: self.path.clone(),
                },
                None => io_failed(&self.path, error),
            },
            other => io_failed(&self.path, other),
        }
    }

    fn corrupt(&self, what: impl Into<String>) -> EmbeddedStoreError {
        corrupt(&self.path, what)
    }
}

pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// Returns the number of a group with its complement, which makes a torn write invalid.
fn mark(group: u64) -> [u8; 16] {
    (u128::from(group) << 64 | u128::from(!group)).to_be_bytes()
}

/// Syncs a folder, without which a power cut can lose the name of a new file in it.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let path = match path {
        path if path == Path::new("") => Path::new("."),
        path => path,
    };
    File::open(path)?.sync_all()
}

fn corrupt(path: &Path, what: impl Into<String>) -> EmbeddedStoreError {
    EmbeddedStoreError::Corrupt {
        path: path.to_owned(),
        what: what.into(),
    }
}

fn io_failed(path: &Path, source: impl Into<tower_revoke_core::BoxError>) -> EmbeddedStoreError {
    EmbeddedStoreError::Io {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn failed(path: &Path, source: io::Error) -> EmbeddedStoreError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            EmbeddedStoreError::ReadOnly { path, source }
        }
        _ if is_full(&source) => EmbeddedStoreError::Full { path, source },
        _ => io_failed(&path, source),
    }
}
