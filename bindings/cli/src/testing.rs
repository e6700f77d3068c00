//! A store that is damaged after it was opened, for the tests of what reads it.
#![forbid(unsafe_code)]

use duramen::{Entry, ReadOnlyStore, Store};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// Entries 1 to 8 of group 1 in term 1, each written alone, of which 3, 4 and 7 are damaged.
pub(crate) fn store_with_damage() -> (TempDir, PathBuf, ReadOnlyStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dir = folder.path().join("store");
    let store = Store::open(&dir).expect("a new store");
    let data = |index: u64| format!("entry {index}").into_bytes();
    for index in 1..=8 {
        store.log(1).append(&[Entry::new(index, 1, data(index))]).expect("it is appended");
    }
    store.close().expect("it is closed");
    let reader = Store::open_read_only(&dir).expect("it is sound");
    let path = dir.join("0000000000000001.seg");
    let bytes = fs::read(&path).expect("the segment can be read");
    let file = fs::File::options().write(true).open(&path).expect("and written");
    for index in [3, 4, 7] {
        let at = bytes.windows(7).position(|window| window == data(index)).expect("it is there");
        file.write_all_at(b"E", at as u64).expect("it is damaged");
    }
    (folder, dir, reader)
}
