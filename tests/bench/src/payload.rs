//! The bytes that are appended: they look random, cost nothing while the clock runs, and are known again when read.

/// How far apart the places are where entries take their bytes from.
const PLACES: u64 = 1 << 16;

/// Entries of one size; each is a window into the same random bytes, its place given by group and index.
#[derive(Debug)]
pub(crate) struct Payload {
    random: Vec<u8>,
    entry_bytes: usize,
}

impl Payload {
    pub(crate) fn new(entry_bytes: usize) -> Payload {
        let mut random = vec![0; entry_bytes + PLACES as usize];
        fastrand::Rng::with_seed(0x6475_7261_6d65_6e21).fill(&mut random);
        Payload { random, entry_bytes }
    }

    pub(crate) fn entry_bytes(&self) -> usize {
        self.entry_bytes
    }

    /// The data of an entry.
    pub(crate) fn entry(&self, group: u64, index: u64) -> &[u8] {
        let place = (index.wrapping_mul(40_503) ^ group.wrapping_mul(0x9e37_79b9)) % PLACES;
        &self.random[place as usize..][..self.entry_bytes]
    }

    /// Fills `entries` with `count` entries from `first` on.
    pub(crate) fn batch<'a>(&'a self, group: u64, first: u64, count: u64, entries: &mut Vec<&'a [u8]>) {
        entries.clear();
        entries.extend((first..first + count).map(|index| self.entry(group, index)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_index_and_group_differ() {
        let payload = Payload::new(256);
        for index in 1..1000 {
            assert_ne!(payload.entry(0, index), payload.entry(0, index + 1));
            assert_ne!(payload.entry(index, 1), payload.entry(index + 1, 1));
        }
    }
}
