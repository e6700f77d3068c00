//! Flushes of which several may be under way: what one covers is durable when it and all issued before it have returned.
//!
//! Those before it may belong to the segment before, without whose end nothing in the next one counts.

use std::collections::VecDeque;

#[derive(Default)]
pub(super) struct Flushes {
    /// In the order in which they were issued, from the first one that has not returned on.
    under_way: VecDeque<Flush>,
    /// The number of the first of them.
    first: u64,
    /// The last sequence number for which a flush was issued.
    issued: u64,
    durable: u64,
}

struct Flush {
    /// The last sequence number that it covers.
    covers: u64,
    returned: bool,
}

impl Flushes {
    /// The last sequence number for which a flush was issued.
    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Returns the number of the flush.
    pub(super) fn issue(&mut self, covers: u64) -> u64 {
        self.issued = self.issued.max(covers);
        self.under_way.push_back(Flush { covers, returned: false });
        self.first + self.under_way.len() as u64 - 1
    }

    pub(super) fn returned(&mut self, number: u64) {
        self.under_way[(number - self.first) as usize].returned = true;
        while let Some(Flush { covers, returned: true }) = self.under_way.front() {
            self.durable = self.durable.max(*covers);
            self.under_way.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_flush_covers_is_durable_when_those_before_it_have_returned() {
        let mut flushes = Flushes::default();
        let numbers = [3, 7, 9].map(|covers| flushes.issue(covers));
        assert_eq!((flushes.issued(), flushes.durable()), (9, 0));
        flushes.returned(numbers[1]);
        assert_eq!(flushes.durable(), 0);
        flushes.returned(numbers[0]);
        assert_eq!(flushes.durable(), 7);
        flushes.returned(numbers[2]);
        assert_eq!(flushes.durable(), 9);
    }

    #[test]
    fn numbers_go_on_when_earlier_flushes_are_done() {
        let mut flushes = Flushes::default();
        for covers in 1..100 {
            let number = flushes.issue(covers);
            flushes.returned(number);
            assert_eq!(flushes.durable(), covers);
        }
    }
}
