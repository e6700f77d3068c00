//! The eighth weakness of raft-io's own `WalLog`: the whole log lies in memory, and a snapshot is copied over and over.

#[path = "../../../../core/tests/support/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::{Counting, measure};
use duramen::Options;
use duramen_raft_io::{LogEntry, RaftLog, Snapshot, WalLog};
use std::path::Path;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: isize = 1 << 20;

/// Without the cache of the newest entries, whose size is an option.
fn open(path: &Path) -> WalLog {
    WalLog::open_with(&Options::new().cache_bytes(0), path).expect("a log opens")
}

#[test]
fn reads_do_not_keep_the_log_in_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut log, count) = (open(directory.path()), 20_000);
    let (_, held, _) = measure(|| {
        for first in (1..=count).step_by(50) {
            let entries = (first..first + 50).map(|index| LogEntry::new(1, index, vec![7; 1000]));
            log.append(&entries.collect::<Vec<_>>()).expect("an append");
        }
        log.sync().expect("a flush");
    });
    println!("{:.1} bytes for each entry of 1000", held as f64 / count as f64);
    assert!(held < 24 * 20_000, "{held} bytes are held for {count} entries of 1000 bytes");
    drop(log);
    let (log, held, peak) = measure(|| open(directory.path()));
    println!("{held} bytes are held after opening, at most {peak}");
    assert!(held < 24 * 20_000, "{held} bytes are held after opening");
    assert!(peak < 8 * MIB, "{peak} bytes at most while opening, the log has 20 MB");
    let (_, held, peak) = measure(|| {
        for index in 1..=count {
            assert_eq!(log.entry(index).map(|entry| entry.command.len()), Some(1000));
        }
        assert_eq!(log.entries(100, 163).len(), 64);
    });
    println!("{held} bytes are held after reading all, at most {peak}");
    assert!(held < 16 << 10, "{held} bytes are held after reading all");
    assert!(peak < MIB, "{peak} bytes at most while reading entries of 1000 bytes, 64 at a time");
}

#[test]
fn snapshot_is_put_into_memory_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut log = open(directory.path());
    let snapshot = Snapshot::with_config(9, 2, vec![1, 2, 3], vec![7; 16 << 20]);
    let (_, held, peak) = measure(|| log.apply_snapshot(&snapshot).and_then(|()| log.sync()).expect("a snapshot"));
    println!("applying 16 MiB: {held} bytes are held, at most {peak}");
    assert!(held < MIB && peak < MIB, "applying: {held} bytes are held, at most {peak}");
    drop(log);
    let (log, held, peak) = measure(|| open(directory.path()));
    println!("opening: {held} bytes are held, at most {peak}");
    assert!(held < MIB && peak < 2 * MIB, "opening: {held} bytes are held, at most {peak}");
    let (read, held, peak) = measure(|| log.snapshot().expect("a snapshot"));
    println!("reading: {held} bytes are held, at most {peak}");
    assert!(peak < 17 * MIB, "reading 16 MiB takes {peak} bytes");
    assert_eq!(read, snapshot);
}
