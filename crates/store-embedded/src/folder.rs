//! The folder of a store: its format, its lock, and the last acknowledged group.
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
    fault::Fault,
    rows::{GROUP, GroupHead, group_of},
    shared::{Open, State, locked},
};

/// The version of the schema. Must be raised with every change that an older release would misread.
const SCHEMA: u32 = 1;

/// The version of fjall's files, as its version file has it.
const FJALL_FORMAT: u32 = 3;

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
    pub(crate) fn begin(path: PathBuf, cache_bytes: u64) -> Result<Self, Fault> {
        match fs::create_dir(&path) {
            Ok(()) => sync_folder(path.parent().unwrap_or(&path))?,
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
            Err(_) if !path.is_dir() => return Err(Fault::Foreign),
            Err(_) => {}
        }
        let ledger = path.join(LEDGER);
        if !ledger.exists() && fs::read_dir(&path)?.next().is_some() {
            return Err(Fault::Foreign);
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&ledger)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Fault::Locked,
            TryLockError::Error(error) => error.into(),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // Nothing is written to a folder before its ledger is complete.
        if bytes.iter().all(|byte| *byte == 0) && !path.join(DATA).exists() {
            let schema = SCHEMA.to_be_bytes();
            bytes = [&MAGIC[..], &schema, &random::<16>()?, &mark(0)].concat();
            file.rewind()?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            sync_folder(&path)?;
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(Fault::Foreign)?;
        let (schema, rest) = rest.split_first_chunk().ok_or(Fault::Foreign)?;
        check_version("schema", u32::from_be_bytes(*schema), SCHEMA)?;
        let store = rest.first_chunk().filter(|_| bytes.len() == LEDGER_LEN);
        let store = store.ok_or_else(|| Fault::damaged("its ledger has the wrong length"))?;
        Ok(Self {
            path,
            store: *store,
            cache_bytes,
            ledger: Mutex::new(file),
        })
    }

    /// Opens the tree, and checks that all acknowledged groups are there.
    pub(crate) fn open(&self) -> Result<Open, Fault> {
        let acknowledged = self.acknowledged()?;
        let data = self.path.join(DATA);
        match fs::read(data.join("version")).as_deref() {
            Ok([b'F', b'J', b'L', found]) => {
                check_version("file format", (*found).into(), FJALL_FORMAT)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && acknowledged == 0 => {
                // What a start that was cut off has left can't be continued by fjall.
                if data.exists() {
                    fs::remove_dir_all(&data)?;
                }
            }
            _ => return Err(Fault::damaged("its data are missing")),
        }
        // fjall asserts some of what it reads.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open_data(&data)));
        let open = opened.unwrap_or_else(|panic| Err(Fault::of_panic(panic.as_ref())))?;
        let last = locked(&open.state).last;
        match acknowledged.saturating_sub(last) {
            0 => Ok(open),
            lost => Err(Fault::Damaged(format!(
                "its last {lost} groups are missing"
            ))),
        }
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
                return Err(Fault::Damaged(format!("a group before {group} is missing")));
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
    fn acknowledged(&self) -> Result<u64, Fault> {
        let mut bytes = [0; 16];
        let mut file = locked(&self.ledger);
        file.seek(SeekFrom::Start(ACKNOWLEDGED_AT))?;
        file.read_exact(&mut bytes)?;
        let group = (u128::from_be_bytes(bytes) >> 64) as u64;
        match mark(group) == bytes {
            true => Ok(group),
            false => Err(Fault::damaged("its ledger is invalid")),
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
}

fn check_version(what: &'static str, found: u32, known: u32) -> Result<(), Fault> {
    match found > known {
        true => Err(Fault::Newer { what, found, known }),
        false => Ok(()),
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
    match path {
        _ if !cfg!(unix) => Ok(()),
        path if path == Path::new("") => File::open(".")?.sync_all(),
        path => File::open(path)?.sync_all(),
    }
}
