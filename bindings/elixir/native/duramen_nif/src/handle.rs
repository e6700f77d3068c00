//! The handle that a term of the VM refers to, and the thread on which it ends.
//!
//! The VM destroys a handle on whatever scheduler collects the last term that refers to it. Ending the last opening of a
//! store writes to its manifest, so the destructor only sends the store to a thread that does it.
#![forbid(unsafe_code)]

use duramen::{Error, Log, Result, Store};
use rustler::Resource;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static CLOSER: OnceLock<Sender<Store>> = OnceLock::new();

/// Starts the thread that ends what was garbage collected. It lives as long as the VM.
pub(crate) fn start_closer() -> std::io::Result<()> {
    if CLOSER.get().is_some() {
        return Ok(());
    }
    let (sender, stores) = channel::<Store>();
    std::thread::Builder::new().name("duramen-closer".into()).spawn(move || {
        for store in stores {
            // One store that panics must not keep the next one open.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
        }
    })?;
    CLOSER.get_or_init(|| sender);
    Ok(())
}

/// One opening of a store.
pub(crate) struct Handle {
    /// None only while the handle is being destroyed.
    store: Option<Store>,
    turns: RwLock<()>,
}

#[rustler::resource_impl]
impl Resource for Handle {}

impl Handle {
    pub(crate) fn new(store: Store) -> Handle {
        Handle { store: Some(store), turns: RwLock::new(()) }
    }

    pub(crate) fn store(&self) -> Result<&Store> {
        self.store.as_ref().ok_or(Error::Closed)
    }

    pub(crate) fn log(&self, group: u64) -> Result<Log> {
        self.store().map(|store| store.log(group))
    }

    /// Until it is dropped, nobody holds [`Handle::turn_alone`].
    pub(crate) fn turn_together(&self) -> RwLockReadGuard<'_, ()> {
        self.turns.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until it is dropped, nobody else holds a turn. Those who ask later wait.
    pub(crate) fn turn_alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turns.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let (Some(store), Some(closer)) = (self.store.take(), CLOSER.get()) {
            // The thread never ends, so this never hands the store back.
            let _ = closer.send(store);
        }
    }
}
