//! What one flush covers, collected for the echo.
#![forbid(unsafe_code)]

use crate::format::directory::{RECORD_BYTES, Record};
use crate::format::supplement::{ECHO_BYTES_MAX, Echo, Link};
use std::collections::HashMap;

/// Among so few records the newest one of a group is looked for one by one.
const FEW_RECORDS: usize = 8;

/// The operations of batches that no batch repeats yet, merged.
#[derive(Debug, Default)]
pub(super) struct Interval {
    from: u64,
    through: u64,
    records: Vec<Record>,
    /// Where the newest record of each group stands in `records`: only that one may grow. Empty while there are few.
    newest: HashMap<u64, usize>,
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
        self.records.is_empty() && self.link.is_none()
    }

    /// What repeating this takes beside the fixed part of an echo.
    pub(super) fn bytes(&self) -> u64 {
        (self.records.len() * RECORD_BYTES) as u64
    }

    pub(super) fn add(&mut self, sequence: u64, records: &[Record], batch_bytes: u64, link: Option<(u64, Link)>) {
        self.from = if self.is_empty() { sequence } else { self.from };
        self.through = sequence;
        self.batch_bytes += batch_bytes;
        self.link = self.link.or(link);
        records.iter().for_each(|record| self.add_record(record));
    }

    /// Adds what the batches behind these did.
    pub(super) fn append(&mut self, later: Interval) {
        if self.is_empty() {
            *self = later;
        } else if !later.is_empty() {
            self.add(later.through, &later.records, later.batch_bytes, later.link);
        }
    }

    fn add_record(&mut self, record: &Record) {
        let newest = self.newest_of(record.group).map(|place| &mut self.records[place]);
        if newest.is_some_and(|newest| newest.merge(record)) {
            return;
        }
        self.records.push(record.identity());
        if self.records.len() > FEW_RECORDS {
            // From here on all are in the map.
            let missing = if self.newest.is_empty() { 0 } else { self.records.len() - 1 };
            let places = self.records.iter().enumerate().skip(missing);
            self.newest.extend(places.map(|(place, record)| (record.group, place)));
        }
    }

    fn newest_of(&self, group: u64) -> Option<usize> {
        match self.records.len() <= FEW_RECORDS {
            true => self.records.iter().rposition(|record| record.group == group),
            false => self.newest.get(&group).copied(),
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
            records: (!too_large).then_some(interval.records),
        })
    }
}
