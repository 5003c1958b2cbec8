//! The file as redb accesses it, with a record of whether a flush ever failed.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{StorageBackend, backends::FileBackend};

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) file: FileBackend,
    pub(crate) health: Arc<Health>,
}

/// Whether the disk can be relied on. Shared, because redb owns the [`Disk`] and drops it when the
/// file is closed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    sync_failed: AtomicBool,
    #[cfg(test)]
    pub(crate) harm: std::sync::Mutex<tests::DiskFault>,
}

impl Health {
    /// Returns whether a flush ever failed.
    ///
    /// After that nobody knows which pages are on the disk, and a repeated flush may report success
    /// for pages that the kernel has already dropped.
    pub(crate) fn sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::SeqCst)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        #[cfg(test)]
        self.health.may(|harm| harm.read)?;
        self.file.read(offset, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        #[cfg(test)]
        if len > self.file.len()? {
            self.health.may(|harm| harm.grow)?;
        }
        self.file.set_len(len)
    }

    fn sync_data(&self, eventual: bool) -> io::Result<()> {
        #[cfg(test)]
        if let Err(error) = self.health.may(|harm| harm.sync) {
            self.health.sync_failed.store(true, Ordering::SeqCst);
            return Err(error);
        }
        let synced = self.file.sync_data(eventual);
        if synced.is_err() {
            self.health.sync_failed.store(true, Ordering::SeqCst);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        self.health.may(|harm| harm.write)?;
        self.file.write(offset, data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{io, sync::PoisonError};

    use super::Health;

    /// Which operations fail, and with which errors.
    #[derive(Debug, Default)]
    pub(crate) struct DiskFault {
        pub(crate) read: Option<io::ErrorKind>,
        pub(crate) write: Option<io::ErrorKind>,
        pub(crate) grow: Option<io::ErrorKind>,
        pub(crate) sync: Option<io::ErrorKind>,
    }

    impl Health {
        pub(crate) fn set(&self, harm: DiskFault) {
            *self.harm.lock().unwrap_or_else(PoisonError::into_inner) = harm;
        }

        pub(super) fn may(
            &self,
            what: impl FnOnce(&DiskFault) -> Option<io::ErrorKind>,
        ) -> io::Result<()> {
            let harm = self.harm.lock().unwrap_or_else(PoisonError::into_inner);
            what(&harm).map_or(Ok(()), |kind| Err(kind.into()))
        }
    }
}
