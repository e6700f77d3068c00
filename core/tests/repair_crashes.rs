//! A damaged store is repaired, and the power goes at every moment meanwhile: what was taken back or given up is so as a whole or
//! not at all, what was acknowledged stays, what was not is still told as lost, and a power cut adds no damage of its own.

#[path = "sweep/picture.rs"]
mod picture;

use duramen::io::{CrashPoints, Disk, Outcome, SimulatedDisk};
use duramen::{Batch, Damage, Damaged, Durability, Entry, HardState, Health, Loss, Options, Store};
use picture::Picture;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

const DIRECTORY: &str = "/store";
const BLOCK: usize = 4096;
const GROUPS: [u64; 5] = [1, 2, 3, 9, 77];
/// So many outcomes of each power cut are looked at.
const OUTCOMES: usize = 64;
const STATES_LEAST: u64 = 8_000;

const OLD_VOTE: HardState = HardState { term: 0x00c0_ffee_0000_0001, vote: Some(1), commit: None };
const VOTE: HardState = HardState { term: 0x00c0_ffee_0bad_cafe, vote: Some(2), commit: Some(3) };
const NEW_VOTE: HardState = HardState { term: 0x00c0_ffee_1bad_cafe, vote: None, commit: Some(4) };

#[test]
fn a_power_cut_in_a_repair_leaves_what_was_before_or_what_was_to_be() {
    let mut states = 0;
    for (name, segment_bytes, is_closed, fills) in [
        ("closed, in small segments", 128 << 10, true, 40),
        ("closed", 256 << 10, true, 0),
        ("crashed", 256 << 10, false, 0),
    ] {
        let damaged = Damages { segment_bytes, fills, disk: damaged(segment_bytes, is_closed) };
        let run = Run::of(&damaged);
        let seen = run.try_all(&damaged).unwrap_or_else(|why| panic!("the store that was {name}: {why}"));
        let (moments, steps) = (run.moments.len(), run.history.len() - 1);
        println!(
            "a store {name}: {steps} steps, {moments} power cuts, {} states, {} of a step under way",
            seen.states, seen.under_way
        );
        assert!(seen.before.iter().all(|count| *count > 0), "every step was seen undone: {:?}", seen.before);
        assert!(seen.after.iter().all(|count| *count > 0), "and done: {:?}", seen.after);
        states += seen.states;
    }
    println!("{states} states in all");
    assert!(states >= STATES_LEAST, "only {states}");
}

// ------------------------------------------------------------------------------------------------- the damaged store

fn open(disk: &SimulatedDisk, segment_bytes: u64) -> duramen::Result<Store> {
    Options::new().disk(Arc::new(disk.clone())).segment_bytes(segment_bytes).cache_bytes(0).open(DIRECTORY)
}

fn data(group: u64, index: u64) -> Vec<u8> {
    format!("group {group} index {index};").into_bytes()
}

fn entry(group: u64, index: u64) -> Entry {
    Entry::new(index, term(index), data(group, index)).with_kind(3)
}

fn term(index: u64) -> u64 {
    1 + index / 5
}

fn entries(group: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(group, index)).collect()
}

struct Damages {
    segment_bytes: u64,
    /// So many writes come before the repair, so that the damaged segment is released.
    fills: u64,
    disk: SimulatedDisk,
}

/// Groups 1 to 3. Of a batch nobody knows what it did: it, and the one that told of it, are destroyed. Then entries of groups 1
/// and 3 are lost by name, and the hard state of group 2.
fn damaged(segment_bytes: u64, is_closed: bool) -> SimulatedDisk {
    let disk = SimulatedDisk::new(23);
    let store = open(&disk, segment_bytes).expect("the disk is sound");
    for group in 1..4 {
        store.log(group).append(&entries(group, 1..4)).unwrap();
        store.log(group).set_hard_state(OLD_VOTE).unwrap();
        store.log(group).set_meta("node", b"a:1").unwrap();
    }
    store.log(1).append(&entries(1, 4..6)).unwrap();
    store.log(3).append(&entries(3, 4..5)).unwrap();
    store.log(3).append(&entries(3, 5..6)).unwrap();
    store.log(1).append(&entries(1, 6..13)).unwrap();
    store.log(2).set_hard_state(VOTE).unwrap();
    store.log(3).set_hard_state(VOTE).unwrap();
    store.log(2).set_meta("id", b"two").unwrap();
    if is_closed {
        store.close().unwrap();
    }
    let points = disk.crash_points();
    let disk = points.disk_after(&points.all_old());
    for group in [1, 3] {
        let (name, at) = place(&disk, &data(group, 4));
        disk.overwrite_durable(DIRECTORY, &name, (at / BLOCK * BLOCK) as u64, &[0; BLOCK]).unwrap();
    }
    for (group, index) in [(1, 7), (1, 8), (1, 10), (1, 12), (3, 5)] {
        let (name, at) = place(&disk, &data(group, index));
        disk.flip_bit(DIRECTORY, &name, at as u64, 0).unwrap();
    }
    // The one of group 2: that of group 3 has the same bytes, and lies behind it.
    let (name, at) = place(&disk, &VOTE.term.to_le_bytes());
    disk.flip_bit(DIRECTORY, &name, at as u64, 0).unwrap();
    disk
}

/// The first place in the segments where these bytes stand.
fn place(disk: &SimulatedDisk, needle: &[u8]) -> (String, usize) {
    let names = disk.open_directory(DIRECTORY.as_ref(), false).unwrap().list().unwrap();
    let find = |name: String| {
        let bytes = disk.contents(DIRECTORY, &name).unwrap();
        let at = bytes.windows(needle.len()).position(|window| window == needle)?;
        Some((name, at))
    };
    names.into_iter().filter(|name| name.ends_with(".seg")).find_map(find).expect("it was written")
}

// ------------------------------------------------------------------------------------------------- the repair

type Write = Box<dyn Fn(&Store) -> duramen::Result<()>>;

/// What is done to the store, one batch each, and whether it is durable when it returns.
type Step = (bool, Write);

fn steps(batches: Loss, fills: u64) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    if fills > 0 {
        steps.push((true, Box::new(move |store| store.log(77).accept_loss(batches).map(drop))));
    }
    // What fills segments is gone at once, so the damaged one is released before anything is repaired.
    for at in (0..fills).map(|fill| 1 + fill * 4) {
        let many: Vec<Entry> = (at..at + 4).map(|index| Entry::new(index, 1, vec![7; 1800])).collect();
        let fill = move |store: &Store| {
            store.write(Batch::new().log(77, |log| log.append(&many).purge(at + 3, 1, b""))).map(drop)
        };
        steps.push((true, Box::new(fill)));
    }
    let mut durable = |step: Write| steps.push((true, step));
    // Of a log in doubt, one by one: what a peer has of those that are lost by name, and of those that nobody can name.
    for index in [7, 4, 10, 5] {
        durable(Box::new(move |store| store.log(1).repair(&[entry(1, index)]).map(drop)));
    }
    durable(Box::new(|store| store.log(1).append(&[entry(1, 13)]).map(drop)));
    durable(Box::new(|store| {
        let vote = Batch::new().log(2, |log| log.accept_loss(Loss::HardState).set_hard_state(NEW_VOTE));
        store.write(vote.log(3, |log| log.append(&[entry(3, 6)]))).map(drop)
    }));
    durable(Box::new(|store| store.log(2).append(&entries(2, 4..6)).map(drop)));
    durable(Box::new(|store| store.log(1).repair(&entries(1, 1..13)).map(drop)));
    durable(Box::new(move |store| store.log(1).accept_loss(batches).map(drop)));
    durable(Box::new(|store| store.log(1).append(&entries(1, 14..17)).map(drop)));
    durable(Box::new(|store| store.log(1).set_hard_state(VOTE).map(drop)));
    durable(Box::new(|store| store.log(3).accept_loss(Loss::Metadata).map(drop)));
    durable(Box::new(|store| store.log(3).set_meta("id", b"three").map(drop)));
    durable(Box::new(|store| store.log(3).repair(&entries(3, 4..5)).map(drop)));
    for loss in [Loss::BoundaryBlob, Loss::Snapshot, Loss::Log] {
        durable(Box::new(move |store| store.log(3).accept_loss(loss).map(drop)));
    }
    durable(Box::new(move |store| {
        let made = Batch::new().log(9, |log| log.accept_loss(batches).set_hard_state(VOTE).append(&[entry(9, 1)]));
        store.write(made).map(drop)
    }));
    steps.push((false, Box::new(|store| store.log(9).append_with(&[entry(9, 2)], Durability::Buffered).map(drop))));
    steps.push((false, Box::new(|store| store.log(1).append_with(&[entry(1, 17)], Durability::Buffered).map(drop))));
    let mut durable = |step: Write| steps.push((true, step));
    durable(Box::new(move |store| store.log(2).accept_loss(batches).map(drop)));
    durable(Box::new(|store| store.log(2).truncate_from(5).map(drop)));
    durable(Box::new(|store| store.accept_lost_batches().map(drop)));
    durable(Box::new(|store| store.log(77).set_hard_state(OLD_VOTE).map(drop)));
    durable(Box::new(|store| store.log(3).accept_loss(Loss::Entries { first: 0, last: 20, term: 1 }).map(drop)));
    durable(Box::new(|store| store.log(1).purge(9, term(9), b"blob").map(drop)));
    durable(Box::new(|store| store.log(9).drop_group().map(drop)));
    steps
}

/// What a power cut at one moment can leave, and what it must leave.
struct Moment {
    points: CrashPoints,
    /// So many steps are durable, and so many begun.
    durable: usize,
    begun: usize,
}

/// One repair from its begin to its end.
struct Run {
    /// What the store answers after each step.
    history: Vec<(Picture, Vec<Damage>)>,
    /// The damaged bytes that opening has met.
    damaged: Vec<Damaged>,
    moments: Vec<Moment>,
    steps_durable: Vec<bool>,
}

fn seen(store: &Store) -> (Picture, Vec<Damage>) {
    (Picture::of(store, &GROUPS), store.damage().unwrap())
}

impl Run {
    fn of(damages: &Damages) -> Run {
        let disk = damages.disk.kill();
        let (durable, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let moments = Arc::new(Mutex::new(Vec::new()));
        let (of_durable, of_begun, of_moments) = (Arc::clone(&durable), Arc::clone(&begun), Arc::clone(&moments));
        disk.on_operation(Some(Box::new(move |_, disk| {
            let (durable, begun) = (of_durable.load(Ordering::Relaxed), of_begun.load(Ordering::Relaxed));
            of_moments.lock().unwrap().push(Moment { points: disk.crash_points(), durable, begun });
        })));
        let store = open(&disk, damages.segment_bytes).expect("whatever is lost, a store is opened");
        let batches = check_losses(&store);
        let (mut history, damaged) = (vec![seen(&store)], store.recovery_report().damaged.clone());
        let steps = steps(batches, damages.fills);
        for (number, (is_durable, step)) in (1..).zip(&steps) {
            begun.store(number, Ordering::Relaxed);
            step(&store).unwrap_or_else(|error| panic!("step {number}: {error}"));
            if *is_durable {
                durable.store(number, Ordering::Relaxed);
            }
            history.push(seen(&store));
            store.maintain().expect("the disk is sound");
        }
        assert_eq!(store.damage().unwrap(), [], "all is repaired");
        let stats = store.stats().unwrap();
        println!("{} batches carried, {} segments released", stats.carried, stats.released);
        assert!(damages.fills == 0 || (stats.carried > 0 && stats.released > 0), "the losses were told again");
        let different = history.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(different, steps.len(), "every step can be seen");
        disk.on_operation(None);
        let moments = std::mem::take(&mut *moments.lock().unwrap());
        Run { history, damaged, moments, steps_durable: steps.iter().map(|(is_durable, _)| *is_durable).collect() }
    }

    /// Every state that each moment can leave, on all processors.
    fn try_all(&self, damages: &Damages) -> Result<Seen, String> {
        let (next, all) = (AtomicUsize::new(0), Mutex::new(Ok(Seen::new(self.steps_durable.len()))));
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    let mut own = Seen::new(self.steps_durable.len());
                    while let Some(moment) = self.moments.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for outcome in moment.points.outcomes(OUTCOMES, 7) {
                            match self.try_one(damages, moment, &outcome) {
                                Ok(steps) => own.note(moment, steps),
                                Err(why) => {
                                    let left = moment.points.explain(&outcome);
                                    let (durable, begun) = (moment.durable, moment.begun);
                                    *all.lock().unwrap() =
                                        Err(format!("{durable} to {begun} steps, left: {left}: {why}"));
                                    return;
                                }
                            }
                        }
                    }
                    if let Ok(seen) = &mut *all.lock().unwrap() {
                        seen.add(&own);
                    }
                });
            }
        });
        all.into_inner().unwrap()
    }

    /// Opens what is left, twice, and says after how many steps the store was so.
    fn try_one(&self, damages: &Damages, moment: &Moment, outcome: &Outcome) -> Result<usize, String> {
        let disk = moment.points.disk_after(outcome);
        let mut found = None;
        for round in ["first", "second"] {
            let store = open(&disk, damages.segment_bytes).map_err(|error| format!("the {round} opening: {error}"))?;
            let now = seen(&store);
            let steps = (moment.durable..=moment.begun).rev().find(|steps| self.history[*steps] == now);
            let Some(steps) = steps else {
                let (expected, _) = &self.history[moment.begun];
                return Err(format!("the {round} opening gives neither: {}", difference(expected, &now.0)));
            };
            if found.replace(steps).is_some_and(|first| first != steps) {
                return Err(format!("the second opening gives {steps} steps, the first {found:?}"));
            }
            let damaged = &store.recovery_report().damaged;
            // What has no segment any more is not met any more.
            if let Some(new) = damaged.iter().find(|damaged| !self.damaged.iter().any(|known| is_same(known, damaged)))
            {
                return Err(format!("the {round} opening meets other damage: {new:?}"));
            }
        }
        found.ok_or_else(|| "it was opened twice".into())
    }
}

fn is_same(one: &Damaged, other: &Damaged) -> bool {
    (&one.file, one.offset, one.first_batch, one.last_batch, one.known)
        == (&other.file, other.offset, other.first_batch, other.last_batch, other.known)
}

/// The store is what the test is said to be about. Returns the batches that nobody knows.
fn check_losses(store: &Store) -> Loss {
    let damage = store.damage().unwrap();
    let of_group = |group: u64| store.log(group).damage().unwrap();
    for (index, term) in [(7, 2), (8, 2), (10, 3), (12, 3)] {
        let names = |loss: &Loss| matches!(loss, Loss::Entries { first, last, term: of } if (*first..=*last).contains(&index) && *of == term);
        assert!(of_group(1).iter().any(names), "{index}");
    }
    assert!(of_group(2).contains(&Loss::HardState) && !of_group(3).contains(&Loss::HardState));
    assert!((1..4).all(|group| store.log(group).health().unwrap() == Health::Unknown));
    let unknown = damage.iter().filter(|damage| damage.group.is_none()).map(|damage| damage.loss);
    let unknown: Vec<Loss> = unknown.collect();
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    unknown[0]
}

fn difference(expected: &Picture, found: &Picture) -> String {
    let mut words = format!("groups {:?}, lost batches {}", found.listed, found.lost_batches);
    for (group, now) in &found.groups {
        let then = &expected.groups[group];
        let small = now.small.iter().filter(|(name, answer)| then.small[*name] != **answer);
        words += &format!("; group {group}: {:?} {:?} {:?}", now.health, now.losses, small.collect::<Vec<_>>());
        let other = now.entries.iter().filter(|(index, answer)| then.entries.get(index) != Some(answer));
        words += &format!(" entries {:?}", other.map(|(index, _)| index).collect::<Vec<_>>());
        let other = now.terms.iter().filter(|(index, answer)| then.terms.get(index) != Some(answer));
        words += &format!(" terms {:?}", other.map(|(index, _)| index).collect::<Vec<_>>());
    }
    words
}

/// What was seen: how often each step was under way and left undone, and how often it was done.
struct Seen {
    states: u64,
    under_way: u64,
    before: Vec<u64>,
    after: Vec<u64>,
}

impl Seen {
    fn new(steps: usize) -> Seen {
        Seen { states: 0, under_way: 0, before: vec![0; steps], after: vec![0; steps] }
    }

    fn note(&mut self, moment: &Moment, steps: usize) {
        self.states += 1;
        self.under_way += u64::from(moment.durable < moment.begun);
        for step in moment.durable..moment.begun {
            let of = if steps > step { &mut self.after } else { &mut self.before };
            of[step] += 1;
        }
    }

    fn add(&mut self, other: &Seen) {
        self.states += other.states;
        self.under_way += other.under_way;
        self.before.iter_mut().zip(&other.before).for_each(|(sum, more)| *sum += more);
        self.after.iter_mut().zip(&other.after).for_each(|(sum, more)| *sum += more);
    }
}
