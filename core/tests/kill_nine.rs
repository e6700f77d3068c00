//! A process with four writers is killed with SIGKILL in the midst of it, 200 times, on the real file system. It tells its
//! parent each write before it makes it and after it was acknowledged; both survive it in a pipe. Afterwards the parent opens
//! the store and compares every byte: everything acknowledged is there, buffered writes too, because the page cache
//! survives a process; beyond that at most the one write that each thread had under way, whole or not at all.

#[path = "support/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;

use duramen::{Durability, Entry, HardState, Options, Store};
use model::{Change, Limits, Model};
use random::{Random, data_of};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: u64 = 200;
/// A store is opened and read as a whole twice a round, so each serves for part of the rounds only.
const ROUNDS_PER_STORE: u64 = 50;
const IN_FLIGHT_MIN: u64 = 150;
const SEGMENT_BYTES: u64 = 32 << 10;
const THREADS: u64 = 4;
const UNLIMITED: Limits = Limits { entry_bytes: u64::MAX, batch_bytes: u64::MAX, groups: u64::MAX };

const CHILD: &str = "DURAMEN_WRITE_UNTIL_KILLED";
const ROUND: &str = "DURAMEN_ROUND";

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    let mut totals = Totals::default();
    let begun = Instant::now();
    for first in (0..ROUNDS).step_by(usize::try_from(ROUNDS_PER_STORE).unwrap()) {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut models = vec![Model::default(); usize::try_from(THREADS).unwrap()];
        for round in first..first + ROUNDS_PER_STORE {
            let told = kill_one(folder.path(), round);
            check(folder.path(), round, &mut models, &told, &mut totals);
        }
        totals.segments += segments(folder.path());
    }
    let Totals { kills, in_flight, acknowledged, buffered, survived, entries, segments } = totals;
    println!(
        "{kills} kills, {in_flight} with a write in flight, in {:.1} s\n\
         {acknowledged} writes acknowledged ({buffered} buffered), all there; of those in flight {survived} are there\n\
         {entries} entries compared, {segments} segments written",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(kills, ROUNDS);
    assert!(in_flight >= IN_FLIGHT_MIN, "only {in_flight} kills met a write in flight");
    assert!(segments >= ROUNDS, "only {segments} segments: it hardly ever rolled");
}

#[derive(Debug, Default)]
struct Totals {
    kills: u64,
    in_flight: u64,
    acknowledged: u64,
    buffered: u64,
    survived: u64,
    entries: u64,
    segments: u64,
}

// ------------------------------------------------------------------------------------------------------- one write

/// What a thread does, in the form in which it is told. Everything about the write follows from it.
#[derive(Debug, Clone, Copy)]
struct Told {
    thread: u64,
    kind: u64,
    /// The index it begins at.
    first: u64,
    /// The index in the thread's second group.
    second: u64,
    count: u64,
    /// No two writes have the same.
    term: u64,
    durable: bool,
}

impl Told {
    fn line(&self) -> String {
        let Told { thread, kind, first, second, count, term, durable } = self;
        format!("begin {thread} {kind} {first} {second} {count} {term} {}\n", u64::from(*durable))
    }

    fn parse(numbers: &[u64]) -> Told {
        let [thread, kind, first, second, count, term, durable] = *numbers else { panic!("it tells {numbers:?}") };
        Told { thread, kind, first, second, count, term, durable: durable == 1 }
    }

    fn durability(&self) -> Durability {
        if self.durable { Durability::Durable } else { Durability::Buffered }
    }

    /// Each thread has two groups of its own.
    fn changes(&self) -> Vec<(u64, Change)> {
        let (group, other) = (self.thread, self.thread + THREADS);
        let entries = |group, first| (first..first + self.count).map(|index| entry(group, index, self.term)).collect();
        match self.kind {
            0 => vec![(group, Change::Append(entries(group, self.first)))],
            1 => vec![(group, Change::Replace(self.first, entries(group, self.first)))],
            2 => vec![(group, Change::Truncate(self.first))],
            _ => vec![
                (group, Change::Append(entries(group, self.first))),
                (other, Change::HardState(HardState { term: self.term, vote: Some(group), commit: Some(self.first) })),
                (other, Change::Append(entries(other, self.second))),
            ],
        }
    }
}

/// Every byte is a function of group, index and term. Most entries are small, and some larger than a segment.
fn entry(group: u64, index: u64, term: u64) -> Entry {
    let bytes = match Random::new(group ^ index << 8 ^ term << 20).below(200) {
        0 => 70_000,
        1..10 => 9_000,
        other => usize::try_from(other * 3).unwrap(),
    };
    Entry::new(index, term, data_of(bytes, &[group, index, term]))
}

// ------------------------------------------------------------------------------------------------------- the child

/// Not a test of its own: what the process does that is killed.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = open(Path::new(&path));
    std::thread::scope(|scope| {
        for thread in 1..=THREADS {
            let store = &store;
            scope.spawn(move || write_until_killed(store, round, thread));
        }
    });
}

fn write_until_killed(store: &Store, round: u64, thread: u64) {
    let mut random = Random::new(round << 8 | thread);
    let next = |group| store.log(group).bounds().unwrap().map_or(1, |bounds| bounds.end);
    for n in 0.. {
        let (mut first, second) = (next(thread), next(thread + THREADS));
        let mut kind = random.below(8);
        if (1..=2).contains(&kind) {
            first = first.saturating_sub(random.below(6)).max(1);
        } else if kind > 2 && kind < 6 {
            kind = 0;
        }
        let term = (round + 1) << 32 | n;
        let (count, durable) = (1 + random.below(3), random.once_in(3));
        let told = Told { thread, kind, first, second, count, term, durable };
        tell(&told.line());
        model::write(store, &told.changes(), told.durability()).unwrap();
        tell(&format!("done {thread}\n"));
        if !durable {
            std::thread::sleep(Duration::from_micros(random.below(400)));
        }
    }
}

/// One system call each, so that lines of several threads never mix. The harness writes nothing there.
fn tell(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

// ------------------------------------------------------------------------------------------------------ the parent

/// What one thread told before it was killed.
#[derive(Debug, Default)]
struct Thread {
    acknowledged: Vec<Told>,
    in_flight: Option<Told>,
}

/// Lets a child write for a while, kills it, and returns what its threads told.
fn kill_one(path: &Path, round: u64) -> Vec<Thread> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_writes_until_it_is_killed", "--nocapture"]).env(CHILD, path);
    command.env(ROUND, round.to_string()).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let reading = std::thread::spawn(move || read_told(&first, lines));
    std::thread::sleep(Duration::from_micros(Random::new(round).below(70_000)));
    kill(&mut child);
    reading.join().unwrap()
}

fn kill(child: &mut Child) {
    child.kill().expect("the child still writes");
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "the child ended by itself: {status}");
}

fn read_told(first: &str, mut lines: BufReader<ChildStderr>) -> Vec<Thread> {
    let mut text = first.to_owned();
    std::io::Read::read_to_string(&mut lines, &mut text).unwrap();
    let mut threads: Vec<Thread> = (0..THREADS).map(|_| Thread::default()).collect();
    for line in text.lines() {
        let mut words = line.split(' ');
        let word = words.next();
        let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let thread = |number: u64| usize::try_from(number - 1).unwrap();
        match (word, &numbers[..]) {
            (Some("begin"), numbers) => {
                let told = Told::parse(numbers);
                threads[thread(told.thread)].in_flight = Some(told);
            }
            (Some("done"), [number]) => {
                let thread = &mut threads[thread(*number)];
                let told = thread.in_flight.take().expect("a write is told before it is made");
                thread.acknowledged.push(told);
            }
            _ => panic!("the child says: {line}\n{text}"),
        }
    }
    threads
}

/// Opens the store and compares what each thread's groups hold with what it told.
fn check(path: &Path, round: u64, models: &mut [Model], told: &[Thread], totals: &mut Totals) {
    let store = open(path);
    let found = model::dump(&store).unwrap();
    totals.kills += 1;
    totals.in_flight += u64::from(told.iter().any(|thread| thread.in_flight.is_some()));
    totals.entries += found.groups.values().map(|group| group.entries.len() as u64).sum::<u64>();
    for (number, (model, thread)) in (1..).zip(models.iter_mut().zip(told)) {
        for told in &thread.acknowledged {
            model.apply(&told.changes(), &UNLIMITED).unwrap_or_else(|refusals| panic!("{told:?}: {refusals:?}"));
            totals.buffered += u64::from(!told.durable);
        }
        totals.acknowledged += thread.acknowledged.len() as u64;
        let mut with_in_flight = model.clone();
        if let Some(told) = &thread.in_flight {
            with_in_flight.apply(&told.changes(), &UNLIMITED).unwrap();
        }
        let mut own = found.clone();
        own.groups.retain(|group, _| *group == number || *group == number + THREADS);
        let is_acknowledged = own == *model;
        assert!(
            is_acknowledged || own == with_in_flight,
            "round {round}, thread {number}: found {}, acknowledged {}, with the write in flight {}",
            outline(&own),
            outline(model),
            outline(&with_in_flight)
        );
        totals.survived += u64::from(!is_acknowledged);
        *model = own;
    }
    assert!(found.groups.keys().all(|group| (1..=2 * THREADS).contains(group)), "{:?}", found.groups.keys());
    if round.is_multiple_of(2) {
        store.close().unwrap();
    }
}

/// Groups, indexes and terms, without the data.
fn outline(model: &Model) -> String {
    let groups = model.groups.iter().map(|(number, group)| {
        let terms: Vec<_> = group.entries.values().rev().take(5).map(|entry| (entry.index, entry.term)).collect();
        format!("group {number}: {:?}, newest {terms:?}, {:?}", group.bounds(), group.hard_state)
    });
    groups.collect::<Vec<_>>().join("; ")
}

fn open(path: &Path) -> Store {
    Options::new().segment_bytes(SEGMENT_BYTES).open(path).unwrap()
}

/// How many segments there have been: their numbers are never skipped.
fn segments(path: &Path) -> u64 {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let numbers = names.filter_map(|name| u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok());
    numbers.max().unwrap_or(0)
}
