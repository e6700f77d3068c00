//! The one thread of a store: no writer waits for it; it ends with the store, whatever it is at; and when it fails, panics or
//! hangs the writers do without.

#[path = "support/hooked.rs"]
mod hooked;
#[path = "support/random.rs"]
mod random;
#[path = "support/watched.rs"]
mod watched;

use duramen::io::{Calls, Disk, Failure, Fault, OperationKind, RealDisk, SimulatedDisk};
use duramen::{Durability, Entry, Error, Limit, Options, Position, Store};
use hooked::HookedDisk;
use random::data_of;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use watched::{Call, WORKER, Watch};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SEGMENT_BYTES: u64 = 64 * KIB;
const ENTRY_BYTES: usize = 2_000;
/// So many durable appends of one entry fill more than one segment.
const PER_SEGMENT: u64 = 15;

/// How long something is waited for that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(10);

// ---------------------------------------------------------------------------------------------------- nobody waits for it

#[test]
fn a_purge_returns_while_thirty_segments_are_still_to_be_released() {
    let bed = Bed::new(SEGMENT_BYTES);
    bed.append(1, 31 * PER_SEGMENT);
    until("segments are prepared", || bed.stats().prepared == 2);
    let before = bed.stats();
    assert!(before.segments > 30, "{before:?}");
    bed.watch.hold(OperationKind::Write, "MANIFEST");
    bed.watch.take();
    bed.purge(31 * PER_SEGMENT);
    bed.watch.wait_until_held();
    let own: Vec<Call> = bed.watch.take().into_iter().filter(|call| !call.by_worker).collect();
    let flushes = own.iter().filter(|call| call.kind == OperationKind::SyncData).count();
    assert_eq!((own.len(), flushes), (2, 1), "the purge itself writes and flushes its batch: {own:?}");
    assert!(bed.files(".seg").len() > 30, "nothing is released yet");
    bed.watch.let_go();
    until("the space is back", || bed.stats().released >= 30 && bed.files(".seg").len() <= 4);
    let after = bed.stats();
    assert_eq!((after.flushes - before.flushes, after.maintenance_failures), (1, 0), "{after:?}");
    bed.append(31 * PER_SEGMENT + 1, 10);
    bed.holds(31 * PER_SEGMENT + 1, 31 * PER_SEGMENT + 11);
}

#[test]
fn the_next_segment_is_there_before_a_write_needs_it() {
    let bed = Bed::new(SEGMENT_BYTES);
    // So few that no more than one segment is begun before the worker may have its turn.
    const FEW: u64 = PER_SEGMENT / 3;
    for round in 0..30 {
        bed.append(1 + round * FEW, FEW);
        until("two segments are prepared", || bed.stats().prepared == 2);
    }
    let calls = bed.watch.take();
    let made = |by_worker: bool| {
        let renamed = |call: &&Call| call.kind == OperationKind::Rename && call.name == "segment.new";
        calls.iter().filter(|call| call.by_worker == by_worker).filter(renamed).count()
    };
    assert_eq!(made(false), 2, "a writer makes the first one, and the one that is kept back");
    assert!(made(true) >= 10, "{} made ahead", made(true));
    let by_writers =
        |call: &&Call| call.kind == OperationKind::Prewrite && !call.by_worker && call.name != "manifest.new";
    assert_eq!(calls.iter().find(by_writers), None, "nobody waits until a segment is written");
}

#[test]
fn writers_go_on_in_allocated_segments_while_the_worker_hangs() {
    let bed = Bed::new(SEGMENT_BYTES);
    bed.watch.hold(OperationKind::Prewrite, "segment.ahead");
    bed.append(1, 10 * PER_SEGMENT);
    bed.watch.wait_until_held();
    bed.append(10 * PER_SEGMENT + 1, 10 * PER_SEGMENT);
    let calls = bed.watch.take();
    let by_writers =
        |kind| calls.iter().filter(|call| call.kind == kind && !call.by_worker && call.name == "segment.new").count();
    assert!(by_writers(OperationKind::Allocate) >= 18, "{} allocated", by_writers(OperationKind::Allocate));
    assert_eq!(by_writers(OperationKind::Prewrite), 0);
    bed.watch.let_go();
    until("a segment is prepared ahead", || bed.stats().prepared == 2);
    bed.holds(1, 20 * PER_SEGMENT + 1);
}

/// The worker is held where it has no lock. What is purged meanwhile the writers give back themselves.
#[test]
fn writers_release_what_a_worker_that_hangs_does_not() {
    let bed = Bed::new(SEGMENT_BYTES);
    bed.append(1, 5 * PER_SEGMENT);
    bed.watch.hold(OperationKind::Remove, ".seg");
    bed.purge(5 * PER_SEGMENT);
    bed.watch.wait_until_held();
    let mut most = 0;
    for round in 5..60 {
        bed.append(1 + round * PER_SEGMENT, PER_SEGMENT);
        bed.purge((round + 1) * PER_SEGMENT);
        most = most.max(bed.files(".seg").len());
    }
    println!("at most {most} segments");
    // Four that the log may have, three that the worker is behind, one ahead, and that which is being removed.
    assert!(most <= 10, "{most} segments");
    bed.watch.let_go();
}

// -------------------------------------------------------------------------------------------------------------- the end

#[test]
fn closing_and_dropping_wait_for_no_more_than_a_part_of_a_segment() {
    for closes in [true, false] {
        let mut bed = Bed::new(64 * MIB);
        // Its segment, and so the next ones, have 24 MiB and more.
        bed.watch.hold(OperationKind::Prewrite, "segment.ahead");
        bed.store().log(0).append(&[Entry::new(1, 1, vec![7; 24 << 20])]).unwrap();
        bed.watch.wait_until_held();
        bed.store().log(0).append(&[entry(2)]).unwrap();
        bed.watch.take();
        let store = bed.store.take().unwrap();
        let ending = thread::spawn(move || match closes {
            true => store.close().unwrap(),
            false => drop(store),
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!ending.is_finished(), "the worker is in the middle of a call");
        bed.watch.let_go();
        ending.join().unwrap();
        let calls = bed.watch.take();
        let parts = calls.iter().filter(|call| call.kind == OperationKind::Prewrite).count();
        assert_eq!(parts, 0, "the rest of the file was written all the same");
        assert_eq!(bed.files("segment.ahead"), [""; 0]);
        thread::sleep(Duration::from_millis(50));
        assert_eq!(bed.watch.take(), [], "nothing touches the disk after the end");
        let again = Options::new().open(bed.path()).unwrap();
        assert!(again.recovery_report().clean);
        assert_eq!(again.log(0).get(2).unwrap(), entry(2));
    }
}

/// The program around us may have handlers that want a thread they know.
#[test]
fn the_worker_takes_no_signals() {
    const TERM: u32 = 15;
    let bed = Bed::new(SEGMENT_BYTES);
    bed.append(1, 1);
    let blocked = || -> Vec<u64> {
        let status = |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("status")).ok();
        let of_worker = fs::read_dir("/proc/self/task").unwrap().filter_map(status);
        let of_worker = of_worker.filter(|status| status.lines().any(|line| line == format!("Name:\t{WORKER}")));
        let mask = |status: String| status.lines().find_map(|line| line.strip_prefix("SigBlk:\t").map(str::to_owned));
        of_worker.filter_map(mask).map(|mask| u64::from_str_radix(&mask, 16).unwrap()).collect()
    };
    until("a worker without signals", || blocked().iter().any(|mask| mask >> (TERM - 1) & 1 == 1));
}

#[test]
fn no_thread_is_left_after_a_thousand_openings() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for index in 1..=1_000 {
        let store = Options::new().segment_bytes(SEGMENT_BYTES).open(&path).unwrap();
        store.log(0).append_with(&[entry(index)], Durability::Buffered).unwrap();
        // It takes its name when it begins, and the last one may be seen for an instant after its end.
        until("one that writes has one", || workers() == 1);
        match index % 2 {
            0 => store.close().unwrap(),
            _ => drop(store),
        }
    }
    until("the last thread is gone", || workers() == 0);
    let store = Options::new().segment_bytes(SEGMENT_BYTES).open(&path).unwrap();
    assert_eq!(store.log(0).count().unwrap(), 1_000);
    assert_eq!(workers(), 0, "one that only reads has none");
}

/// The worker itself ends the store, in the middle of what it does.
#[test]
fn a_callback_may_drop_the_last_handle() {
    for maintains in [false, true] {
        let mut bed = Bed::new(SEGMENT_BYTES);
        bed.append(1, 3 * PER_SEGMENT);
        until("two segments are prepared, and the full ones sealed", || {
            let stats = bed.stats();
            stats.prepared == 2 && stats.sealed + 1 == stats.segments - stats.prepared
        });
        let store = bed.store.take().unwrap();
        bed.watch.hold(OperationKind::SyncData, ".seg");
        let position = match maintains {
            true => empty_and_roll(&bed, &store),
            false => store.log(0).append_with(&[entry(3 * PER_SEGMENT + 1)], Durability::Submitted).unwrap(),
        };
        bed.watch.wait_until_held();
        let (sender, receiver) = mpsc::channel();
        let last = store.clone();
        let told = move |result: duramen::Result<()>| {
            let by = thread::current().name().map(str::to_owned);
            drop(last);
            sender.send((result.is_ok(), by)).unwrap();
        };
        store.on_durable(position, told).unwrap();
        drop(store);
        bed.watch.let_go();
        let (is_durable, by) = receiver.recv_timeout(PATIENCE).expect("the callback is called");
        assert_eq!((is_durable, by.as_deref()), (true, Some(WORKER)), "maintains {maintains}");
        let mut opened = None;
        until("the lock is free", || {
            opened = Options::new().segment_bytes(SEGMENT_BYTES).exclusive(true).open(bed.path()).ok();
            opened.is_some()
        });
        let opened = opened.unwrap();
        assert!(opened.durable().unwrap() >= position);
        opened.log(0).append(&[entry(opened.log(0).bounds().unwrap().unwrap().end)]).unwrap();
    }
}

/// Writes buffered until the worker begins to release what a purge has emptied; it is held when it flushes that.
fn empty_and_roll(bed: &Bed, store: &Store) -> Position {
    store.log(0).purge_with(3 * PER_SEGMENT, 1, b"", Durability::Buffered).unwrap();
    let mut position = Position::default();
    for index in 1..=2 * PER_SEGMENT {
        position = store.log(1).append_with(&[entry(index)], Durability::Buffered).unwrap();
        if bed.watch.is_held_within(Duration::from_millis(30)) {
            break;
        }
    }
    position
}

// ------------------------------------------------------------------------------------------------------------- failures

#[test]
fn what_fails_in_the_background_is_counted_and_poisons_nothing() {
    use OperationKind::{Create, Prewrite, Remove, Rename, SyncData, SyncDirectory, Write};
    let kinds = [
        (Create, "segment.ahead"),
        (Prewrite, "segment.ahead"),
        (SyncData, "segment.ahead"),
        (Write, "MANIFEST"),
        (SyncData, "MANIFEST"),
        (Rename, ".seg"),
        (Remove, ".seg"),
        (SyncDirectory, ""),
    ];
    for (kind, name) in kinds {
        for failure in [Failure::InputOutput, Failure::NoSpace] {
            let what = format!("{failure:?}, {kind:?} of {name:?}");
            let disk = SimulatedDisk::new(1);
            disk.run_in_background(true);
            let options = Options::new().segment_bytes(SEGMENT_BYTES).disk(Arc::new(disk.clone()));
            let store = options.open("/store").unwrap();
            store.log(0).append(&[entry(1)]).unwrap();
            until("two segments are prepared", || store.stats().unwrap().prepared == 2);
            disk.fail(Fault::new(Calls::Only(kind), failure).named(name).for_ever());
            let mut next = 2;
            while next <= 8 * PER_SEGMENT {
                match store.log(0).append(&[entry(next)]) {
                    Ok(_) => next += 1,
                    // A segment that cannot be made is an error of the write that needs it.
                    Err(Error::Io { .. } | Error::NoSpace { .. }) => break,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
            let is_counted = || store.stats().unwrap().maintenance_failures > 0;
            if name == "segment.ahead" {
                until(&what, is_counted); // The purge gives files back, and then none has to be written.
            }
            store.log(0).purge(next - 1, 1, b"").unwrap();
            until(&what, is_counted);
            disk.clear_faults();
            for index in next..next + 3 * PER_SEGMENT {
                store.log(0).append(&[entry(index)]).unwrap_or_else(|error| panic!("{what}, gone: {error}"));
            }
            store.log(0).purge(next + PER_SEGMENT, 1, b"").unwrap();
            until(&what, || store.stats().unwrap().prepared == 2);
            store.maintain().unwrap();
            let names = disk.open_directory("/store".as_ref(), false).unwrap().list().unwrap();
            let stats = store.stats().unwrap();
            let with = |kinds: &[&str]| {
                names.iter().filter(|name| kinds.iter().any(|kind| name.ends_with(kind))).count() as u64
            };
            assert_eq!(with(&[".seg"]), stats.segments, "{what}: {names:?}");
            assert_eq!(with(&[".old", ".ahead"]), stats.pool_files, "{what}: {names:?}");
            store.close().unwrap();
            let again = options.open("/store").unwrap();
            assert_eq!(again.log(0).bounds().unwrap(), Some(next + PER_SEGMENT + 1..next + 3 * PER_SEGMENT));
        }
    }
}

/// The writers do its work from then on.
#[test]
fn a_panic_of_the_worker_stops_nobody() {
    let kinds = [
        (OperationKind::Prewrite, "segment.ahead"),
        (OperationKind::Write, "MANIFEST"),
        (OperationKind::Rename, ".seg"),
        (OperationKind::Remove, ".seg"),
    ];
    for (kind, name) in kinds {
        let bed = Bed::new(SEGMENT_BYTES);
        bed.watch.panic_at(kind, name);
        for round in 0..20 {
            bed.append(1 + round * PER_SEGMENT, PER_SEGMENT);
            if round % 4 == 3 {
                bed.purge((round + 1) * PER_SEGMENT);
            }
        }
        until("the worker is gone", || {
            bed.store().sync().unwrap();
            bed.watch.take().iter().all(|call| !call.by_worker)
        });
        let before = bed.stats();
        for round in 20..30 {
            bed.append(1 + round * PER_SEGMENT, PER_SEGMENT);
            bed.purge((round + 1) * PER_SEGMENT);
        }
        let after = bed.stats();
        assert!(after.released >= before.released + 9, "{kind:?} of {name}: {before:?}, {after:?}");
        // Four that the log may have, and one that the worker had made ahead.
        assert!(bed.files(".seg").len() <= 5, "{:?}", bed.files(".seg"));
        assert!(bed.watch.take().iter().all(|call| !call.by_worker), "{kind:?} of {name}: it lives");
        bed.store().close().unwrap();
        let again = Options::new().segment_bytes(SEGMENT_BYTES).open(bed.path()).unwrap();
        assert_eq!(again.log(0).bounds().unwrap().unwrap().end, 30 * PER_SEGMENT + 1);
    }
}

// -------------------------------------------------------------------------------------------------------------- helpers

/// A store on the real disk, every call of which is watched.
struct Bed {
    /// Before the others, so that nothing is held when they go.
    watch: Watch,
    store: Option<Store>,
    folder: TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Bed {
    fn new(segment_bytes: u64) -> Bed {
        let (alone, folder, watch) = (alone(), tempfile::tempdir().unwrap(), Watch::default());
        let disk = HookedDisk::new(RealDisk, watch.clone());
        let options = Options::new().segment_bytes(segment_bytes).disk(Arc::new(disk));
        let store = Some(options.open(folder.path().join("store")).unwrap());
        Bed { watch, store, folder, _alone: alone }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn stats(&self) -> duramen::Stats {
        self.store().stats().unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// Each one durable by itself.
    fn append(&self, first: u64, count: u64) {
        for index in first..first + count {
            self.store().log(0).append(&[entry(index)]).unwrap();
        }
    }

    fn purge(&self, upto: u64) {
        self.store().log(0).purge(upto, 1, b"").unwrap();
    }

    fn holds(&self, first: u64, end: u64) {
        let page = self.store().log(0).read(first..end, Limit::none()).unwrap();
        assert_eq!(page.len() as u64, end - first);
        for (index, found) in (first..end).zip(page.iter()) {
            assert_eq!(found.to_owned(), entry(index));
        }
    }

    /// The names that end like this.
    fn files(&self, end: &str) -> Vec<String> {
        names(&self.path()).into_iter().filter(|name| name.ends_with(end)).collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.watch.let_go();
    }
}

fn names(path: &Path) -> Vec<String> {
    fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

fn entry(index: u64) -> Entry {
    Entry::new(index, 1, data_of(ENTRY_BYTES, &[index]))
}

/// One test at a time: some count the threads of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The workers of this process.
fn workers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<fs::DirEntry>| fs::read_to_string(task.ok()?.path().join("comm")).ok();
    tasks.filter_map(name).filter(|name| name.trim_end() == WORKER).count()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        thread::sleep(Duration::from_millis(2));
    }
}
