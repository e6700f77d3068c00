//! How much of the disk a store may take, compared after every call with a bound that is computed here, from what was asked.
//!
//! The files counted are the segments, the pool and a segment that is being made. They may take
//!
//! > 2 × (the blocks that hold live entries + the bytes of small state) + 4 segments + the 2 files of the pool.
//!
//! - *Blocks that hold live entries*: blocks of 4 KiB in which any part of an entry lies that can still be read, 40 bytes of
//!   header with it, each counted once. A batch's entries lie side by side, so so many of one batch that follow each other
//!   take at most their bytes in blocks, rounded up, and one block more.
//! - *Small state*: for every hard state, boundary, metadata value, snapshot and number of a reset its bytes and 48 for its record.
//! - *A segment*: `segment_bytes`, or what the largest batch needs, if that is more.
//!
//! The four segments are the two that may be begun and full of what is gone, the one that is being written, and the one that
//! is prepared. What a crash has left beside them goes with the first write after it, or with `maintain`. The bound holds for segments of 64 KiB and more; in smaller ones the header, the closing batch and the footer
//! take more than half; and for batches of up to a sixteenth of a segment, whose gaps at a segment's end are small (what
//! small stores take beside that, the four segments hide).
//!
//! Where a store has a thread of its own it may take five segments more than what it held when that thread last had nothing to
//! do allows: three that it may be behind, one that is prepared ahead, and one that is being written for that.

#[path = "support/random.rs"]
mod random;

use duramen::io::{Directory, Disk, SimulatedDisk};
use duramen::{Durability, Entry, HardState, Options, Store};
use random::{Random, data_of};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

const DIRECTORY: &str = "/store";
const BLOCK: u64 = 4096;
const ENTRY_HEADER: u64 = 40;
const RECORD: u64 = 48;
const KIB: u64 = 1 << 10;

// ------------------------------------------------------------------------------------------------------------- tests

#[test]
fn random_histories_never_take_more_than_the_bound() {
    random_histories(false);
}

#[test]
fn random_histories_in_the_background_never_take_more_than_five_segments_beside_the_bound() {
    random_histories(true);
}

fn random_histories(in_background: bool) {
    let (mut most, mut carried, mut released, mut samples) = (0.0f64, 0, 0, 0);
    for seed in 0..runs(40) {
        let segment_bytes = [64 * KIB, 128 * KIB, 1024 * KIB][usize::try_from(seed % 3).unwrap()];
        let mut bed = Bed::begun(seed, segment_bytes, in_background);
        for _ in 0..400 {
            bed.step();
            samples += 1;
        }
        let stats = bed.store().stats().unwrap();
        most = most.max(bed.most);
        (carried, released) = (carried + bed.carried + stats.carried, released + bed.released + stats.released);
        bed.check_contents();
    }
    println!(
        "{samples} samples, at most {:.0} % of the bound; {carried} batches carried, {released} released",
        most * 100.0
    );
    assert!(carried > 100 && released > 100, "{carried} carried, {released} released");
}

/// Metadata and votes count, too: a store of nothing else must neither grow nor copy all of it with every write.
#[test]
fn small_state_larger_than_some_segments_is_not_carried_with_every_write() {
    let mut bed = Bed::new(1, 256 * KIB);
    for group in 0..100 {
        bed.set_meta(group, "key", 8_000);
    }
    let before = bed.store().stats().unwrap();
    let writes = 2_000;
    for _ in 0..writes {
        let group = bed.random.below(100);
        bed.set_hard_state(group);
        bed.check("a vote");
    }
    let after = bed.store().stats().unwrap();
    let carried = after.carried - before.carried;
    println!("{carried} batches carried for {writes} votes beside 800,000 bytes of metadata; at most {:.2}", bed.most);
    // A vote takes a block and a batch that is carried two: in 2 MB that may be wasted, all is carried once.
    assert!(carried < 2 * writes, "{carried} batches carried for {writes} writes");
}

/// Where live entries fill the log, so that nothing would be won, they are not written again and again.
#[test]
fn a_log_of_small_segments_is_not_carried_with_every_write() {
    for segment_bytes in [16 * KIB, 32 * KIB, 64 * KIB, 256 * KIB] {
        let disk = SimulatedDisk::new(1);
        let store = options(&disk, segment_bytes).open(DIRECTORY).unwrap();
        for group in 0..300 {
            store.log(group).append(&[Entry::new(1, 1, vec![7; 1_000])]).unwrap();
        }
        let before = store.stats().unwrap();
        let writes = 1_000;
        for term in 0..writes {
            store.log(term % 300).set_hard_state(HardState { term, ..HardState::default() }).unwrap();
        }
        let after = store.stats().unwrap();
        let carried = after.carried - before.carried;
        println!(
            "segments of {segment_bytes}: {carried} batches carried for {writes} votes, {} bytes",
            after.segment_bytes
        );
        // In the smallest segments each vote takes one, and each entry that is carried half of one.
        assert!(carried < 5 * writes, "{carried} batches carried for {writes} writes");
    }
}

/// What a purge makes dead in blocks, not in bytes, counts at once.
#[test]
fn space_comes_back_when_entries_go_that_had_blocks_of_their_own() {
    let mut bed = Bed::new(3, 64 * KIB);
    bed.append(1, 4_000, 100, Durability::Durable);
    for _ in 0..300 {
        bed.append(2, 1, 10, Durability::Durable);
    }
    let last = bed.model[&2].next - 1;
    bed.purge(2, last);
    bed.check("a purge of 300 blocks and few bytes");
}

/// Regression: a copy of 1 MiB at a time made a segment of its own size, whatever size was configured.
#[test]
fn carrying_makes_no_segment_larger_than_configured() {
    let mut bed = Bed::new(4, 64 * KIB);
    for _ in 0..100 {
        bed.append(1, 10, 500, Durability::Durable);
    }
    for _ in 0..200 {
        bed.append(2, 20, 1_000, Durability::Durable);
        let last = bed.model[&2].next - 1;
        bed.purge(2, last);
    }
    assert!(bed.store().stats().unwrap().carried > 0);
    let largest = files(&bed.disk).into_iter().filter(|(name, _)| name.ends_with(".seg")).map(|(_, size)| size).max();
    assert!(largest <= Some(64 * KIB), "a segment of {largest:?} bytes");
}

fn runs(default: u64) -> u64 {
    std::env::var("DURAMEN_SPACE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(default)
}

// ------------------------------------------------------------------------------------------------------------- model

/// What one group must hold.
#[derive(Debug, Default, Clone)]
struct Group {
    next: u64,
    /// Batch, term and size of the data of each entry.
    entries: BTreeMap<u64, (u64, u64, usize)>,
    boundary: Option<(u64, u64)>,
    hard_state: Option<HardState>,
    meta: BTreeMap<String, Vec<u8>>,
    has_snapshot: bool,
    told_next: bool,
}

impl Group {
    /// At most so many blocks hold the entries.
    fn blocks(&self) -> u64 {
        let (mut blocks, mut run) = (0, None::<(u64, u64, u64)>);
        let blocks_of = |run: Option<(u64, u64, u64)>| run.map_or(0, |(_, _, bytes)| bytes.div_ceil(BLOCK) + 1);
        for (index, (batch, _, size)) in &self.entries {
            let bytes = ENTRY_HEADER + *size as u64;
            run = match run {
                Some((of, last, sum)) if of == *batch && last + 1 == *index => Some((of, *index, sum + bytes)),
                ended => {
                    blocks += blocks_of(ended);
                    Some((*batch, *index, bytes))
                }
            };
        }
        blocks + blocks_of(run)
    }

    fn small_bytes(&self) -> u64 {
        let meta: u64 = self.meta.iter().map(|(key, value)| RECORD + 1 + (key.len() + value.len()) as u64).sum();
        let hard_state = self.hard_state.map_or(0, |_| RECORD + 32);
        let boundary = self.boundary.map_or(0, |_| RECORD + 4);
        let snapshot = if self.has_snapshot { RECORD + 40 } else { 0 };
        let told_next = if self.told_next { RECORD } else { 0 };
        meta + hard_state + boundary + snapshot + told_next
    }
}

/// A store, what it must hold, and what came of comparing the two.
struct Bed {
    random: Random,
    segment_bytes: u64,
    disk: SimulatedDisk,
    store: Option<Store>,
    model: BTreeMap<u64, Group>,
    batch: u64,
    term: u64,
    /// The most that was taken, as a part of the bound.
    most: f64,
    carried: u64,
    released: u64,
    seed: u64,
    steps: u64,
    in_background: bool,
    /// The bound of the last sample.
    bound_before: u64,
}

impl Bed {
    fn new(seed: u64, segment_bytes: u64) -> Bed {
        Bed::begun(seed, segment_bytes, false)
    }

    fn begun(seed: u64, segment_bytes: u64, in_background: bool) -> Bed {
        let disk = SimulatedDisk::new(seed);
        disk.run_in_background(in_background);
        let store = Some(options(&disk, segment_bytes).open(DIRECTORY).unwrap());
        let (model, random) = (BTreeMap::new(), Random::new(seed));
        let (batch, term, most, carried, released, steps, bound_before) = (0, 1, 0.0, 0, 0, 0, 0);
        Bed {
            random,
            segment_bytes,
            disk,
            store,
            model,
            batch,
            term,
            most,
            carried,
            released,
            seed,
            steps,
            in_background,
            bound_before,
        }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    fn group(&mut self, group: u64) -> &mut Group {
        self.model.entry(group).or_insert_with(|| Group { next: 1, ..Group::default() })
    }

    fn step(&mut self) {
        self.steps += 1;
        let group = self.random.below(6);
        // Group 5 lags: it is written seldom and purged never.
        let group = if group == 5 && !self.random.once_in(8) { 0 } else { group };
        let durability = self.random.pick(&[Durability::Durable, Durability::Durable, Durability::Buffered]);
        let what = match self.random.below(100) {
            0..50 => {
                let count = self.random.pick(&[1, 1, 2, 10, 50]);
                let bytes = self.random.pick(&[0, 10, 100, 1_000, 5_000]);
                let fitting = (usize::try_from(self.segment_bytes).unwrap() / 4 / (bytes + 40)).max(1) as u64;
                self.append(group, count.min(fitting), bytes, durability);
                "append"
            }
            50..65 if group != 5 => {
                let next = self.group(group).next;
                let upto = next.saturating_sub(1 + self.random.below(20) * self.random.below(2));
                self.purge(group, upto);
                "purge"
            }
            65..72 => {
                let back = self.random.below(10);
                self.truncate(group, back);
                "truncate"
            }
            72..80 => {
                self.set_hard_state(group);
                "hard state"
            }
            80..85 => {
                let bytes = self.random.pick(&[0, 100, 3_000]);
                self.set_meta(group, "key", bytes);
                "metadata"
            }
            85..88 => {
                self.snapshot(group);
                "snapshot"
            }
            88..90 => {
                self.drop_group(group);
                "drop group"
            }
            90..92 => {
                self.store().sync().unwrap();
                "sync"
            }
            92..96 => {
                self.reopen();
                "reopen"
            }
            96..98 => {
                self.kill_inside_an_append(group);
                "kill inside"
            }
            _ => {
                self.put(group);
                "put"
            }
        };
        self.check(what);
    }

    fn append(&mut self, group: u64, count: u64, bytes: usize, durability: Durability) {
        let first = self.group(group).next;
        let entries = self.entries(group, first, count, bytes);
        self.store().log(group).append_with(&entries, durability).unwrap();
        self.wrote(group, &entries);
    }

    fn put(&mut self, group: u64) {
        let floor = self.group(group).boundary.map_or(1, |(index, _)| index + 1);
        let room = self.group(group).next.saturating_sub(floor) + 3;
        let first = floor + self.random.below(room);
        let entries = self.entries(group, first, 3, 300);
        self.store().log(group).put(&entries).unwrap();
        self.wrote(group, &entries);
    }

    fn entries(&mut self, group: u64, first: u64, count: u64, bytes: usize) -> Vec<Entry> {
        self.batch += 1;
        let term = self.term;
        (first..first + count).map(|index| Entry::new(index, term, data_of(bytes, &[group, index, term]))).collect()
    }

    fn wrote(&mut self, group: u64, entries: &[Entry]) {
        let batch = self.batch;
        let log = self.group(group);
        for entry in entries {
            log.entries.insert(entry.index, (batch, entry.term, entry.data.len()));
            log.next = log.next.max(entry.index + 1);
        }
        log.told_next = false;
    }

    fn purge(&mut self, group: u64, upto: u64) {
        let term = self.term;
        let log = self.group(group);
        let boundary = log.boundary;
        let known = log
            .entries
            .get(&upto)
            .map(|(_, term, _)| *term)
            .or(boundary.filter(|(at, _)| *at == upto).map(|(_, term)| term));
        let term = known.unwrap_or(term);
        if boundary.is_none_or(|(at, _)| upto > at) {
            log.entries = log.entries.split_off(&(upto + 1));
            log.boundary = Some((upto, term));
            log.next = log.next.max(upto + 1);
        }
        self.store().log(group).purge(upto, term, b"blob").unwrap();
    }

    fn truncate(&mut self, group: u64, back: u64) {
        self.term += 1;
        let log = self.group(group);
        let floor = log.boundary.map_or(0, |(index, _)| index + 1);
        let from = log.next.saturating_sub(back).max(floor);
        log.entries.split_off(&from);
        let last = log.entries.last_key_value().map(|(index, _)| index + 1);
        log.next = last.or(log.boundary.map(|(index, _)| index + 1)).unwrap_or(1);
        self.store().log(group).truncate_from(from).unwrap();
    }

    fn set_hard_state(&mut self, group: u64) {
        self.batch += 1;
        let state = HardState { term: self.batch, vote: Some(1), commit: None };
        self.group(group).hard_state = Some(state);
        self.store().log(group).set_hard_state(state).unwrap();
    }

    fn set_meta(&mut self, group: u64, key: &str, bytes: usize) {
        self.batch += 1;
        let value = data_of(bytes, &[self.batch]);
        self.group(group).meta.insert(key.into(), value.clone());
        self.store().log(group).set_meta(key, &value).unwrap();
    }

    fn snapshot(&mut self, group: u64) {
        let log = self.group(group).clone();
        let Some((last, (_, term, _))) = log.entries.last_key_value() else { return };
        if self.store().log(group).snapshot_id().unwrap().is_some_and(|current| current.index > *last) {
            return;
        }
        let mut writer = self.store().log(group).snapshot_writer().unwrap();
        writer.write_all(&[7; 10_000]).unwrap();
        let snapshot = writer.finish(*last, *term, b"").unwrap();
        self.store().log(group).save_snapshot(snapshot).unwrap();
        self.group(group).has_snapshot = true;
    }

    fn drop_group(&mut self, group: u64) {
        self.store().log(group).drop_group().unwrap();
        self.model.remove(&group);
    }

    /// By close, by drop, by a kill, or by a power cut that comes when all is durable.
    fn reopen(&mut self) {
        self.count_stats();
        match self.random.below(4) {
            0 => self.store().close().unwrap(),
            1 => {}
            2 => self.disk = self.disk.kill(),
            _ => {
                self.store().sync().unwrap();
                let crash = self.disk.crash_points();
                let outcomes: Vec<_> = crash.outcomes(8, self.steps).collect();
                let at = usize::try_from(self.random.below(outcomes.len() as u64)).unwrap();
                self.disk = crash.disk_after(&outcomes[at]);
            }
        }
        self.open_again();
    }

    /// What a crash has left is removed by the first write, or by maintenance.
    fn open_again(&mut self) {
        self.store = None;
        self.store = Some(options(&self.disk, self.segment_bytes).open(DIRECTORY).unwrap());
        self.store().maintain().unwrap();
    }

    /// The process dies before some operation of an append and of what comes with it.
    fn kill_inside_an_append(&mut self, group: u64) {
        self.store().sync().unwrap();
        let (killed, left) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(1 + self.random.below(12))));
        let seen = Arc::clone(&killed);
        self.disk.on_operation(Some(Box::new(move |_, disk| {
            let mut left = left.lock().unwrap();
            *left = left.saturating_sub(1);
            if *left == 0 && seen.lock().unwrap().is_none() {
                *seen.lock().unwrap() = Some(disk.kill());
            }
        })));
        let before = self.model.clone();
        self.append(group, 20, 500, Durability::Durable);
        self.disk.on_operation(None);
        let Some(disk) = killed.lock().unwrap().take() else { return };
        self.count_stats();
        self.disk = disk;
        self.open_again();
        // Was it written before the process died?
        let bounds = self.store().log(group).bounds().unwrap();
        if bounds.map_or(1, |bounds| bounds.end) != self.model[&group].next {
            self.model = before;
        }
    }

    fn count_stats(&mut self) {
        let stats = self.store().stats().unwrap();
        (self.carried, self.released) = (self.carried + stats.carried, self.released + stats.released);
    }

    fn check(&mut self, what: &str) {
        let blocks: u64 = self.model.values().map(Group::blocks).sum();
        let small: u64 = self.model.values().map(Group::small_bytes).sum();
        let bound = 2 * (blocks * BLOCK + small) + 4 * self.segment_bytes + 2 * self.segment_bytes;
        if self.in_background {
            self.check_taken(what, bound.max(self.bound_before) + 5 * self.segment_bytes);
            self.bound_before = bound;
            self.store().maintain().unwrap();
            self.check_taken("maintenance", bound + 2 * self.segment_bytes);
        } else {
            self.check_taken(what, bound);
        }
        let stats = self.store().stats().unwrap();
        assert_eq!(stats.maintenance_failures, 0, "{stats:?}");
    }

    fn check_taken(&mut self, what: &str, bound: u64) {
        let files = files(&self.disk);
        let taken: u64 = files.iter().map(|(_, size)| size).sum();
        self.most = self.most.max(taken as f64 / bound as f64);
        assert!(
            taken <= bound,
            "seed {}, step {}, {what}: {taken} bytes, at most {bound}, segments of {}\n{:?}\n{files:?}",
            self.seed,
            self.steps,
            self.segment_bytes,
            self.store().stats()
        );
    }

    fn check_contents(&self) {
        for (number, group) in &self.model {
            let log = self.store().log(*number);
            for (index, (_, term, bytes)) in &group.entries {
                let entry = log.get(*index).unwrap();
                assert_eq!((entry.term, entry.data), (*term, data_of(*bytes, &[*number, *index, *term])));
            }
            assert_eq!(log.count().unwrap(), group.entries.len() as u64);
            assert_eq!(log.hard_state().unwrap(), group.hard_state);
            for (key, value) in &group.meta {
                assert_eq!(log.meta(key).unwrap().as_ref(), Some(value));
            }
        }
    }
}

fn options(disk: &SimulatedDisk, segment_bytes: u64) -> Options {
    Options::new().segment_bytes(segment_bytes).disk(Arc::new(disk.clone()))
}

/// Names and sizes of the segments, of the pool, and of a segment that is being made.
fn files(disk: &SimulatedDisk) -> Vec<(String, u64)> {
    let directory: Arc<dyn Directory> = disk.open_directory(DIRECTORY.as_ref(), false).unwrap();
    let names = directory.list().unwrap().into_iter();
    let counted =
        names.filter(|name| [".seg", ".old"].iter().any(|kind| name.ends_with(kind)) || name.starts_with("segment."));
    // The store may remove or rename a file meanwhile.
    counted.filter_map(|name| Some((name.clone(), disk.contents(DIRECTORY, &name).ok()?.len() as u64))).collect()
}
