//! What is in flight: disk writes and flushes that were issued and have not returned.
//!
//! They may return in any order; what they achieve counts in the order in which they were issued. A write counts as
//! written when it and all before it have returned, a flush as done likewise: of two flushes that are under way the first
//! may be the one that is told of an error about the bytes of both.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

/// So many calls to the disk may be under way at once.
pub(super) const CALLS_MAX: usize = 2;

/// A call to the disk that was issued, and has not returned, or has one before it that has not.
#[derive(Debug, Clone, Copy)]
struct Call {
    /// The last batch that it is about.
    through: u64,
    /// Of a write: may it share blocks with other buffered writes?
    packed: bool,
    has_returned: bool,
}

/// Calls of one kind, in the order in which they were issued.
#[derive(Debug, Default)]
struct Calls(VecDeque<Call>);

impl Calls {
    fn begin(&mut self, through: u64, packed: bool) {
        debug_assert!(self.0.back().is_none_or(|last| last.through < through), "issued out of order: {self:?}");
        self.0.push_back(Call { through, packed, has_returned: false });
    }

    /// A call has returned. The last batch of the last call that has, as have all before it; none if nothing new counts.
    fn end(&mut self, through: u64) -> Option<u64> {
        let call = self.0.iter_mut().find(|call| call.through == through);
        debug_assert!(call.is_some(), "never issued: {through}");
        call.into_iter().for_each(|call| call.has_returned = true);
        let done = self.0.iter().take_while(|call| call.has_returned).count();
        self.0.drain(..done).next_back().map(|call| call.through)
    }

    fn under_way(&self) -> impl Iterator<Item = &Call> {
        self.0.iter().filter(|call| !call.has_returned)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Flight {
    writes: Calls,
    flushes: Calls,
}

impl Flight {
    pub(super) fn begin_write(&mut self, through: u64, packed: bool) {
        self.writes.begin(through, packed);
    }

    /// A write has returned. How far everything is written now, if that has changed.
    pub(super) fn end_write(&mut self, through: u64) -> Option<u64> {
        self.writes.end(through)
    }

    pub(super) fn begin_flush(&mut self, through: u64) {
        self.flushes.begin(through, false);
    }

    /// A flush has returned. How far everything is durable now, if that has changed.
    pub(super) fn end_flush(&mut self, through: u64) -> Option<u64> {
        self.flushes.end(through)
    }

    /// Is as much under way as may be?
    pub(super) fn is_full(&self) -> bool {
        self.calls() >= CALLS_MAX
    }

    /// Is nothing under way?
    pub(super) fn is_idle(&self) -> bool {
        self.calls() == 0
    }

    fn calls(&self) -> usize {
        self.writes.under_way().count() + self.flushes.under_way().count()
    }

    /// Are there writes under way, all of them into blocks that others may share?
    pub(super) fn is_nothing_but_packed(&self) -> bool {
        self.is_packed_write_under_way() && self.writes.under_way().all(|write| write.packed)
    }

    /// Is a write under way into a block that others may share?
    pub(super) fn is_packed_write_under_way(&self) -> bool {
        self.writes.under_way().any(|write| write.packed)
    }
}
