//! The stores that are open in this process, by the identity of their directories, so that a second opening shares the
//! first one. Some Raft libraries never close their log, or reopen it while an old handle is still dying.
//!
//! Each directory has a slot of its own. Opening and closing hold it, and may block on the disk meanwhile; the map of all
//! slots is held for look-ups only.
//!
//! A forked child has a registry of its own: the parent's stores are not its stores, and their slots, and the map, may
//! have been held at the fork by threads that the child does not have.
#![forbid(unsafe_code)]

use crate::io::{PerProcess, generation};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Device and inode of a directory.
pub(crate) type Identity = (u64, u64);

/// How long one look at a mutex that cannot be waited for with an end is apart from the next.
const PAUSE: Duration = Duration::from_millis(1);

type Slots<T> = Mutex<HashMap<Identity, Arc<Mutex<Weak<T>>>>>;

/// All open things of one kind.
#[derive(Debug)]
pub(crate) struct Registry<T>(PerProcess<Slots<T>>);

impl<T: Send + Sync + 'static> Registry<T> {
    pub(crate) const fn new() -> Self {
        Registry(PerProcess::new())
    }

    /// The slot of a directory. Lock it with [`lock`] to open or close what it holds.
    pub(crate) fn slot(&self, identity: Identity) -> Arc<Mutex<Weak<T>>> {
        let mut slots = lock(self.0.get(generation()));
        // A slot that only the map holds, and that holds nothing, belongs to a directory that is closed.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || lock(slot).strong_count() > 0);
        Arc::clone(slots.entry(identity).or_default())
    }

    /// Everything that is open and that nobody is just opening or closing.
    pub(crate) fn living(&self) -> Vec<Arc<T>> {
        let slots = lock(self.0.get(generation()));
        slots.values().filter_map(|slot| slot.try_lock().ok()?.upgrade()).collect()
    }
}

/// Locks a mutex as [`lock`] does, unless that takes until the deadline.
pub(crate) fn lock_until<T>(mutex: &Mutex<T>, deadline: Instant) -> Option<MutexGuard<'_, T>> {
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
        }
    }
}

/// Locks a mutex whose holder may have panicked: everything it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
