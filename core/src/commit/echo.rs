//! What one flush covers, collected for the echo.
#![forbid(unsafe_code)]

use crate::format::directory::{RECORD_BYTES, Record};
use crate::format::merged::Merged;
use crate::format::supplement::{ECHO_BYTES_MAX, Echo, Link};

/// The operations of batches that no batch repeats yet, merged.
#[derive(Debug, Default)]
pub(super) struct Interval {
    from: u64,
    through: u64,
    merged: Merged,
    /// The link of the segment that these batches begin, with its number.
    link: Option<(u64, Link)>,
    /// What the batches took on the disk.
    batch_bytes: u64,
}

impl Interval {
    /// Does it hold no batch?
    pub(super) fn is_empty(&self) -> bool {
        self.through == 0
    }

    /// Is there nothing in it that would be lost if it were not repeated? A batch without records did nothing, and says so.
    pub(super) fn has_nothing_to_tell(&self) -> bool {
        self.merged.records.is_empty() && self.link.is_none()
    }

    /// What repeating this takes beside the fixed part of an echo.
    pub(super) fn bytes(&self) -> u64 {
        (self.merged.records.len() * RECORD_BYTES) as u64
    }

    pub(super) fn add(&mut self, sequence: u64, records: &[Record], batch_bytes: u64, link: Option<(u64, Link)>) {
        self.from = if self.is_empty() { sequence } else { self.from };
        self.through = sequence;
        self.batch_bytes += batch_bytes;
        self.link = self.link.or(link);
        for record in records {
            self.merged.add(record.identity());
        }
    }

    /// Adds what the batches behind these did.
    pub(super) fn append(&mut self, later: Interval) {
        if self.is_empty() {
            *self = later;
        } else if !later.is_empty() {
            self.add(later.through, &later.merged.records, later.batch_bytes, later.link);
        }
    }

    /// The echo of all this, which is then forgotten. None if there is nothing to repeat.
    pub(super) fn take(&mut self) -> Option<Echo> {
        if self.is_empty() {
            return None;
        }
        let interval = std::mem::take(self);
        let too_large = interval.bytes() > ECHO_BYTES_MAX && interval.bytes() > interval.batch_bytes / 8;
        Some(Echo {
            from: interval.from,
            through: interval.through,
            link: interval.link,
            records: (!too_large).then_some(interval.merged.records),
        })
    }
}
