//! Memory of large batches that were written, for those to come. Memory that goes back to the system with each batch comes
//! back page by page, each of them zeroed first: for a large entry that takes longer than copying it.
#![forbid(unsafe_code)]

use crate::registry::lock;
use std::fmt;
use std::sync::Mutex;

/// A smaller batch does as well with what the allocator gives it, in bytes.
const BYTES_MIN: usize = 16 << 10;
/// What is kept at most, in bytes.
const KEPT_BYTES_MAX: usize = 8 << 20;

#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    /// Empty memory for so many bytes, or less: what fits best of what is there.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes < BYTES_MIN {
            return Vec::new();
        }
        let mut kept = lock(&self.0);
        let fits = |memory: &Vec<u8>| (memory.capacity() < bytes, memory.capacity());
        let place = (0..kept.len()).min_by_key(|place| fits(&kept[*place]));
        place.map(|place| kept.swap_remove(place)).unwrap_or_default()
    }

    /// Takes memory back, unless there is enough.
    pub(super) fn give(&self, mut memory: Vec<u8>) {
        let mut kept = lock(&self.0);
        let sum: usize = kept.iter().map(Vec::capacity).sum();
        if memory.capacity() >= BYTES_MIN && sum + memory.capacity() <= KEPT_BYTES_MAX {
            memory.clear();
            kept.push(memory);
        }
    }
}

/// No payloads: what is printed ends in logs.
impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spare").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_best_comes_back_empty() {
        let spare = Spare::default();
        for bytes in [1 << 20, 64 << 10, 256 << 10] {
            spare.give(vec![7; bytes]);
        }
        assert_eq!(spare.take(BYTES_MIN - 1).capacity(), 0);
        let taken = [65 << 10, 20 << 10, 2 << 20].map(|bytes| spare.take(bytes));
        assert_eq!(taken.each_ref().map(Vec::capacity), [256 << 10, 64 << 10, 1 << 20]);
        assert!(taken.iter().all(Vec::is_empty));
        assert_eq!(spare.take(1 << 20).capacity(), 0);
    }

    #[test]
    fn neither_small_memory_nor_more_than_enough_is_kept() {
        let spare = Spare::default();
        spare.give(vec![7; BYTES_MIN - 1]);
        assert_eq!(spare.take(BYTES_MIN).capacity(), 0);
        (0..20).for_each(|_| spare.give(vec![7; 1 << 20]));
        assert_eq!(lock(&spare.0).len(), KEPT_BYTES_MAX >> 20);
    }
}
