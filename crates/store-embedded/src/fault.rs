//! The faults of an open store.

use std::{any::Any, error::Error, io, sync::Arc};

use tower_revoke_core::StoreError;

/// Why a read or a commit failed. Every call that shared a commit gets a clone.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("there is no room left for the store's files")]
    Full(#[source] Arc<io::Error>),
    #[error("the store's files could not be read or written")]
    Storage(#[source] Arc<fjall::Error>),
    /// A commit failed. What the journal has of it is unknown, also after another flush: the kernel
    /// may drop dirty pages and mark them clean.
    #[error("the disk could not keep what was written: mend the disk and start the program again")]
    NotDurable(#[source] Arc<fjall::Error>),
    #[error("the store's files could not be opened again")]
    Closed(#[source] Arc<crate::EmbeddedStoreError>),
    #[error("the store's files are damaged: {0}")]
    Damaged(String),
    #[error("the work on the store's files was cut off")]
    Ended,
}

impl Fault {
    /// A panic of fjall, which in places asserts what it reads.
    pub(crate) fn of_panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Damaged(text.unwrap_or_else(|| "a check failed".to_owned()))
    }
}

/// Returns the error of the operating system behind another one.
pub(crate) fn io_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    match error.downcast_ref() {
        Some(error) => Some(error),
        None => io_error(error.source()?),
    }
}

/// Returns whether there is no space: on the disk, in the quota, or below the file size limit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<fjall::Error> for Fault {
    fn from(error: fjall::Error) -> Self {
        match io_error(&error) {
            Some(cause) if is_full(cause) => Self::Full(Arc::new(cause.kind().into())),
            Some(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Damaged("a file ends too early".to_owned())
            }
            None if !matches!(error, fjall::Error::Poisoned | fjall::Error::Locked) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Storage(Arc::new(error)),
        }
    }
}

impl From<postcard::Error> for Fault {
    fn from(error: postcard::Error) -> Self {
        Self::Damaged(format!("a row can't be read: {error}"))
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.into())
    }
}
