//! A store: one open directory.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use crate::guard::{given, guard, guard_or, path};
use crate::log::duramen_log;
use crate::options::duramen_options;
use crate::status::{duramen_error, duramen_status};
use duramen::{Options, Store};
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// One open directory: one write-ahead log on disk, shared by many groups, owned by one process. A second opening of the
/// same directory in one process shares the store; another process is refused with DURAMEN_LOCKED. All functions but
/// duramen_store_free may be called from any thread at the same time.
pub struct duramen_store {
    store: Store,
}

/// Opens the store in a directory, creating it if it is missing or empty; the parent directory must exist.
///
/// directory: a path, ending with a zero byte.
/// options: NULL for the defaults.
/// store: receives the store, to be freed with duramen_store_free.
///
/// Blocks on the disk: everything in the store is read once.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_store_open(
    directory: *const c_char,
    options: Option<&duramen_options>,
    store: Option<&mut MaybeUninit<Box<duramen_store>>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (directory, output) = (path(directory, "directory")?, given(store, "store")?);
        let store = options.map_or_else(Options::new, |options| options.options.clone()).open(directory)?;
        output.write(Box::new(duramen_store { store }));
        Ok(())
    })
}

/// The log of one group. Creates nothing: a group comes into being with its first write. A store with one group uses 0.
///
/// log: receives the log, to be freed with duramen_log_free. It may outlive the handle of the store.
///
/// Does not block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_store_log(
    store: Option<&duramen_store>,
    group: u64,
    log: Option<&mut MaybeUninit<Box<duramen_log>>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (store, output) = (given(store, "store")?, given(log, "log")?);
        store.store.accepted()?; // A closed store has no logs.
        output.write(Box::new(duramen_log { log: store.store.log(group) }));
        Ok(())
    })
}

/// Ends this opening: flushes, and reports what could not be flushed. From then on every function answers DURAMEN_CLOSED on
/// this store and on its logs, also when closing failed; they are still to be freed. Where another opening of this process
/// shares the store, that one goes on. Blocks on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_store_close(
    store: Option<&duramen_store>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || given(store, "store")?.store.close())
}

/// Frees a handle; no other function may be using it. When the last handle of an opening goes, logs included, without
/// duramen_store_close before, the opening ends without a flush: nothing that was acknowledged as durable is lost. NULL is
/// allowed and does nothing; to free twice is a mistake that cannot be noticed. May block on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_store_free(store: Option<Box<duramen_store>>) {
    guard_or((), || drop(store));
}
