//! What can go wrong with the folder, when it is opened and afterwards.

use std::{any::Any, io, path::Path, sync::Arc};

use fjall::{Error, LsmError};
use tower_revoke_core::StoreError;

use crate::EmbeddedStoreError;

/// Why a read, a commit or an opening failed. Every call that shared a commit gets a clone.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("there is no room left for the store's files")]
    Full(#[source] Arc<io::Error>),
    #[error("the store's files can't be written")]
    ReadOnly(#[source] Arc<io::Error>),
    #[error("the store's files could not be read or written")]
    Storage(#[source] Arc<Error>),
    /// A commit failed. What the journal has of it is unknown, also after another flush: the kernel
    /// may drop dirty pages and mark them clean.
    #[error("the disk could not keep what was written: mend the disk and start the program again")]
    NotDurable(#[source] Arc<Error>),
    #[error("the store's files are damaged: {0}")]
    Damaged(String),
    #[error("the store's folder is open already")]
    Locked,
    #[error("the store's folder belongs to another program")]
    Foreign,
    #[error("the store's {what} is {found}, and this release knows {known}")]
    Newer {
        what: &'static str,
        found: u32,
        known: u32,
    },
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

    pub(crate) fn damaged(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }

    /// Converts to the error of opening a folder.
    pub(crate) fn of_folder(self, path: &Path) -> EmbeddedStoreError {
        let path = path.to_owned();
        let io = |error: Arc<io::Error>| io::Error::new(error.kind(), error);
        match self {
            Self::Full(error) => EmbeddedStoreError::Full {
                path,
                source: io(error),
            },
            Self::ReadOnly(error) => EmbeddedStoreError::ReadOnly {
                path,
                source: io(error),
            },
            Self::Locked => EmbeddedStoreError::Locked { path },
            Self::Foreign => EmbeddedStoreError::Foreign { path },
            Self::Damaged(what) => EmbeddedStoreError::Corrupt { path, what },
            Self::Newer { what, found, known } => EmbeddedStoreError::Newer {
                path,
                what,
                found,
                known,
            },
            other => EmbeddedStoreError::Io {
                path,
                source: other.into(),
            },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
                Self::Full(Arc::new(error))
            }
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::ReadOnly(Arc::new(error)),
            Kind::UnexpectedEof => Self::damaged("a file ends too early"),
            _ => Self::Storage(Arc::new(Error::Io(error))),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(error) | Error::Storage(LsmError::Io(error)) => error.into(),
            Error::Locked => Self::Locked,
            Error::Poisoned => Self::Storage(Arc::new(error)),
            other => Self::Damaged(other.to_string()),
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
