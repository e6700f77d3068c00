//! Removing leftovers: files of ours that nothing counts any more, because a crash or a failure came between the step that
//! made them useless and the one that removes them.
//!
//! Only names are removed. A file that a crash left under two names lives on under the one that counts.
#![forbid(unsafe_code)]

use super::super::shared::{Maintenance, Shared};
use super::pool::is_pooled_name;
use crate::error::{Error, Result};
use crate::format::segment::segment_number;
use crate::format::snapshot::snapshot_number;
use crate::segment::NEW_SEGMENT_NAME;
use crate::segment::manifest::NEW_MANIFEST_NAME;

impl Shared {
    /// Removes leftovers in passing. What cannot be removed is nobody's concern for now.
    pub(in crate::store) fn sweep_in_passing(&self, maintenance: &mut Maintenance) {
        if let Err(error) = self.sweep(maintenance) {
            self.core().stats.maintenance_failed(&error);
        }
    }

    /// Removes every leftover, unless that was done since the last one could have come about.
    pub(in crate::store) fn sweep(&self, maintenance: &mut Maintenance) -> Result<()> {
        if maintenance.swept && !self.staged.is_any_given_up() {
            return Ok(());
        }
        maintenance.swept = false;
        self.staged.forget_given_up();
        let names = self.directory.list().map_err(|error| Error::io("list", "the directory", error))?;
        let (snapshots, others): (Vec<&String>, Vec<&String>) =
            names.iter().partition(|name| snapshot_number(name).is_some());
        for name in others.into_iter().filter(|name| is_leftover(name, maintenance)) {
            self.remove_if_there(name)?;
        }
        // As long as something is lost, what a file was for may be lost, too.
        if !self.read().state.is_any_lost() {
            self.sweep_snapshots(&snapshots)?;
        }
        maintenance.swept = true;
        Ok(())
    }

    /// Removes files of snapshots that nothing names. One that was current until a moment ago is named by the disk until
    /// the batch that replaced it is durable.
    fn sweep_snapshots(&self, names: &[&String]) -> Result<()> {
        let unnamed: Vec<&&String> = {
            let (core, readable) = (self.core(), self.read());
            let is_waiting = |number| core.displaced.iter().any(|(_, file)| *file == number);
            let is_named = |number| core.accepted.names_file(number) || readable.state.names_file(number);
            let is_needed = |number| is_named(number) || is_waiting(number) || self.staged.has(number);
            names.iter().filter(|name| snapshot_number(name).is_some_and(|number| !is_needed(number))).collect()
        };
        for name in unnamed {
            self.remove_if_there(name)?; // Its writer may have removed it just now.
        }
        Ok(())
    }
}

fn is_leftover(name: &str, maintenance: &Maintenance) -> bool {
    let slot = &maintenance.manifest.slot;
    let released = |number: u64| number < slot.first_live;
    // Never finished, and made anew under its number when that is needed: nothing can lie in it.
    let uncounted =
        |number: u64| number > slot.highest_created && matches!(maintenance.unused.get(&number), Some(None));
    let is_filling = maintenance.filling.as_deref() == Some(name);
    let in_pool = || is_filling || maintenance.pool.iter().any(|pooled| pooled.name == name);
    segment_number(name).is_some_and(|number| released(number) || uncounted(number))
        || (is_pooled_name(name) && !in_pool())
        || [NEW_SEGMENT_NAME, NEW_MANIFEST_NAME].contains(&name)
}
