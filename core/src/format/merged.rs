//! Merged records: the operations of several batches, in order within each group, with entries of one term that follow each
//! other directly as one record. Echoes and footers tell what batches did in this form.
#![forbid(unsafe_code)]

use super::directory::Record;
use std::collections::HashMap;

/// Among so few records the newest one of a group is looked for one by one.
const FEW_RECORDS: usize = 8;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    pub(crate) records: Vec<Record>,
    /// Where the newest record of each group stands in `records`: only that one may grow. Empty while there are few.
    newest: HashMap<u64, usize>,
}

impl Merged {
    /// Adds a record behind the others of its group. Returns the place of the one that tells of it now, which may be the one
    /// before.
    pub(crate) fn add(&mut self, record: Record) -> usize {
        if let Some(place) = self.newest_of(record.group)
            && self.records[place].merge(&record)
        {
            return place;
        }
        self.records.push(record);
        if self.records.len() > FEW_RECORDS {
            // From here on all are in the map.
            let missing = if self.newest.is_empty() { 0 } else { self.records.len() - 1 };
            let places = self.records.iter().enumerate().skip(missing);
            self.newest.extend(places.map(|(place, record)| (record.group, place)));
        }
        self.records.len() - 1
    }

    fn newest_of(&self, group: u64) -> Option<usize> {
        match self.records.len() <= FEW_RECORDS {
            true => self.records.iter().rposition(|record| record.group == group),
            false => self.newest.get(&group).copied(),
        }
    }
}
