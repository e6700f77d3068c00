//! What one thread alone never meets: something that is accepted while maintenance is at it, and a read that is under way
//! while its segment goes.

use super::gated::{Gate, Held};
use super::hooked::HookedDisk;
use super::model::{Change, Model, Write};
use super::oracle::compare;
use super::plan::STORE;
use duramen::io::{CrashPoints, Disk, SimulatedDisk};
use duramen::planted::Bugs;
use duramen::{Boundary, Entry, HardState, Options, Store};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SEGMENT_BYTES: u64 = 128 << 10;

/// Where the first batch of a segment lies.
const SEGMENT_START: u64 = 8_192;

/// So many entries of [`LARGE`] bytes fill three segments and a part of the next, so that nothing has to be prepared for
/// the batches that follow.
const LARGE_ENTRIES: u64 = 100;
const LARGE: usize = 2_000;

/// One of them in the second segment, whose file is used again first.
const IN_THE_SECOND: u64 = LARGE_ENTRIES * 2 / 5;

/// How long a batch of copies is waited for where none must come.
const PATIENCE: Duration = Duration::from_secs(2);

/// A group's entries are about to be written again when a truncation of them is accepted.
pub(crate) fn truncated_meanwhile(bugs: Bugs) -> Result<(), String> {
    changed_meanwhile(bugs, Change::Append(entries(1, 10, 100)), Change::TruncateFrom(3))
}

/// A group's hard state is about to be written again when a vote is accepted.
pub(crate) fn voted_meanwhile(bugs: Bugs) -> Result<(), String> {
    let vote = |term, vote| Change::SetHardState(HardState { term, vote: Some(vote), commit: None });
    changed_meanwhile(bugs, vote(7, 1), vote(8, 2))
}

/// Group 1 has `before` in the oldest segment; everything else is purged. The flush of that is held, and that of one more
/// write, so that `meanwhile` is accepted and not written when maintenance makes up its mind.
fn changed_meanwhile(bugs: Bugs, before: Change, meanwhile: Change) -> Result<(), String> {
    let disk = SimulatedDisk::new(1);
    let store = open(Arc::new(disk.clone()), bugs);
    let mut model = Model::default();
    let mut wrote = |change: Write| {
        model = model.after(&change);
        change
    };
    wrote(Write::durable(1, before)).send(&store).map_err(text)?;
    for index in 1..=LARGE_ENTRIES {
        wrote(Write::durable(0, Change::Append(entries(index, 1, LARGE)))).send(&store).map_err(text)?;
    }
    let purge = wrote(Write::durable(0, purge(LARGE_ENTRIES)));
    let between = wrote(Write::durable(0, Change::Append(entries(LARGE_ENTRIES + 1, 1, 100))));
    let meanwhile = wrote(Write::durable(1, meanwhile));
    let accepted = accepted(&store);
    let flushes = disk.block_flushes();
    thread::scope(|scope| {
        let purging = scope.spawn(|| purge.send(&store));
        flushes.wait_until_blocked();
        let writing = scope.spawn(|| between.send(&store));
        flushes.wait_until_blocked_by(2);
        let changing = scope.spawn(|| meanwhile.send(&store));
        while accepted + 3 > self::accepted(&store) {
            thread::yield_now();
        }
        let maintaining = scope.spawn(|| store.maintain());
        let begun = Instant::now();
        while accepted + 4 > self::accepted(&store) && begun.elapsed() < PATIENCE {
            thread::yield_now();
        }
        drop(flushes);
        purging.join().expect("no panic").map_err(text)?;
        writing.join().expect("no panic").map_err(text)?;
        changing.join().expect("no panic").map_err(text)?;
        maintaining.join().expect("no panic").map_err(text)
    })?;
    if store.stats().map_err(text)?.released == 0 {
        return Err("nothing was released".into());
    }
    compare(&store, &model)?;
    store.close().map_err(text)?;
    drop(store);
    compare(&open(Arc::new(disk), bugs), &model).map_err(|why| format!("after an opening: {why}"))
}

/// A read has found where its entry lies when everything is purged and its segment given back; enough is written then to
/// use the file again.
pub(crate) fn released_while_read(bugs: Bugs) -> Result<(), String> {
    let gate = Gate::default();
    let store = open(Arc::new(HookedDisk::new(SimulatedDisk::new(1), gate.clone())), bugs);
    let log = store.log(0);
    for index in 1..=LARGE_ENTRIES {
        log.append(&entries(index, 1, LARGE)).map_err(text)?;
    }
    gate.close(Held::Read);
    let read = thread::scope(|scope| {
        let reading = scope.spawn(|| log.get(IN_THE_SECOND));
        gate.wait_until_blocked();
        log.purge(LARGE_ENTRIES, 1, b"").map_err(text)?;
        for index in LARGE_ENTRIES + 1..=2 * LARGE_ENTRIES {
            log.append(&entries(index, 1, LARGE)).map_err(text)?;
        }
        gate.open();
        reading.join().expect("no panic").map_err(|error| format!("a read that had begun: {error}"))
    });
    gate.open();
    if store.stats().map_err(text)?.released == 0 {
        return Err("nothing was released".into());
    }
    match read? == entries(IN_THE_SECOND, 1, LARGE)[0] {
        true => Ok(()),
        false => Err("a read that had begun found something else".into()),
    }
}

/// The oldest segment holds nothing more when the first batch of the next one has its place and is not yet written: until
/// it is durable, the oldest one is all that there is.
pub(crate) fn released_before_the_next_is_begun() -> Result<(), String> {
    let (disk, gate) = (SimulatedDisk::new(1), Gate::default());
    let store = open(Arc::new(HookedDisk::new(disk.clone(), gate.clone())), Bugs::default());
    store.log(1).append(&entries(1, 1, 100)).map_err(text)?;
    store.log(1).drop_group().map_err(text)?;
    gate.close(Held::WriteAt(SEGMENT_START));
    let batches = accepted(&store);
    let cut = thread::scope(|scope| {
        let appending = scope.spawn(|| store.log(0).append(&entries(1, 1, 200_000)));
        gate.wait_until_blocked();
        let maintaining = scope.spawn(|| store.maintain());
        let begun = Instant::now();
        while !maintaining.is_finished() && begun.elapsed() < PATIENCE {
            thread::yield_now();
        }
        let cut = disk.crash_points();
        gate.open();
        appending.join().expect("no panic").map_err(text)?;
        maintaining.join().expect("no panic").map_err(text)?;
        Ok(cut)
    });
    let cut: CrashPoints = cut.inspect_err(|_: &String| gate.open())?;
    let after = cut.disk_after(&cut.all_old());
    let options = Options::new().disk(Arc::new(after)).segment_bytes(SEGMENT_BYTES);
    match options.open(STORE).map_err(text)?.recovery_report().last_batch {
        found if found == batches => Ok(()),
        found => Err(format!("{batches} batches were durable, {found} are there")),
    }
}

/// The number of a reset is written again, an append follows below it, then the entry before that is written again: replay
/// finds the append behind the number alone.
pub(crate) fn append_below_a_number_that_was_carried() -> Result<(), String> {
    let disk = SimulatedDisk::new(1);
    let store = open(Arc::new(disk.clone()), Bugs::default());
    let (large, small) = (store.log(0), store.log(1));
    let fill = |first: u64, count: u64| {
        (first..first + count).try_for_each(|index| large.append(&entries(index, 1, LARGE)).map(drop))
    };
    small.reset(Some(77)).map_err(text)?;
    fill(1, 35).map_err(text)?;
    small.put(&entries(5, 1, 100)).map_err(text)?;
    fill(36, LARGE_ENTRIES - 35).map_err(text)?;
    large.purge(LARGE_ENTRIES, 1, b"").map_err(text)?;
    let carried = store.stats().map_err(text)?.carried;
    small.append(&entries(6, 1, 100)).map_err(text)?;
    fill(LARGE_ENTRIES + 1, 30).map_err(text)?;
    large.purge(LARGE_ENTRIES + 30, 1, b"").map_err(text)?;
    if carried == 0 || store.stats().map_err(text)?.carried == carried {
        return Err(format!("not carried twice: {carried}, then {:?}", store.stats()));
    }
    drop((large, small));
    store.close().map_err(text)?;
    drop(store);
    let store = open(Arc::new(disk), Bugs::default());
    match store.log(1).bounds().map_err(text)? {
        Some(Range { start: 5, end: 7 }) => Ok(()),
        bounds => Err(format!("bounds {bounds:?} after an opening")),
    }
}

fn open(disk: Arc<dyn Disk>, bugs: Bugs) -> Store {
    // What is read is what the disk has.
    let options = Options::new().disk(disk).segment_bytes(SEGMENT_BYTES).cache_bytes(0).bugs(bugs);
    options.open(STORE).unwrap_or_else(|why| panic!("opening failed: {why}"))
}

fn entries(first: u64, count: u64, bytes: usize) -> Vec<Entry> {
    (first..first + count).map(|index| Entry::new(index, 1, vec![u8::try_from(index).unwrap(); bytes])).collect()
}

fn purge(index: u64) -> Change {
    Change::Purge(Boundary { index, term: 1, blob: Vec::new() })
}

fn accepted(store: &Store) -> u64 {
    store.accepted().expect("it is open").0
}

fn text(error: duramen::Error) -> String {
    error.to_string()
}
