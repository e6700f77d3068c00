//! Chance from a seed, so that what a test did can be done again.
#![allow(dead_code, reason = "each test uses its part")]

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `bound`, which must not be zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in `one_in` times.
    pub(crate) fn once_in(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let place = self.below(from.len() as u64);
        from[usize::try_from(place).expect("it is below a usize")]
    }
}

/// The data of an entry: nothing but a function of what it is for, so that every byte can be compared.
pub(crate) fn data_of(bytes: usize, what: &[u64]) -> Vec<u8> {
    let mut random = Random::new(what.iter().fold(0, |mixed, part| Random::new(mixed ^ part).next()));
    let mut data = Vec::with_capacity(bytes + 8);
    while data.len() < bytes {
        data.extend_from_slice(&random.next().to_le_bytes());
    }
    data.truncate(bytes);
    data
}
