//! Who waits for a position while others write: threads in a few groups, so that a thread is woken when its batch is done
//! and seldom before.
//!
//! Whose batch waits for its place joins the group of the write that is to come; all of them go out together, and are
//! woken together, by one call. The group only says who is woken: everybody looks for himself whether he is done.
#![forbid(unsafe_code)]

use super::shared::Core;
use crate::number::size;
use std::sync::{Condvar, MutexGuard, PoisonError};

/// At most two writes are under way, and one is to come.
const GROUPS: usize = 4;

/// What a caller waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until {
    Written(u64),
    Durable(u64),
}

impl Until {
    pub(super) fn is_reached(self, core: &Core) -> bool {
        match self {
            Until::Written(sequence) => core.commit.written_through() >= sequence,
            Until::Durable(sequence) => core.commit.durable() >= sequence,
        }
    }

    fn sequence(self) -> u64 {
        match self {
            Until::Written(sequence) | Until::Durable(sequence) => sequence,
        }
    }
}

/// Where the groups wait.
#[derive(Debug, Default)]
pub(super) struct Followers([Condvar; GROUPS]);

/// What the groups wait for.
#[derive(Debug, Default)]
pub(super) struct Waiting([Group; GROUPS]);

#[derive(Debug, Default)]
struct Group {
    threads: usize,
    /// The first batches that anybody in it waits for; none may be told if nobody does any more.
    written: Option<u64>,
    durable: Option<u64>,
}

impl Group {
    fn first(&self) -> Option<u64> {
        self.written.into_iter().chain(self.durable).min().filter(|_| self.threads > 0)
    }
}

impl Followers {
    /// Waits until the batch may be done, or until there is something to do for the caller.
    pub(super) fn wait<'a>(&self, mut core: MutexGuard<'a, Core>, until: Until) -> MutexGuard<'a, Core> {
        let place = size(core.commit.write_of(until.sequence()) % GROUPS as u64);
        let group = &mut core.waiting.0[place];
        group.threads += 1;
        let first = match until {
            Until::Written(_) => &mut group.written,
            Until::Durable(_) => &mut group.durable,
        };
        *first = Some(first.map_or(until.sequence(), |first| first.min(until.sequence())));
        let mut core = self.0[place].wait(core).unwrap_or_else(PoisonError::into_inner);
        core.waiting.0[place].threads -= 1;
        core
    }

    /// Wakes the groups in which somebody is done.
    pub(super) fn wake_done(&self, core: &mut Core) {
        let (written, durable) = (core.commit.written_through(), core.commit.durable());
        // The one that carried out the call is back, too.
        let mut woken = 1;
        for (group, condvar) in core.waiting.0.iter_mut().zip(&self.0) {
            let is_done = |first: Option<u64>, position| first.is_some_and(|first| first <= position);
            if is_done(group.written, written) || is_done(group.durable, durable) {
                (group.written, group.durable) = (None, None);
                woken += group.threads;
                condvar.notify_all();
            }
        }
        if woken > 1 || durable == written {
            core.woken = woken;
        }
    }

    /// Wakes everybody: nothing more will be written.
    pub(super) fn wake_all(&self) {
        self.0.iter().for_each(Condvar::notify_all);
    }

    /// Wakes one of those who wait the longest, to carry out the next action. False if nobody waits.
    pub(super) fn wake_one(&self, core: &Core) -> bool {
        let groups = core.waiting.0.iter().zip(&self.0);
        let first =
            groups.filter_map(|(group, condvar)| Some((group.first()?, condvar))).min_by_key(|(first, _)| *first);
        first.map(|(_, condvar)| condvar.notify_one()).is_some()
    }
}
