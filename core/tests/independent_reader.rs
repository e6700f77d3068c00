//! `tests/reader`, which knows nothing but FORMAT.md, and this crate read the same stores: every entry and every value of
//! every group must come out the same. The stores are made by random scripts: on a real directory, where openings end in
//! a close, in a drop, or in a copy of the files as a killed process leaves them; and on the simulated disk, where power
//! fails inside writes, openings and closings. The reader comes first, so it sees what no opening has mended.
//!
//! `DURAMEN_READER_SEED=7 cargo test -p duramen --test independent_reader replay -- --nocapture` runs one script again, on
//! both. `DURAMEN_READER_SCRIPTS=10000` runs more of them.
#![forbid(unsafe_code)]

#[path = "reader/damaged.rs"]
mod damaged;
#[path = "sweep/golden.rs"]
#[allow(
    dead_code,
    clippy::cast_possible_truncation,
    reason = "the sweep looks at more of it, and its numbers are small"
)]
mod golden;
#[path = "support/maker.rs"]
mod maker;
#[path = "support/model.rs"]
mod model;
#[path = "sweep/picture.rs"]
mod picture;
#[path = "support/random.rs"]
mod random;
#[path = "reader/reader.rs"]
mod reader;
#[path = "support/run.rs"]
mod run;
#[path = "support/script.rs"]
mod script;
#[path = "reader/shown.rs"]
mod shown;
#[path = "reader/stage.rs"]
mod stage;
#[path = "support/stop.rs"]
mod stop;
#[allow(dead_code, reason = "only the scripts' own test adds them up")]
#[path = "support/tally.rs"]
mod tally;

use duramen::{Batch, Entry, HardState, Options};
use reader::{Met, Reader};
use run::Checked;
use script::Script;
use stage::Stage;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tally::Tally;

/// So many scripts that fail are shown.
const FAILURES_MAX: usize = 12;

const SCRIPTS: u64 = 80;
const SCRIPTS_SIMULATED: u64 = 150;
const STEPS: usize = 60;
const STEPS_SIMULATED: usize = 100;

/// How often each script, on average, must bring what the reader has to know. Kinds have their numbers from FORMAT.md.
const REAL_MIN: &[(&str, f64)] = &[
    ("stores", 6.25),
    ("segments", 30.0),
    ("begun", 20.0),
    ("batches", 40.0),
    ("batches behind another in its block", 3.0),
    ("echoes", 30.0),
    ("echoes compared", 25.0),
    ("clean", 2.0),
    ("footers", 1.0),
    ("snapshots", 1.0),
    ("records of kind 1", 10.0),
    ("records of kind 2", 0.2),
    ("records of kind 3", 4.0),
    ("records of kind 4", 1.5),
    ("records of kind 5", 25.0),
    ("records of kind 6", 0.5),
    ("records of kind 7", 5.0),
    ("records of kind 8", 0.5),
    ("records of kind 9", 0.1),
    ("records of kind 10", 6.0),
    ("records of kind 12", 4.0),
    ("records of kind 13", 1.0),
    ("records of kind 15", 0.5),
];
const SIMULATED_MIN: &[(&str, f64)] = &[
    ("stores", 12.0),
    ("torn", 0.08),
    ("batches", 100.0),
    ("snapshots", 3.0),
    ("records of kind 11", 0.1),
    ("records of kind 12", 10.0),
    ("records of kind 15", 2.0),
];

#[test]
fn stores_on_a_real_disk_read_the_same() {
    in_parallel("real", number_from("DURAMEN_READER_SCRIPTS").unwrap_or(SCRIPTS), on_real_disk, REAL_MIN);
}

#[test]
fn stores_after_power_cuts_read_the_same() {
    let scripts = number_from("DURAMEN_READER_SCRIPTS").unwrap_or(SCRIPTS_SIMULATED);
    in_parallel("simulated", scripts, on_simulated_disk, SIMULATED_MIN);
}

/// What scripts do not reach: an entry larger than a segment, and an echo too large to be written.
#[test]
fn large_things_read_the_same() {
    let (folder, mut reader) = (folder(), Reader::start());
    let path = folder.path().join("store");
    let store = Options::new().segment_bytes(16 << 10).open(&path).unwrap();
    store.log(1).append(&[Entry::new(1, 1, vec![7; 100_000])]).unwrap();
    let states = (0..2000).fold(Batch::new(), |batch, group| {
        let state = HardState { term: group, vote: None, commit: Some(group) };
        batch.log(group, |log| log.set_hard_state(state))
    });
    store.write(states).unwrap();
    store.log(1).append(&[Entry::new(2, 1, b"behind them")]).unwrap();
    let found = model::dump(&store).unwrap();
    drop(store);
    reader.compare(&path, &found).unwrap();
    assert!(reader.met.count("echoes without records") > 0, "{}", reader.met);
}

#[test]
fn replay() {
    let Some(seed) = number_from("DURAMEN_READER_SEED") else {
        println!("DURAMEN_READER_SEED names no script to run");
        return;
    };
    let folder = folder();
    for run in [on_real_disk, on_simulated_disk as fn(u64, &Path, &mut Reader, bool) -> Checked] {
        let result = run(seed, &folder.path().join("store"), &mut Reader::start(), true);
        assert!(result.is_ok(), "{}", result.unwrap_err());
    }
}

// ------------------------------------------------------------------------------------------------------- many scripts

/// Runs the script of a seed in a directory that is not there, and removes it.
trait OneScript: Fn(u64, &Path, &mut Reader, bool) -> Checked + Sync {}

impl<F: Fn(u64, &Path, &mut Reader, bool) -> Checked + Sync> OneScript for F {}

fn on_real_disk(seed: u64, directory: &Path, reader: &mut Reader, is_told: bool) -> Checked {
    Stage::new(seed, directory, reader, is_told).perform(&Script::random(seed, STEPS))
}

/// Each opening is one more store to read.
fn on_simulated_disk(seed: u64, directory: &Path, reader: &mut Reader, is_told: bool) -> Checked {
    let script = Script::random(seed, STEPS_SIMULATED);
    let mut witness = |disk: &_, found: &_| {
        stage::copy_out(disk, directory);
        reader.compare(directory, found)
    };
    let result = script.run(&mut Tally::default(), is_told, Some(&mut witness));
    let _ = fs::remove_dir_all(directory);
    result
}

fn in_parallel(disk: &str, scripts: u64, run: impl OneScript, least: &[(&'static str, f64)]) {
    let begun = Instant::now();
    let (next, met, failures) = (AtomicU64::new(0), Mutex::new(Met::default()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let (folder, mut reader) = (folder(), Reader::start());
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= scripts || lock(&failures).len() >= FAILURES_MAX {
                        break;
                    }
                    if let Err(what) = run(seed, &folder.path().join("store"), &mut reader, false) {
                        lock(&failures).push((seed, what));
                    }
                }
                lock(&met).add(&reader.met);
            });
        }
    });
    for (seed, what) in lock(&failures).iter() {
        println!("seed {seed} on the {disk} disk: {what}\n");
    }
    let failed: Vec<u64> = lock(&failures).iter().map(|(seed, _)| *seed).collect();
    assert!(
        failed.is_empty(),
        "seeds {failed:?} on the {disk} disk, see above; replay and replay_damage run one again"
    );
    let met = lock(&met);
    println!(
        "{scripts} scripts (seeds 0 to {}) on the {disk} disk in {:.1} s\n{met}",
        scripts - 1,
        begun.elapsed().as_secs_f64()
    );
    let short = met.fewer_than(scripts, least);
    assert!(short.is_empty(), "too few: {short:?}");
}

// ---------------------------------------------------------------------------------------------------- damaged stores

const DAMAGES: u64 = 600;
const DAMAGED_MIN: &[(&str, f64)] = &[
    ("stores", 1.0),
    ("damaged groups", 0.3),
    ("footers instead of batches", 0.03),
    ("lost batches told by an echo", 0.05),
    ("lost batches that nobody knows", 0.04),
    ("records of kind 14", 0.01),
    ("records of kind 16", 0.03),
];

/// The golden stores of the corruption sweep.
#[test]
fn damaged_golden_stores_read_the_same() {
    let goldens = [golden::closed(), golden::crashed()];
    let damage = |seed: u64, directory: &Path, reader: &mut Reader, is_told: bool| {
        stage::copy_out(&goldens[usize::from(seed % 2 == 1)].disk, directory);
        damaged::compare(seed, directory, reader, is_told)
    };
    in_parallel("golden", number_from("DURAMEN_READER_DAMAGES").unwrap_or(DAMAGES), damage, DAMAGED_MIN);
}

/// Random stores, one damage before each opening of a script.
#[test]
fn damaged_stores_of_scripts_read_the_same() {
    let damages = number_from("DURAMEN_READER_DAMAGES").unwrap_or(DAMAGES);
    in_parallel("damaged", damages.div_ceil(10), damaged_script, &[("stores", 3.0)]);
}

fn damaged_script(seed: u64, directory: &Path, reader: &mut Reader, is_told: bool) -> Checked {
    let script = Script::random(seed, STEPS_SIMULATED);
    let mut nth = 0;
    let mut witness = |disk: &_, _: &_| {
        nth += 1;
        stage::copy_out(disk, directory);
        damaged::compare(seed << 16 | nth, directory, reader, is_told)
    };
    let result = script.run(&mut Tally::default(), is_told, Some(&mut witness));
    if result.is_ok() {
        let _ = fs::remove_dir_all(directory);
    }
    result
}

#[test]
fn replay_damage() {
    let Some(seed) = number_from("DURAMEN_READER_DAMAGE") else {
        println!("DURAMEN_READER_DAMAGE names no damage to do");
        return;
    };
    let (folder, goldens) = (folder(), [golden::closed(), golden::crashed()]);
    let directory = folder.path().join("store");
    let mut reader = Reader::start();
    let result = if seed >> 16 == 0 {
        stage::copy_out(&goldens[usize::from(seed % 2 == 1)].disk, &directory);
        damaged::compare(seed, &directory, &mut reader, true)
    } else {
        damaged_script(seed >> 16, &directory, &mut reader, true)
    };
    if result.is_err() {
        println!("kept in {}", folder.keep().display());
    }
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

// ------------------------------------------------------------------------------------------------ it also says no

/// Each kind of byte that counts, changed: the reader must say so.
#[test]
fn a_changed_byte_is_damage() {
    let (folder, mut reader) = (folder(), Reader::start());
    let path = folder.path().join("store");
    let store = Options::new().segment_bytes(16 << 10).open(&path).unwrap();
    let log = store.log(3);
    for index in 1..30 {
        log.append(&[Entry::new(index, 1, format!("the data of entry {index:04}"))]).unwrap();
    }
    log.set_meta("a key", b"and its value").unwrap();
    let mut writer = log.snapshot_writer().unwrap();
    std::io::Write::write_all(&mut writer, b"the data of a snapshot").unwrap();
    log.save_snapshot(writer.finish(20, 1, b"its configuration").unwrap()).unwrap();
    let found = model::dump(&store).unwrap();
    store.close().unwrap();
    drop(store);
    reader.compare(&path, &found).unwrap();
    for text in
        ["the data of entry 0001", "the data of entry 0029", "a key", "and its value", "of a snapshot", "its config"]
    {
        changed_where(&path, text.as_bytes(), &mut reader);
    }
    for magic in ["duramMAN", "duramSEG", "duramSNP"] {
        changed_where(&path, magic.as_bytes(), &mut reader);
    }
    reader.compare(&path, &found).unwrap();
    // And another expectation is not met.
    let mut other = found.clone();
    other.groups.get_mut(&3).unwrap().commit = Some(7);
    assert!(reader.compare(&path, &other).is_err());
    other.groups.clear();
    assert!(reader.compare(&path, &other).is_err());
}

/// Changes the first byte of every place where these bytes stand, in one file after the other.
fn changed_where(directory: &Path, bytes: &[u8], reader: &mut Reader) {
    let mut found = 0;
    for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
        let sound = fs::read(&file).unwrap();
        let mut spoiled = sound.clone();
        for at in (0..sound.len()).filter(|at| sound[*at..].starts_with(bytes)) {
            spoiled[at] ^= 1;
        }
        // A segment that holds nothing yet may have any header.
        let holds = |magic: &[u8]| sound.windows(magic.len()).any(|here| here == magic);
        if spoiled == sound || holds(b"duramSEG") && !holds(b"dBat") {
            continue;
        }
        found += 1;
        fs::write(&file, spoiled).unwrap();
        let answer = reader.read(directory);
        assert!(answer.status == 1, "{} was changed: {answer:?}", file.display());
        fs::write(&file, sound).unwrap();
    }
    assert!(found > 0, "{:?} stands nowhere", String::from_utf8_lossy(bytes));
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("there is room for a directory")
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
