//! What was acknowledged, kept outside of the cluster, and the check that it is all still there.

use crate::proposal::Kept;
use std::collections::BTreeMap;

/// Every acknowledged proposal by the index at which it was committed.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    acknowledged: BTreeMap<u64, Kept>,
}

impl Ledger {
    /// Takes an acknowledgement. Two proposals at one index are a contradiction of the cluster's.
    pub(crate) fn acknowledge(&mut self, index: u64, proposal: Kept) -> Result<(), String> {
        let number = proposal.number;
        match self.acknowledged.insert(index, proposal) {
            None => Ok(()),
            Some(earlier) => {
                Err(format!("proposals {} and {number} were both acknowledged at index {index}", earlier.number))
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// The highest index that was acknowledged; 0 if none was.
    pub(crate) fn last_index(&self) -> u64 {
        self.acknowledged.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// The indexes whose proposals are not in `applied`, or other ones, or not in their order.
    pub(crate) fn missing(&self, applied: &[(u64, Kept)]) -> Vec<u64> {
        let mut rest = applied.iter();
        let mut missing = Vec::new();
        for (index, proposal) in &self.acknowledged {
            let before = rest.clone();
            if !rest.any(|(at, found)| at == index && found == proposal) {
                missing.push(*index);
                rest = before;
            }
        }
        missing
    }
}
