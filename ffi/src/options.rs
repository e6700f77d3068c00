//! How a store is opened.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use crate::guard::{given, guard, guard_or};
use crate::status::{duramen_error, duramen_status};
use duramen::Options;
use std::mem::MaybeUninit;

/// How to open a store. Begins with the defaults; each setter changes one of them, and the values are checked when a store
/// is opened. Belongs to one thread at a time. Options may be freed as soon as the store is open, and used for several.
pub struct duramen_options {
    pub(crate) options: Options,
}

/// New options with the defaults, to be freed with duramen_options_free. NULL only after an internal error. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_new() -> Option<Box<duramen_options>> {
    guard_or(None, || Some(Box::new(duramen_options { options: Options::new() })))
}

/// Frees options. NULL is allowed and does nothing. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_free(options: Option<Box<duramen_options>>) {
    guard_or((), || drop(options));
}

/// Whether a missing directory, or an empty one, becomes a new store. True by default. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_set_create(
    options: Option<&mut duramen_options>,
    create: bool,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    set(options, error, |options| options.create(create))
}

/// Whether this opening refuses to share the store with another one of this process. False by default. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_set_exclusive(
    options: Option<&mut duramen_options>,
    exclusive: bool,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    set(options, error, |options| options.exclusive(exclusive))
}

/// The size that segments grow to, in bytes: 16 KiB to 1 GiB, rounded up to whole 4 KiB blocks. 64 MiB by default. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_set_segment_bytes(
    options: Option<&mut duramen_options>,
    segment_bytes: u64,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    set(options, error, |options| options.segment_bytes(segment_bytes))
}

/// The largest data of one entry, in bytes: 1 to 1 GiB. 64 MiB by default. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_set_entry_bytes_max(
    options: Option<&mut duramen_options>,
    entry_bytes_max: u64,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    set(options, error, |options| options.entry_bytes_max(entry_bytes_max))
}

/// The largest data of one append, in bytes: 1 to 1 GiB. 256 MiB by default. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_set_batch_bytes_max(
    options: Option<&mut duramen_options>,
    batch_bytes_max: u64,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    set(options, error, |options| options.batch_bytes_max(batch_bytes_max))
}

/// The largest number of groups: 1 to 2^20. 2^20 by default. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_options_set_groups_max(
    options: Option<&mut duramen_options>,
    groups_max: u64,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    // What does not fit is too large in any case; opening says so.
    set(options, error, |options| options.groups_max(usize::try_from(groups_max).unwrap_or(usize::MAX)))
}

fn set(
    options: Option<&mut duramen_options>,
    error: Option<&mut MaybeUninit<duramen_error>>,
    change: impl FnOnce(Options) -> Options,
) -> duramen_status {
    guard(error, || {
        let options = &mut given(options, "options")?.options;
        *options = change(options.clone());
        Ok(())
    })
}
