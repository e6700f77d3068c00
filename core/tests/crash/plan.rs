//! Which run: a workload, a seed, and the mistakes that are planted in the store.

use super::dice::Dice;
use super::workload::Workload;
use duramen::io::SimulatedDisk;
use duramen::planted::Bugs;
use duramen::{Options, Store};
use std::sync::Arc;

/// Where the store lies on its simulated disk.
pub(crate) const STORE: &str = "/store";

/// Everything that a run depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) seed: u64,
    pub(crate) bugs: Bugs,
}

impl Plan {
    pub(crate) fn new(workload: Workload, seed: u64) -> Plan {
        Plan { workload, seed, bugs: Bugs::default() }
    }

    /// Opens the store of this plan on a disk. No error is ever right: a crash alone makes none.
    pub(crate) fn open(&self, disk: &SimulatedDisk) -> Result<Store, String> {
        let options = Options::new().disk(Arc::new(disk.clone())).segment_bytes(self.workload.segment_bytes());
        // What is read is what the disk has.
        let opened = options.cache_bytes(0).bugs(self.bugs).open(STORE);
        let store = opened.map_err(|error| format!("opening failed: {error}"))?;
        // A crash alone damages nothing.
        let (damaged, damage) = (&store.recovery_report().damaged, store.damage().map_err(|error| error.to_string())?);
        match damaged.is_empty() && damage.is_empty() {
            true => Ok(store),
            false => Err(format!("opening found damage: {damaged:?}, {damage:?}")),
        }
    }

    /// How many batches of its own a store may add when it is closed.
    pub(crate) fn closing_batches_max(&self) -> u64 {
        match self.workload {
            Workload::Many => 64,
            _ => 8,
        }
    }

    /// Numbers for one purpose, independent of those for any other.
    pub(crate) fn dice(&self, purpose: &[u64]) -> Dice {
        let mut seeds = vec![self.seed, self.workload as u64];
        seeds.extend(purpose);
        Dice::new(&seeds)
    }
}
