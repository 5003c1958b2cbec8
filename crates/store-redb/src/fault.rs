//! The faults of an open file.

use std::{io, sync::Arc};

use tower_revoke_core::StoreError;

/// Why a transaction failed. Every call that shared the transaction gets a clone.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("there is no room left for the file")]
    Full(#[source] Arc<io::Error>),
    #[error("the file could not be read or written")]
    Storage(#[source] Arc<redb::Error>),
    #[error("a row of the file can't be read")]
    Row(#[from] postcard::Error),
    #[error("the file could not be opened again")]
    Closed(#[source] Arc<crate::RedbStoreError>),
    /// A flush failed. The kernel may then drop the dirty pages and mark them clean: reads from its
    /// cache still return the lost data, and the next flush reports success.
    #[error(
        "the disk could not keep what was written, and what the file now says can't be relied on: \
         mend the disk and start the program again"
    )]
    NotDurable,
    #[error("the file is damaged: {0}; start the program again, if need be with a backup")]
    Damaged(String),
    #[error("the thread that works on the file has ended")]
    Ended,
}

impl Fault {
    /// Converts to the error of the contract. `entries` is the number of entries in the file.
    pub(crate) fn tell(self, entries: u64) -> StoreError {
        match self {
            Self::Full(_) => StoreError::Full(entries),
            other => StoreError::Unavailable(Box::new(other)),
        }
    }

    /// A panic of redb, which asserts instead of checking what it reads from a damaged file.
    pub(crate) fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        Self::Damaged(words_of(panic))
    }
}

pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a check of its pages failed".to_owned())
}

/// Returns whether there is no space: on the disk, in the quota, or below the file size limit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<redb::Error> for Fault {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) if is_full(&error) => Self::Full(Arc::new(error)),
            redb::Error::Corrupted(what) => Self::Damaged(what),
            other => Self::Storage(Arc::new(other)),
        }
    }
}

macro_rules! from_redb {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for Fault {
            fn from(error: redb::$error) -> Self {
                redb::Error::from(error).into()
            }
        }
    )*};
}

from_redb!(StorageError TableError TransactionError CommitError CompactionError);
