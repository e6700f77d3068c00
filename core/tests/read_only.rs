//! Stores that are only looked at: they change nothing, show one prefix of the batches with all that was durable among
//! them, and never give wrong data, whatever a writer does meanwhile. The writer runs between any two calls of the reader
//! (on the simulated disk), in another thread, and in another process.

#[path = "support/hooked.rs"]
mod hooked;
#[path = "support/random.rs"]
mod random;

use duramen::io::{Access, Calls, Disk, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{Batch, Durability, Entry, Error, HardState, Limit, Log, Options, ReadOnlyLog, ReadOnlyStore, Store};
use hooked::{Call, Hook, HookedDisk};
use random::{Random, data_of};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const GROUPS: u64 = 3;
const SEGMENT_BYTES: u64 = 32 << 10;

// ------------------------------------------------------------------------------------------------- what a state is

/// All that a log tells, in words; the same of a log that is written and of one that is only looked at.
macro_rules! describe {
    ($store:expr) => {{
        let mut words = String::new();
        for group in $store.groups()? {
            let log = $store.log(group);
            let keys = log.meta_keys()?;
            let meta: Vec<_> = keys.iter().map(|key| (key, log.meta(key))).collect();
            let (bounds, boundary, state) = (log.bounds()?, log.boundary()?, log.hard_state()?);
            write!(words, "{group}: {bounds:?} {boundary:?} {state:?} {meta:?} {:?}", log.snapshot_id_of()?).unwrap();
            if let Some(bounds) = bounds {
                for entry in log.read_present(bounds, Limit::none())?.iter() {
                    write!(words, " {}@{}={:x}", entry.index, entry.term, crc32fast_of(entry.data)).unwrap();
                }
            }
            words.push('\n');
        }
        Ok(words)
    }};
}

fn crc32fast_of(data: &[u8]) -> u64 {
    data.iter().fold(data.len() as u64, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte))
}

trait SnapshotId {
    fn snapshot_id_of(&self) -> duramen::Result<Option<(u64, u64)>>;
}

impl SnapshotId for Log {
    fn snapshot_id_of(&self) -> duramen::Result<Option<(u64, u64)>> {
        Ok(self.snapshot_id()?.map(|id| (id.index, id.term)))
    }
}

impl SnapshotId for ReadOnlyLog {
    fn snapshot_id_of(&self) -> duramen::Result<Option<(u64, u64)>> {
        Ok(self.snapshot_meta()?.map(|meta| (meta.index, meta.term)))
    }
}

fn describe(store: &Store) -> duramen::Result<String> {
    describe!(store)
}

fn describe_read_only(store: &ReadOnlyStore) -> duramen::Result<String> {
    describe!(store)
}

// ------------------------------------------------------------------------------------------------------- the writer

/// Writes at random, mostly entries, and purges so much that segments are given back and used again all the time. Remembers
/// each state that the store was in, by the batch that made it.
struct Writer {
    store: Store,
    random: Random,
    states: Arc<Mutex<BTreeMap<u64, String>>>,
}

impl Writer {
    fn new(store: Store, seed: u64) -> Writer {
        let states = BTreeMap::from([(store.accepted().unwrap().0, describe(&store).unwrap())]);
        Writer { store, random: Random::new(seed), states: Arc::new(Mutex::new(states)) }
    }

    fn step(&mut self) {
        let log = self.store.log(self.random.below(GROUPS));
        let durability = if self.random.once_in(4) { Durability::Buffered } else { Durability::Durable };
        match self.random.below(12) {
            0..6 => _ = log.append_with(&self.entries(&log, None), durability).unwrap(),
            6 => {
                let from = self.index_in(&log);
                log.replace_from_with(from, &self.entries(&log, Some(from)), durability).unwrap();
            }
            7 => _ = log.truncate_from_with(self.index_in(&log), durability).unwrap(),
            8 => _ = log.set_meta_with("key", &data_of(40, &[self.random.next()]), durability).unwrap(),
            9 => {
                let state = HardState { term: self.random.below(100), vote: Some(2), commit: None };
                let batch = Batch::new().log(0, |b| b.set_hard_state(state)).log(1, |b| b.set_hard_state(state));
                self.store.write_with(batch, durability).unwrap();
            }
            10 => self.save_snapshot(&log),
            _ => self.purge_most(),
        }
        self.states.lock().unwrap().insert(self.store.accepted().unwrap().0, describe(&self.store).unwrap());
    }

    fn entries(&mut self, log: &Log, from: Option<u64>) -> Vec<Entry> {
        let first = from.or(log.bounds().unwrap().map(|bounds| bounds.end)).unwrap_or(1);
        let count = 1 + self.random.below(4);
        let term = 1 + self.random.below(9);
        let bytes = usize::try_from(self.random.below(2500)).unwrap();
        (first..first + count).map(|index| Entry::new(index, term, data_of(bytes, &[index, term]))).collect()
    }

    /// An index that may be truncated.
    fn index_in(&mut self, log: &Log) -> u64 {
        let bounds = log.bounds().unwrap().unwrap_or(1..1);
        bounds.start + self.random.below(bounds.end - bounds.start + 1)
    }

    fn save_snapshot(&mut self, log: &Log) {
        let Some(last) = log.last().unwrap() else { return };
        if log.snapshot_id().unwrap().is_none_or(|current| current.index <= last.index) {
            let mut writer = log.snapshot_writer().unwrap();
            writer.write_all(&data_of(3000, &[last.index])).unwrap();
            log.save_snapshot(writer.finish(last.index, last.term, b"config").unwrap()).unwrap();
        }
    }

    fn purge_most(&mut self) {
        let mut batch = Batch::new();
        for group in 0..GROUPS {
            let log = self.store.log(group);
            if let Some(last) = log.last().unwrap() {
                let upto = last.index.saturating_sub(self.random.below(3));
                if let Ok(term) = log.term(upto) {
                    batch = batch.log(group, |b| b.purge(upto, term, b"blob"));
                }
            }
        }
        self.store.write(batch).unwrap();
        self.store.maintain().unwrap();
    }
}

/// Is this the state that the first `k` batches made? What maintenance carries is batches, too, which change nothing.
fn check_state(states: &BTreeMap<u64, String>, k: u64, found: &str) {
    let (before, after) = (states.range(..=k).next_back(), states.range(k..).next());
    let is_one = [before, after].into_iter().flatten().any(|(_, state)| state == found);
    assert!(is_one, "batch {k}: found\n{found}\nexpected {before:?}\nor {after:?}");
}

fn options(disk: impl Disk + 'static) -> Options {
    Options::new().segment_bytes(SEGMENT_BYTES).cache_bytes(0).disk(Arc::new(disk))
}

// ------------------------------------------------------------------------------------------------- simulated disk

/// Lets the writer go on, some steps at a time, before calls of the reader.
struct Interleaved {
    writer: Mutex<(Writer, Random)>,
    /// The writer runs before one call in so many; never at 0.
    one_in: AtomicU64,
}

impl std::fmt::Debug for Interleaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interleaved")
    }
}

#[derive(Debug, Clone)]
struct Between(Arc<Interleaved>);

impl Hook for Between {
    fn before(&self, _: &Call<'_>) {
        let one_in = self.0.one_in.load(Ordering::Relaxed);
        let mut writer = self.0.writer.lock().unwrap();
        let (writer, random) = &mut *writer;
        if one_in > 0 && random.once_in(one_in) {
            (0..1 + random.below(12)).for_each(|_| writer.step());
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    opened: u64,
    repeated: u64,
    given_up: u64,
    read: u64,
    stale: u64,
    stale_snapshots: u64,
    snapshots: u64,
    refreshed: u64,
}

fn read_between(seed: u64, one_in: u64, seen: &mut Seen) {
    let disk = SimulatedDisk::new(seed);
    let mut writer = Writer::new(options(disk.clone()).open("/store").unwrap(), seed);
    (0..100).for_each(|_| writer.step());
    let (store, states) = (writer.store.clone(), Arc::clone(&writer.states));
    let between =
        Arc::new(Interleaved { writer: Mutex::new((writer, Random::new(seed ^ 1))), one_in: AtomicU64::new(0) });
    let reading = options(HookedDisk::new(disk.clone(), Between(Arc::clone(&between))));
    between.one_in.store(one_in, Ordering::Relaxed);
    let durable = store.durable().unwrap().0;
    let mut reader = match reading.open_read_only("/store") {
        Ok(reader) => reader,
        Err(Error::Timeout { .. }) => return seen.given_up += 1,
        Err(error) => panic!("seed {seed}: {error}"),
    };
    seen.opened += 1;
    seen.repeated += u64::from(reader.attempts() > 1);
    let k = reader.recovery_report().last_batch;
    assert!(durable <= k, "seed {seed}: batch {durable} was durable, {k} is shown");
    if seed.is_multiple_of(2) {
        // Long enough for files to be used again.
        let mut writer = between.writer.lock().unwrap();
        (0..100).for_each(|_| writer.0.step());
    }
    let found = describe_read_only(&reader);
    let snapshots: Vec<_> = (0..GROUPS).map(|group| (group, reader.log(group).snapshot())).collect();
    between.one_in.store(0, Ordering::Relaxed);
    assert!(k <= store.accepted().unwrap().0);
    match found {
        Ok(found) => {
            seen.read += 1;
            check_state(&states.lock().unwrap(), k, &found);
        }
        Err(error) if error.is_stale() => seen.stale += 1,
        Err(error) => panic!("seed {seed}: {error}"),
    }
    for (group, snapshot) in snapshots {
        match snapshot {
            Ok(Some(snapshot)) => {
                let index = snapshot.index();
                assert_eq!(snapshot.read_all().unwrap(), data_of(3000, &[index]), "group {group}");
                seen.snapshots += 1;
            }
            Ok(None) => {}
            Err(error) if error.is_stale() => seen.stale_snapshots += 1,
            // The store is asked again which snapshot is current, and may not hold still for that.
            Err(Error::Corrupt { .. }) if one_in < 10 => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    // Undisturbed, a refresh shows all there is.
    reader.refresh().unwrap();
    seen.refreshed += 1;
    assert_eq!(describe_read_only(&reader).unwrap(), describe(&store).unwrap(), "seed {seed}");
    assert_eq!(reader.recovery_report().last_batch, store.accepted().unwrap().0);
}

#[test]
fn writes_between_any_two_calls_of_the_reader_never_show() {
    let mut seen = Seen::default();
    for seed in 0..160 {
        read_between(seed, [8, 20, 60, 200][usize::try_from(seed / 2 % 4).unwrap()], &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.opened > 100 && seen.repeated > 20 && seen.read > 40, "{seen:?}");
    assert!(seen.stale > 10 && seen.snapshots > 50 && seen.stale_snapshots > 20, "{seen:?}");
}

#[test]
fn looking_changes_nothing_on_the_disk() {
    let disk = SimulatedDisk::new(3);
    let mut writer = Writer::new(options(disk.clone()).open("/store").unwrap(), 3);
    (0..200).for_each(|_| writer.step());
    let before = disk.operations();
    let mut reader = options(disk.clone()).open_read_only("/store").unwrap();
    describe_read_only(&reader).unwrap();
    reader.refresh().unwrap();
    assert_eq!(disk.operations(), before, "something was written, flushed, created, removed or locked");
    // Nor beside a store that nobody has open.
    let killed = disk.kill();
    let states =
        |disk: &SimulatedDisk| disk.crash_points().outcomes(64, 0).map(|one| one.to_string()).collect::<Vec<_>>();
    let before = (killed.operations(), states(&killed));
    let reader = options(killed.clone()).open_read_only("/store").unwrap();
    assert_eq!(describe_read_only(&reader).unwrap(), describe(&writer.store).unwrap());
    assert_eq!((killed.operations(), states(&killed)), before);
}

#[test]
fn torn_tail_is_reported_and_left_alone() {
    let disk = SimulatedDisk::new(5);
    let store = options(disk.clone()).open("/store").unwrap();
    store.log(1).append(&[entry(1)]).unwrap();
    let crash = {
        let buffered = [entry(2), entry(3), entry(4)];
        for entry in buffered {
            store.log(1).append_with(&[entry], Durability::Buffered).unwrap();
        }
        disk.crash_points()
    };
    let mut torn = 0;
    for outcome in crash.outcomes(400, 1) {
        let disk = crash.disk_after(&outcome);
        let reader = options(disk.clone()).open_read_only("/store").unwrap();
        let next = reader.log(1).bounds().unwrap().unwrap().end;
        let all: Vec<_> = reader.log(1).iter(1..next).map(|entry| entry.unwrap().index).collect();
        assert_eq!(all, (1..next).collect::<Vec<_>>());
        torn += u64::from(reader.recovery_report().torn.is_some());
        // A writer finds the same.
        let store = options(disk).open("/store").unwrap();
        assert_eq!(store.recovery_report(), reader.recovery_report());
        assert_eq!(describe(&store).unwrap(), describe_read_only(&reader).unwrap());
    }
    assert!(torn > 10, "{torn}");
}

#[test]
fn damage_is_told_at_once_where_nobody_writes() {
    let disk = SimulatedDisk::new(6);
    let store = Options::new().disk(Arc::new(disk.clone())).open("/store").unwrap();
    for index in 1..40 {
        store.log(1).append(&[entry(index)]).unwrap();
    }
    store.close().unwrap();
    let directory = disk.open_directory("/store".as_ref(), false).unwrap();
    let file = directory.open("0000000000000001.seg", Access::ReadWrite).unwrap();
    file.write_all_at(8192 + 300, &[0xff; 4]).unwrap();
    let calls = disk.calls();
    let reader = options(disk.clone()).open_read_only("/store").unwrap();
    assert!(!reader.recovery_report().damaged.is_empty() && !reader.damage().unwrap().is_empty());
    assert!(disk.calls() - calls < 1000, "it was looked at {} times", disk.calls() - calls);
}

#[test]
fn what_is_no_store_stays_none() {
    let disk = SimulatedDisk::new(7);
    for (path, create) in [("/absent", false), ("/empty", true)] {
        if create {
            drop(disk.open_directory(path.as_ref(), true).unwrap());
        }
        let before = disk.operations();
        let error = options(disk.clone()).open_read_only(path).unwrap_err();
        assert!(matches!(error, Error::NotAStore { .. }), "{error}");
        assert_eq!(disk.operations(), before);
    }
}

#[test]
fn a_read_that_fails_on_the_disk_is_no_damage_and_not_stale() {
    let disk = SimulatedDisk::new(8);
    let store = options(disk.clone()).open("/store").unwrap();
    store.log(1).append(&[entry(1)]).unwrap();
    let reader = options(disk.clone()).open_read_only("/store").unwrap();
    disk.fail(Fault::new(Calls::Only(OperationKind::Read), Failure::InputOutput));
    let error = reader.log(1).get(1).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && !error.is_stale(), "{error}");
    assert_eq!(reader.log(1).get(1).unwrap(), entry(1));
}

fn entry(index: u64) -> Entry {
    Entry::new(index, 1, data_of(200, &[index]))
}

// ----------------------------------------------------------------------------------------------------- real disk

#[test]
fn a_writer_in_another_thread_never_shows() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = Options::new().segment_bytes(SEGMENT_BYTES);
    let mut writer = Writer::new(options.open(folder.path()).unwrap(), 11);
    (0..50).for_each(|_| writer.step());
    let (store, states) = (writer.store.clone(), Arc::clone(&writer.states));
    let ends = AtomicBool::new(false);
    let mut seen = Seen::default();
    let released = thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                writer.step();
            }
        });
        let begun = Instant::now();
        let mut held = VecDeque::new();
        while begun.elapsed() < Duration::from_secs(4) {
            let durable = store.durable().unwrap().0;
            let reader = match options.open_read_only(folder.path()) {
                Ok(reader) => reader,
                Err(Error::Timeout { .. }) => {
                    seen.given_up += 1;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            seen.opened += 1;
            seen.repeated += u64::from(reader.attempts() > 1);
            let k = reader.recovery_report().last_batch;
            assert!(durable <= k, "batch {durable} was durable, {k} is shown");
            match describe_read_only(&reader) {
                Ok(found) => {
                    wait_for(&states, k);
                    check_state(&states.lock().unwrap(), k, &found);
                    seen.read += 1;
                }
                Err(error) => {
                    assert!(error.is_stale(), "{error}");
                    seen.stale += 1;
                }
            }
            // One that was opened a while ago: its files were used again meanwhile.
            held.push_back(reader);
            if let Some(held) = (held.len() > 15).then(|| held.pop_front()).flatten() {
                match describe_read_only(&held) {
                    Ok(found) => check_state(&states.lock().unwrap(), held.recovery_report().last_batch, &found),
                    Err(error) => {
                        assert!(error.is_stale(), "{error}");
                        seen.stale += 1;
                    }
                }
            }
            thread::sleep(Duration::from_millis(3));
        }
        ends.store(true, Ordering::Relaxed);
        store.stats().unwrap().released
    });
    println!("{seen:?}, {released} segments given back");
    assert!(seen.opened > 30 && seen.read > 20 && seen.stale > 5 && released > 50, "{seen:?}, {released}");
}

/// The writer remembers a state a moment after it wrote it.
fn wait_for(states: &Mutex<BTreeMap<u64, String>>, k: u64) {
    let begun = Instant::now();
    while states.lock().unwrap().last_key_value().is_none_or(|(last, _)| *last < k) {
        assert!(begun.elapsed() < Duration::from_secs(20), "the writer never remembered batch {k}");
        thread::sleep(Duration::from_micros(100));
    }
}

const CHILD: &str = "DURAMEN_WRITE_BESIDE_A_READER";

/// The writer of the test below; nothing, when it is run for itself. Says what it has acknowledged, until it is killed.
#[test]
fn child_that_writes_beside_a_reader() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let log = Options::new().segment_bytes(SEGMENT_BYTES).open(folder).unwrap().log(1);
    let mut out = std::io::stderr().lock();
    for index in 1.. {
        let durability = if index % 40 == 0 { Durability::Durable } else { Durability::Buffered };
        log.append_with(&[child_entry(index)], durability).unwrap();
        if index % 20 == 0 {
            log.purge(index - 15, child_entry(index - 15).term, &[]).unwrap();
        }
        if index % 40 == 0 {
            writeln!(out, "{index}").unwrap();
        }
    }
}

fn child_entry(index: u64) -> Entry {
    Entry::new(index, 1 + index / 100, data_of(usize::try_from(index % 1500).unwrap(), &[index]))
}

#[test]
fn a_writer_in_another_process_never_shows() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_beside_a_reader", "--nocapture"])
        .env(CHILD, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let told = {
        let (acknowledged, lines) = (Arc::clone(&acknowledged), BufReader::new(child.stderr.take().unwrap()));
        thread::spawn(move || {
            for line in lines.lines() {
                acknowledged.store(line.unwrap().parse().unwrap(), Ordering::Release);
            }
        })
    };
    while acknowledged.load(Ordering::Acquire) < 100 {
        thread::sleep(Duration::from_millis(1));
    }
    let (begun, mut seen) = (Instant::now(), Seen::default());
    let mut reader = Store::open_read_only(folder.path()).unwrap();
    while begun.elapsed() < Duration::from_secs(3) {
        let floor = acknowledged.load(Ordering::Acquire);
        match reader.refresh() {
            Ok(()) => seen.refreshed += 1,
            Err(Error::Timeout { .. }) => {
                seen.given_up += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        seen.repeated += u64::from(reader.attempts() > 1);
        // Long enough for what is shown to be purged, and its files to be used again.
        thread::sleep(Duration::from_millis(if seen.refreshed.is_multiple_of(5) { 300 } else { 0 }));
        let (log, bounds) = (reader.log(1), reader.log(1).bounds().unwrap().unwrap());
        assert!(bounds.end > floor, "{floor} was acknowledged, {bounds:?} is shown");
        assert_eq!(log.boundary().unwrap().unwrap().index + 1, bounds.start);
        for entry in log.iter(bounds) {
            match entry {
                Ok(entry) => {
                    assert_eq!(entry, child_entry(entry.index));
                    seen.read += 1;
                }
                Err(error) => {
                    assert!(error.is_stale(), "{error}");
                    seen.stale += 1;
                }
            }
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    told.join().unwrap();
    reader.refresh().unwrap();
    let last = reader.log(1).last().unwrap().unwrap().index;
    println!("{seen:?}, {last} entries written");
    assert!(last >= acknowledged.load(Ordering::Acquire));
    assert!(seen.refreshed > 20 && seen.read > 300 && seen.stale > 3, "{seen:?}");
}

#[test]
fn files_and_their_times_stay_as_they_are() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path).unwrap();
    for index in 1..60 {
        store.log(1).append(&[entry(index)]).unwrap();
    }
    store.close().unwrap();
    fs::remove_file(path.join("LOCK")).unwrap();
    let before = look(&path);
    let mut reader = Store::open_read_only(&path).unwrap();
    assert!(reader.recovery_report().clean);
    assert_eq!(reader.log(1).iter(1..60).map(|entry| entry.unwrap().data.len()).sum::<usize>(), 59 * 200);
    reader.refresh().unwrap();
    let layout = reader.layout();
    assert_eq!((layout.first_live, layout.entries, layout.entry_bytes), (1, 59, 59 * 240));
    assert!(layout.segments.iter().any(|segment| segment.is_begun) && layout.watermark > 0);
    assert_eq!(look(&path), before);
    let absent = folder.path().join("absent");
    assert!(matches!(Store::open_read_only(&absent), Err(Error::NotAStore { .. })));
    assert!(!absent.exists());
}

/// Names, times of change and bytes of all files, and the time of the directory.
fn look(path: &Path) -> BTreeMap<String, (std::time::SystemTime, Vec<u8>)> {
    let changed = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let mut seen = BTreeMap::from([(".".to_owned(), (changed(path), Vec::new()))]);
    for item in fs::read_dir(path).unwrap() {
        let item = item.unwrap();
        let mut bytes = Vec::new();
        fs::File::open(item.path()).unwrap().read_to_end(&mut bytes).unwrap();
        seen.insert(item.file_name().into_string().unwrap(), (changed(&item.path()), bytes));
    }
    seen
}
