//! Imports exported revocations.

use std::mem;

use tower_revoke_core::{BoxError, Change, Revocation, StoreError, internal::Audit};

use super::{
    PAGE,
    line::{self, Entry, LineError},
};
use crate::engine::AnyEngine;

/// Why an import stopped. All lines before the reported one have been stored; importing them again
/// has no effect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The line is not a revocation.
    #[error("line {line} is no revocation")]
    Malformed {
        /// The line number, starting at 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
    /// The line was written by a later version of this crate.
    #[error("line {line} is of version {version}, which is not known here")]
    Version {
        /// The line number, starting at 1.
        line: u64,
        /// The version of the line.
        version: u32,
    },
    /// The store failed to keep the lines from this one on, or some of them.
    #[error("the lines from {line} on were not kept")]
    Store {
        /// The line number, starting at 1.
        line: u64,
        /// The error of the store.
        #[source]
        source: StoreError,
    },
}

/// Lines that were read and are not stored yet.
struct Batch {
    /// The number of the first line.
    first: u64,
    revocations: Vec<Revocation>,
    digests: Vec<Change>,
}

impl Batch {
    fn new(first: u64) -> Self {
        Self {
            first,
            revocations: Vec::new(),
            digests: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.revocations.len() + self.digests.len()
    }

    async fn keep(self, engine: &dyn AnyEngine) -> Result<u64, ImportError> {
        let kept = self.len() as u64;
        let failed = |source| ImportError::Store {
            line: self.first,
            source,
        };
        if !self.revocations.is_empty() {
            engine.revoke_all(self.revocations).await.map_err(failed)?;
        }
        if !self.digests.is_empty() {
            engine.restore(self.digests).await.map_err(failed)?;
        }
        Ok(kept)
    }
}

pub(crate) async fn import<L: AsRef<str>>(
    engine: &dyn AnyEngine,
    lines: impl Iterator<Item = L>,
) -> Result<u64, ImportError> {
    let mut audit = Audit::new("list");
    audit.action("import");
    let mut kept = 0;
    let result = keep_all(engine, lines, &mut kept).await;
    audit.count(kept);
    match &result {
        Ok(()) => audit.done(),
        Err(error) => audit.failed(error),
    }
    result.map(|()| kept)
}

async fn keep_all<L: AsRef<str>>(
    engine: &dyn AnyEngine,
    lines: impl Iterator<Item = L>,
    kept: &mut u64,
) -> Result<(), ImportError> {
    let mut number = 0;
    let mut batch = Batch::new(1);
    for text in lines {
        number += 1;
        let text = text.as_ref().trim();
        if text.is_empty() {
            continue;
        }
        let entry = match line::read(text) {
            Ok(entry) => entry,
            Err(error) => {
                // Store the lines before it first, as the error promises.
                *kept += batch.keep(engine).await?;
                return Err(match error {
                    LineError::Version(version) => ImportError::Version {
                        line: number,
                        version,
                    },
                    LineError::Malformed(source) => ImportError::Malformed {
                        line: number,
                        source,
                    },
                });
            }
        };
        match entry {
            Entry::Revocation(revocation) => batch.revocations.push(revocation),
            Entry::Digest(change) => batch.digests.push(change),
        }
        if batch.len() == PAGE {
            *kept += mem::replace(&mut batch, Batch::new(number + 1))
                .keep(engine)
                .await?;
        }
    }
    *kept += batch.keep(engine).await?;
    Ok(())
}
