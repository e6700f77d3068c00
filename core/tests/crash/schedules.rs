//! What one thread alone never meets: something that is accepted while maintenance is at it, and a read that is under way
//! while its segment goes.

use super::gated::{GatedDisk, ReadGate};
use super::model::{Change, Model, Write};
use super::oracle::compare;
use super::plan::STORE;
use duramen::io::{Disk, SimulatedDisk};
use duramen::planted::Bugs;
use duramen::{Boundary, Entry, HardState, Options, Store};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const SEGMENT_BYTES: u64 = 128 << 10;

/// So many entries of [`LARGE`] bytes fill three segments and a part of the next, so that nothing has to be prepared for
/// the batches that follow.
const LARGE_ENTRIES: u64 = 100;
const LARGE: usize = 2_000;

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

/// Group 1 has `before` in the oldest segment; everything else is purged. The flush of that is held, so that `meanwhile`
/// is accepted and not written when maintenance makes up its mind.
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
    let meanwhile = wrote(Write::durable(1, meanwhile));
    let accepted = accepted(&store);
    let flushes = disk.block_flushes();
    thread::scope(|scope| {
        let purging = scope.spawn(|| purge.send(&store));
        flushes.wait_until_blocked();
        let changing = scope.spawn(|| meanwhile.send(&store));
        while accepted + 2 > self::accepted(&store) {
            thread::yield_now();
        }
        let maintaining = scope.spawn(|| store.maintain());
        let begun = Instant::now();
        while accepted + 3 > self::accepted(&store) && begun.elapsed() < PATIENCE {
            thread::yield_now();
        }
        drop(flushes);
        purging.join().expect("no panic").map_err(text)?;
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
    let gate = ReadGate::default();
    let store = open(Arc::new(GatedDisk { disk: SimulatedDisk::new(1), gate: gate.clone() }), bugs);
    let log = store.log(0);
    for index in 1..=LARGE_ENTRIES {
        log.append(&entries(index, 1, LARGE)).map_err(text)?;
    }
    gate.close();
    let read = thread::scope(|scope| {
        let reading = scope.spawn(|| log.get(1));
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
    match read? == entries(1, 1, LARGE)[0] {
        true => Ok(()),
        false => Err("a read that had begun found something else".into()),
    }
}

fn open(disk: Arc<dyn Disk>, bugs: Bugs) -> Store {
    let options = Options::new().disk(disk).segment_bytes(SEGMENT_BYTES).bugs(bugs);
    options.open(STORE).expect("it opens")
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
