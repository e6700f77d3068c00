//! Destroying a store: all of its files go, and nothing else; a crash in the middle leaves the store, or something that a
//! second call removes and that no opening takes for a store with entries missing.

use duramen::io::{Calls, Disk, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Entry, Error, Options, Store};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DIRECTORY: &str = "/store";
const ENTRIES: u64 = 40;

#[test]
fn a_destroyed_store_is_gone_and_a_new_one_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for end in ["open", "closed", "dropped"] {
        let store = Store::open(&path).unwrap();
        fill(&store);
        let kept = match end {
            "open" => Some(store),
            "closed" => {
                store.close().unwrap();
                None
            }
            _ => None,
        };
        Store::destroy(&path).unwrap();
        assert!(!path.exists(), "{end}");
        if let Some(retired) = kept {
            assert_eq!(retired.log(0).get(3).unwrap().data, [3; 1_000], "an open handle reads what it can reach");
            assert!(matches!(retired.log(0).append(&[Entry::new(ENTRIES + 1, 1, b"x")]), Err(Error::Closed)));
            let fresh = Store::open(&path).unwrap();
            assert!(matches!(retired.sync(), Err(Error::Closed)));
            assert_eq!(fresh.groups().unwrap(), [0; 0]);
            fresh.log(0).append(&[Entry::new(1, 1, b"new")]).unwrap();
            drop(retired);
            fresh.log(0).append(&[Entry::new(2, 1, b"new")]).unwrap();
            Store::destroy(&path).unwrap();
        }
    }
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("thing");
    let refused = |what: &str| {
        let result = Store::destroy(&path);
        assert!(matches!(result, Err(Error::NotAStore { .. })), "{what}: {result:?}");
    };
    refused("nothing");
    std::fs::write(&path, "a file").unwrap();
    refused("a file");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("letter.txt"), "dear").unwrap();
    refused("somebody else's directory");
    std::fs::write(path.join("MANIFEST"), "a list of goods").unwrap();
    refused("somebody else's manifest");
    let mut names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["MANIFEST", "letter.txt"]);
}

#[test]
fn files_of_others_stay_and_with_them_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fill(&Store::open(&path).unwrap());
    std::fs::write(path.join("letter.txt"), "dear").unwrap();
    Store::destroy(&path).unwrap();
    let names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["letter.txt"]);
    assert!(matches!(Store::destroy(&path), Err(Error::NotAStore { .. })), "now it is somebody else's");
}

#[test]
fn one_that_another_process_holds_is_refused() {
    let disk = SimulatedDisk::new(1);
    fill(&open(&disk).unwrap());
    let directory = disk.open_directory(DIRECTORY.as_ref(), false).unwrap();
    let lock = directory.lock("LOCK").unwrap();
    assert!(matches!(options(&disk).destroy(DIRECTORY), Err(Error::Locked { .. })));
    drop(lock);
    assert_eq!(open(&disk).unwrap().log(0).count().unwrap(), ENTRIES, "nothing was removed");
    options(&disk).destroy(DIRECTORY).unwrap();
    assert!(matches!(options(&disk).create(false).open(DIRECTORY), Err(Error::NotAStore { .. })));
}

#[test]
fn a_store_whose_write_hangs_is_not_destroyed_under_it() {
    let disk = SimulatedDisk::new(2);
    let store = open(&disk).unwrap();
    fill(&store);
    let gate = disk.block_flushes();
    let log = store.log(0);
    let writing = std::thread::spawn(move || log.append(&[Entry::new(ENTRIES + 1, 1, b"x")]));
    gate.wait_until_blocked();
    let refused = options(&disk).open_timeout(Duration::from_millis(50)).destroy(DIRECTORY);
    assert!(matches!(refused, Err(Error::Timeout { .. })), "{refused:?}");
    drop(gate);
    // It was told to end. What it had written may be acknowledged, or not; nothing is half there.
    let written = writing.join().unwrap();
    drop(store);
    let count = open(&disk).unwrap().log(0).count().unwrap();
    assert!(count == ENTRIES + 1 || (count == ENTRIES && written.is_err()), "{written:?}, {count} entries");
    options(&disk).destroy(DIRECTORY).unwrap();
}

#[test]
fn a_crash_at_any_operation_leaves_the_store_or_what_a_second_call_removes() {
    let (mut whole, mut refused, mut fresh, mut operations) = (0, 0, 0, 0);
    for is_open in [false, true] {
        for power in [false, true] {
            for at in 1.. {
                let disk = SimulatedDisk::new(at);
                let store = open(&disk).unwrap();
                fill(&store);
                let handle = is_open.then_some(store);
                let Some(crashed) = crash_inside_destroy(&disk, at, power) else { break };
                drop(handle);
                operations += 1;
                for disk in crashed {
                    let again = disk.kill();
                    match open(&disk) {
                        Ok(store) => match store.log(0).count().unwrap() {
                            ENTRIES => {
                                check(&store);
                                whole += 1;
                            }
                            0 => {
                                assert_eq!(store.groups().unwrap(), [0; 0]);
                                assert_eq!(store.recovery_report().last_batch, 0, "a store without its segments");
                                fresh += 1;
                            }
                            count => panic!("operation {at}: {count} entries"),
                        },
                        Err(Error::Corrupt { .. } | Error::NotAStore { .. }) => refused += 1,
                        Err(error) => panic!("operation {at}: {error}"),
                    }
                    finish(&again, at);
                }
            }
        }
    }
    println!("{operations} crashes: {whole} whole stores, {refused} refused, {fresh} found nothing");
    assert!(whole > 0 && refused > 0 && fresh > 0);
}

#[test]
fn a_failure_at_any_call_is_told_and_a_second_call_goes_on() {
    use OperationKind::{List, Lock, Open, OpenDirectory, ReadDurable, Remove, SyncDirectory};
    let mut told = 0;
    for kind in [List, Lock, Open, OpenDirectory, ReadDurable, Remove, SyncDirectory] {
        for nth in 1.. {
            let disk = SimulatedDisk::new(nth);
            fill(&open(&disk).unwrap());
            disk.fail(Fault::new(Calls::Only(kind), Failure::InputOutput).nth(nth));
            match options(&disk).destroy(DIRECTORY) {
                Err(Error::Io { .. }) => told += 1,
                Ok(()) => break,
                Err(error) => panic!("{kind:?} {nth}: {error}"),
            }
            disk.clear_faults();
            finish(&disk, nth);
        }
    }
    println!("{told} failures told");
    assert!(told > 15, "{told} failures");
}

/// A second call finishes, where there is anything left, and then there is nothing.
fn finish(disk: &SimulatedDisk, at: u64) {
    match options(disk).destroy(DIRECTORY) {
        Ok(()) => {}
        Err(Error::NotAStore { .. }) => {}
        Err(error) => panic!("operation {at}: a second call: {error}"),
    }
    let left = disk.open_directory(DIRECTORY.as_ref(), false).map(|directory| directory.list().unwrap());
    assert!(left.is_err(), "operation {at}: {left:?} is left");
}

/// The disks after a crash before operation `at` of it; none if it has fewer.
fn crash_inside_destroy(disk: &SimulatedDisk, at: u64, power: bool) -> Option<Vec<SimulatedDisk>> {
    let crashed = Arc::new(Mutex::new((at, None)));
    let seen = Arc::clone(&crashed);
    disk.on_operation(Some(Box::new(move |_, disk| {
        let (left, crashed) = &mut *seen.lock().unwrap();
        *left = left.saturating_sub(1);
        if *left == 0 && crashed.is_none() {
            let points = disk.crash_points();
            *crashed = Some(match power {
                true => points.outcomes(256, at).map(|outcome| points.disk_after(&outcome)).collect(),
                false => vec![disk.kill()],
            });
        }
    })));
    options(disk).destroy(DIRECTORY).unwrap();
    disk.on_operation(None);
    crashed.lock().unwrap().1.take()
}

// ------------------------------------------------------------------------------------------------------------- helpers

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().segment_bytes(64 << 10).disk(Arc::new(disk.clone()))
}

fn open(disk: &SimulatedDisk) -> Result<Store, Error> {
    options(disk).open(DIRECTORY)
}

/// Some segments, a snapshot, and files in the pool.
fn fill(store: &Store) {
    for index in 1..=ENTRIES {
        store.log(1).append(&[Entry::new(index, 1, vec![1; 8_000])]).unwrap();
    }
    store.log(1).purge(ENTRIES, 1, b"").unwrap();
    store.log(1).drop_group().unwrap();
    for index in 1..=ENTRIES {
        store.log(0).append(&[Entry::new(index, 1, vec![index.to_le_bytes()[0]; 1_000])]).unwrap();
    }
    let mut writer = store.log(0).snapshot_writer().unwrap();
    writer.write_all(b"data").unwrap();
    let snapshot = writer.finish(5, 1, b"").unwrap();
    store.log(0).save_snapshot(snapshot).unwrap();
}

fn check(store: &Store) {
    for index in 1..=ENTRIES {
        assert_eq!(store.log(0).get(index).unwrap().data, [index.to_le_bytes()[0]; 1_000]);
    }
    assert_eq!(store.log(0).snapshot().unwrap().unwrap().read_all().unwrap(), b"data");
}
