//! The memory of a table, in large pages where the system has some.
//!
//! With ten million keys, each question would else wait for two places that no cache holds: where
//! the page is, and what stands there.

use std::ops::{Deref, DerefMut};

#[cfg(target_os = "linux")]
use memmap2::{Advice, MmapMut};

use super::packed::BYTES;

type Slot = [u8; BYTES];

/// Slots, all empty at first.
#[derive(Debug, Default)]
pub(super) struct Slots {
    memory: Memory,
    count: usize,
}

#[derive(Debug)]
enum Memory {
    Heap(Vec<u8>),
    /// From where a large page begins.
    #[cfg(target_os = "linux")]
    Mapped(MmapMut, usize),
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl Slots {
    pub(super) fn empty(count: usize) -> Self {
        let memory = Memory::zeroed(count * BYTES);
        Self { memory, count }
    }
}

impl Deref for Slots {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        let bytes = match &self.memory {
            Memory::Heap(bytes) => bytes,
            #[cfg(target_os = "linux")]
            Memory::Mapped(bytes, first) => &bytes[*first..],
        };
        &bytes.as_chunks().0[..self.count]
    }
}

impl DerefMut for Slots {
    fn deref_mut(&mut self) -> &mut [Slot] {
        let bytes = match &mut self.memory {
            Memory::Heap(bytes) => bytes.as_mut_slice(),
            #[cfg(target_os = "linux")]
            Memory::Mapped(bytes, first) => &mut bytes[*first..],
        };
        &mut bytes.as_chunks_mut().0[..self.count]
    }
}

impl Memory {
    fn zeroed(bytes: usize) -> Self {
        #[cfg(target_os = "linux")]
        if let Some(mapped) = large_pages(bytes) {
            return mapped;
        }
        Self::Heap(vec![0; bytes])
    }
}

/// `None` where it would be of no use. What the system doesn't back with large pages, it backs with
/// others; what is never touched takes none.
#[cfg(target_os = "linux")]
fn large_pages(bytes: usize) -> Option<Memory> {
    const LARGE: usize = 2 << 20;
    if bytes < LARGE {
        return None;
    }
    let mapped = MmapMut::map_anon(bytes.checked_add(LARGE)?).ok()?;
    let begins = mapped.as_ptr().addr();
    let first = begins.next_multiple_of(LARGE) - begins;
    // Not the last one, of which only a part is needed.
    let _ = mapped.advise_range(Advice::HugePage, first, bytes / LARGE * LARGE);
    Some(Memory::Mapped(mapped, first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_empty_and_keep_what_is_written() {
        for count in [0, 1, 64, 100_000, 300_000] {
            let mut slots = Slots::empty(count);
            assert_eq!(slots.len(), count);
            assert!(slots.iter().all(|slot| *slot == [0; BYTES]));
            for (at, slot) in slots.iter_mut().enumerate() {
                slot[..8].copy_from_slice(&at.to_le_bytes());
            }
            let written = slots.iter().enumerate();
            assert!(
                written
                    .into_iter()
                    .all(|(at, slot)| slot[..8] == at.to_le_bytes())
            );
        }
    }
}
