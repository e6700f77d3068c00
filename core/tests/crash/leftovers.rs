//! The directory of a store holds what it needs, and nothing else.

use super::model::Model;
use super::plan::STORE;
use duramen::io::{Disk, SimulatedDisk};
use duramen::{Durability, Store};

/// After the first write of an opening and maintenance: no file of a released segment outside the pool, no snapshot that
/// nothing names, nothing half made. `last` is how the last write was asked for: the files that a buffered one has
/// displaced stay until it is durable.
pub(crate) fn no_leftovers(disk: &SimulatedDisk, store: &Store, model: &Model, last: Durability) -> Result<(), String> {
    let names = names(disk);
    let stats = store.stats().map_err(|error| error.to_string())?;
    let with = |suffix: &str| names.iter().filter(|name| name.ends_with(suffix)).count() as u64;
    let segments = stats.segments;
    let found = [with(".seg"), with(".old"), with(".new")];
    if found != [segments, stats.pool_files, 0] {
        return Err(format!("{segments} segments and a pool of {}, but there are {names:?}", stats.pool_files));
    }
    let (snapshots, named) = (with(".snap"), model.snapshots() as u64);
    if snapshots < named || (snapshots > named && last == Durability::Durable) {
        return Err(format!("{named} groups have a snapshot, but there are {names:?}"));
    }
    Ok(())
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    let directory = disk.open_directory(STORE.as_ref(), false).expect("the store's directory is there");
    let mut names = directory.list().expect("no listing fails here");
    names.sort_unstable();
    names
}
