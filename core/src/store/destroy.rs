//! Removing a store: in an order in which a crash leaves either the store, or something that no opening takes for one.
#![forbid(unsafe_code)]

use super::maintain::pool::is_pooled_name;
use super::open::{Deadline, LOCK_NAME, list, slot_of, take_lock};
use crate::error::{Error, Result};
use crate::format::manifest::MANIFEST_NAME;
use crate::format::segment::segment_number;
use crate::format::snapshot::snapshot_number;
use crate::io::{Directory, watch};
use crate::options::Options;
use crate::recovery::has_segments;
use crate::segment::NEW_SEGMENT_NAME;
use crate::segment::manifest::{Found, Manifest, NEW_MANIFEST_NAME};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Weak};

/// See [`Options::destroy`].
pub(super) fn destroy(options: &Options, path: &Path) -> Result<()> {
    watch().map_err(|error| Error::io_path("watch for forks of", path, error))?;
    let directory = open_directory(options, path)?;
    let identity = directory.identity().map_err(|error| Error::io_path("identify", path, error))?;
    let deadline = Deadline::of(options);
    let slot = slot_of(identity);
    // Whoever opens the directory meanwhile waits, and finds what is left of it.
    let mut registered = deadline.lock(&slot)?;
    check_store(path, &*directory)?;
    if let Some(open) = registered.upgrade() {
        open.retire_until(&deadline)?;
        *registered = Weak::new();
    }
    let lock = take_lock(path, &*directory)?;
    remove_files(path, &*directory)?;
    remove(&*directory, LOCK_NAME)?;
    drop(lock);
    remove_directory(options, path, identity)
}

fn open_directory(options: &Options, path: &Path) -> Result<Arc<dyn Directory>> {
    options.disk.open_directory(path, false).map_err(|error| match error.kind() {
        ErrorKind::NotADirectory => not_a_store(path, "it is a file, not a directory".into()),
        ErrorKind::NotFound => not_a_store(path, "there is no such directory".into()),
        _ => Error::io_path("open", path, error),
    })
}

fn not_a_store(path: &Path, detail: String) -> Error {
    Error::NotAStore { path: path.into(), detail }
}

/// Refuses a directory of something else. A damaged store is one, and so is what a crash has left of one.
fn check_store(path: &Path, directory: &dyn Directory) -> Result<()> {
    let names = list(path, directory)?;
    if has_segments(&names) {
        return Ok(());
    }
    match (Manifest::open(directory)?, names.iter().find(|name| !is_ours(name))) {
        (Found::Valid(_), _) | (Found::Nothing, None) => Ok(()),
        (Found::Nothing, Some(name)) => Err(not_a_store(path, format!("it holds {name:?} and no manifest"))),
        (Found::Invalid, _) => Err(not_a_store(path, format!("its {MANIFEST_NAME} is not that of a store"))),
    }
}

/// Is this the name of a file that a store may have made?
fn is_ours(name: &str) -> bool {
    let numbered = segment_number(name).is_some() || snapshot_number(name).is_some() || is_pooled_name(name);
    numbered || [LOCK_NAME, MANIFEST_NAME, NEW_MANIFEST_NAME, NEW_SEGMENT_NAME].contains(&name)
}

/// The manifest first, for good: without it segments are damage, and snapshots are somebody else's. Then the rest, but for
/// the lock.
fn remove_files(path: &Path, directory: &dyn Directory) -> Result<()> {
    let sync = || directory.sync().map_err(|error| Error::io_path("flush the directory", path, error));
    let names = list(path, directory)?;
    if names.iter().any(|name| name == MANIFEST_NAME) {
        remove(directory, MANIFEST_NAME)?;
    }
    sync()?;
    for name in names.iter().filter(|name| is_ours(name) && ![LOCK_NAME, MANIFEST_NAME].contains(&name.as_str())) {
        remove(directory, name)?;
    }
    sync()
}

fn remove(directory: &dyn Directory, name: &str) -> Result<()> {
    directory.remove_if_there(name).map_err(|error| Error::io("remove", name, error))
}

/// Removes the directory, if nothing is in it and it still stands at the path.
fn remove_directory(options: &Options, path: &Path, identity: (u64, u64)) -> Result<()> {
    let standing = options.disk.open_directory(path, false).and_then(|directory| directory.identity());
    if standing.map_err(|error| Error::io_path("open", path, error))? != identity {
        return Ok(());
    }
    match options.disk.remove_directory(path) {
        Err(error) if ![ErrorKind::DirectoryNotEmpty, ErrorKind::NotFound].contains(&error.kind()) => {
            Err(Error::io_path("remove", path, error))
        }
        _ => Ok(()),
    }
}
