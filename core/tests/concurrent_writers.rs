//! Many writers at once, and a power cut or a kill at any moment: the batches of all writers, in the order of their
//! positions, survive up to one and the same position, no lower than anything that was acknowledged as durable.
//!
//! Positions tell the order, so the model is built when the writers are done. `DURAMEN_WRITERS_SEED=7` runs one round; the
//! threads may meet in another order then.

#[path = "support/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;

use duramen::io::{CrashPoints, SimulatedDisk};
use duramen::{Durability, Entry, HardState, Options, Store};
use model::{Change, Limits, Model};
use random::{Random, data_of};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

const ROUNDS: u64 = 200;
const WRITERS: u64 = 6;
const WRITES_EACH: u64 = 25;
const CRASHES_PER_ROUND: u64 = 12;
const OUTCOMES_PER_CRASH: usize = 6;
const UNLIMITED: Limits = Limits::NONE;

type Changes = Vec<(u64, Change)>;

#[test]
fn a_crash_keeps_all_writers_up_to_one_position() {
    let one = std::env::var("DURAMEN_WRITERS_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = one.map_or(0..ROUNDS, |seed| seed..seed + 1);
    let mut totals = Totals::default();
    for seed in seeds {
        round(seed, &mut totals);
    }
    let Totals { writes, crashes, states, beyond } = totals;
    println!(
        "{writes} writes by {WRITERS} writers, {crashes} crashes, {states} states after them, \
         in {beyond} of which more survived than had to"
    );
    let is_telling = states > 5_000 && beyond > 1_000 && states - beyond > 1_000;
    assert!(one.is_some() || is_telling, "{totals:?}");
}

#[derive(Debug, Default)]
struct Totals {
    writes: u64,
    crashes: u64,
    states: u64,
    /// In how many states more survived than had to.
    beyond: u64,
}

/// What was there when the machine or the process stopped.
enum Crash {
    Power(Box<CrashPoints>),
    Kill(SimulatedDisk),
}

#[derive(Default)]
struct Seen {
    /// The highest position that was acknowledged as durable, and the highest that was acknowledged at all.
    durable: u64,
    acknowledged: u64,
    crashes: Vec<(Crash, u64)>,
}

fn round(seed: u64, totals: &mut Totals) {
    let disk = SimulatedDisk::new(seed);
    let store = open(&disk);
    let seen = Arc::new(Mutex::new(Seen::default()));
    crash_now_and_then(&disk, seed, &seen);
    let mut written = BTreeMap::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, seen) = (&store, &seen);
                scope.spawn(move || write(store, seed, writer, seen))
            })
            .collect();
        for writer in writers {
            for (position, changes) in writer.join().unwrap_or_else(|_| panic!("seed {seed}: a writer panicked")) {
                assert!(written.insert(position, changes).is_none(), "seed {seed}: position {position} issued twice");
            }
        }
    });
    disk.on_operation(None);
    let silent = store.accepted().unwrap().0 - written.len() as u64;
    assert_eq!(silent, store.stats().unwrap().carried, "seed {seed}: a position without a write");
    let states = states(&written, store.accepted().unwrap().0);
    assert_eq!(model::dump(&store).unwrap(), states[states.len() - 1], "seed {seed}");
    totals.writes += written.len() as u64;
    let crashes = std::mem::take(&mut lock(&seen).crashes);
    for (crash, floor) in &crashes {
        totals.crashes += 1;
        for after in disks_after(crash, seed) {
            let found = check(seed, &after, *floor, &states);
            totals.states += 1;
            totals.beyond += u64::from(found > *floor);
        }
    }
}

/// The model after each position, the empty one first. What maintenance writes changes nothing.
fn states(written: &BTreeMap<u64, Changes>, accepted: u64) -> Vec<Model> {
    let mut states = vec![Model::default()];
    for position in 1..=accepted {
        let mut next = states[states.len() - 1].clone();
        if let Some(changes) = written.get(&position) {
            next.apply(changes, &UNLIMITED).unwrap_or_else(|refusals| panic!("accepted, expected {refusals:?}"));
        }
        states.push(next);
    }
    states
}

/// Keeps what a crash would leave before some of the next disk operations, with what must survive it.
fn crash_now_and_then(disk: &SimulatedDisk, seed: u64, seen: &Arc<Mutex<Seen>>) {
    let (seen, mut random) = (Arc::clone(seen), Random::new(seed));
    disk.on_operation(Some(Box::new(move |_, disk| {
        // Held to the end: what is acknowledged meanwhile need not survive.
        let mut seen = lock(&seen);
        if seen.crashes.len() as u64 >= CRASHES_PER_ROUND || !random.once_in(12) {
            return;
        }
        let crash = match random.once_in(3) {
            true => (Crash::Kill(disk.kill()), seen.acknowledged),
            false => (Crash::Power(Box::new(disk.crash_points())), seen.durable),
        };
        seen.crashes.push(crash);
    })));
}

fn disks_after(crash: &Crash, seed: u64) -> Vec<SimulatedDisk> {
    match crash {
        Crash::Kill(disk) => vec![disk.clone()],
        Crash::Power(points) => {
            let outcomes = points.outcomes(OUTCOMES_PER_CRASH, seed);
            outcomes.map(|outcome| points.disk_after(&outcome)).collect()
        }
    }
}

fn check(seed: u64, disk: &SimulatedDisk, floor: u64, states: &[Model]) -> u64 {
    let store = open(disk);
    let found = store.accepted().unwrap().0;
    assert!(found >= floor, "seed {seed}: {found} batches are left, {floor} were acknowledged");
    let expected = usize::try_from(found).ok().and_then(|found| states.get(found));
    assert_eq!(Some(&model::dump(&store).unwrap()), expected, "seed {seed}: after {found} batches");
    // The store goes on: nothing that was cut comes back.
    let state = HardState { term: seed, vote: None, commit: None };
    let next = store.log(99).set_hard_state(state).unwrap().0;
    assert_eq!(next, found + 1, "seed {seed}: nothing is written before it");
    drop(store);
    let mut expected = expected.cloned().unwrap_or_default();
    expected.apply(&[(99, Change::HardState(state))], &UNLIMITED).expect("it is sound");
    assert_eq!(model::dump(&open(disk)).unwrap(), expected, "seed {seed}: after one more write and an opening");
    found
}

// ------------------------------------------------------------------------------------------------------ the writers

fn write(store: &Store, seed: u64, writer: u64, seen: &Mutex<Seen>) -> Vec<(u64, Changes)> {
    let mut random = Random::new(seed << 16 | writer);
    let mut own = Model::default();
    let mut written = Vec::new();
    for n in 1..=WRITES_EACH {
        let changes = changes(&mut random, &own, writer, n);
        let before = own.clone();
        own.apply(&changes, &UNLIMITED).expect("it is sound");
        let durability = random.pick(&[Durability::Durable, Durability::Buffered]);
        let position = model::write(store, &changes, durability).unwrap().0;
        // What changes nothing is not written: its position is that of some batch before it, perhaps another writer's.
        if own != before {
            written.push((position, changes));
        }
        acknowledge(seen, position, durability);
        if random.once_in(10) {
            acknowledge(seen, store.sync().unwrap().0, Durability::Durable);
        }
    }
    written
}

fn acknowledge(seen: &Mutex<Seen>, position: u64, durability: Durability) {
    let mut seen = lock(seen);
    seen.acknowledged = seen.acknowledged.max(position);
    if durability == Durability::Durable {
        seen.durable = seen.durable.max(position);
    }
}

/// Each writer has two groups of its own, so it knows what they hold.
fn changes(random: &mut Random, own: &Model, writer: u64, n: u64) -> Changes {
    let (group, other) = (writer, writer + WRITERS);
    let next = |group| own.group(group).next().unwrap_or(1);
    let bytes = match random.below(16) {
        0 => 20_000,
        1..4 => 4_000,
        _ => usize::try_from(random.below(300)).expect("it is small"),
    };
    let entries = |group: u64, first: u64| -> Vec<Entry> {
        (first..first + 1 + n % 3).map(|index| Entry::new(index, n, data_of(bytes, &[group, index, n]))).collect()
    };
    let back = next(group).saturating_sub(random.below(5)).max(1);
    match random.below(8) {
        0 => vec![(group, Change::Replace(back, entries(group, back)))],
        1 => vec![(group, Change::Truncate(back))],
        2 => vec![(group, Change::HardState(HardState { term: n, vote: Some(writer), commit: None }))],
        3 => vec![
            (other, Change::Append(entries(other, next(other)))),
            (group, Change::Append(entries(group, next(group)))),
        ],
        _ => vec![(group, Change::Append(entries(group, next(group))))],
    }
}

fn open(disk: &SimulatedDisk) -> Store {
    let options = Options::new().segment_bytes(16 << 10).disk(Arc::new(disk.clone()));
    options.open("/store").unwrap_or_else(|error| panic!("the store does not open: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
