//! A handle of a poisoned store, which goes on reading while another store has taken its place.

use super::model::{Group, Model};
use duramen::{Code, Entry, Error, Store};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The handle, and what it may see: what was durable it sees to the end of its days, and nothing but what was written.
#[derive(Debug)]
pub(crate) struct Retired {
    store: Store,
    /// From what was durable to what was accepted.
    states: Vec<Arc<Model>>,
}

impl Retired {
    pub(crate) fn new(store: Store, states: Vec<Arc<Model>>) -> Retired {
        Retired { store, states }
    }

    /// Reads every entry that the handle knows, and tries to change something.
    pub(crate) fn check(&self) -> Result<(), String> {
        let maintained = self.store.maintain().map_err(|error| error.code());
        if !matches!(maintained, Err(Code::Poisoned | Code::Closed)) {
            return Err(format!("maintenance answered {maintained:?}"));
        }
        let groups: BTreeSet<u64> = self.states.iter().flat_map(|model| model.groups().keys().copied()).collect();
        groups.into_iter().try_for_each(|number| {
            let groups: Vec<Group> = self.states.iter().map(|model| model.group(number)).collect();
            self.check_group(number, &groups).map_err(|why| format!("group {number}: {why}"))
        })
    }

    fn check_group(&self, number: u64, states: &[Group]) -> Result<(), String> {
        let log = self.store.log(number);
        let indexes: BTreeSet<u64> = states.iter().flat_map(|group| group.entries.keys().copied()).collect();
        indexes.into_iter().try_for_each(|index| {
            let known: Vec<_> = states.iter().map(|group| group.entries.get(&index)).collect();
            check_entry(log.get(index), index, &known)
        })
    }
}

/// An entry of batches that were not durable may be gone, and, where its place was given to others, be refused.
fn check_entry(found: Result<Entry, Error>, index: u64, known: &[Option<&Arc<Entry>>]) -> Result<(), String> {
    match found {
        Ok(found) if known.iter().flatten().any(|known| ***known == found) => Ok(()),
        Ok(found) => Err(format!("index {index} has {} bytes of term {} now", found.data.len(), found.term)),
        Err(error) if known.windows(2).all(|pair| pair[0] == pair[1]) => {
            Err(format!("index {index} was durable, but {error}"))
        }
        Err(_) => Ok(()),
    }
}
