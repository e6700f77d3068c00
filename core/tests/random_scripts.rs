//! Random scripts against a plain model: every operation, every error, reopens, kills, power cuts and failing disks, on
//! the simulated disk. After each step the store must be what the model says; after a power cut it must be what the model
//! was after one and the same number of batches for all groups, between what was durable and what was accepted.
//!
//! `DURAMEN_SCRIPT_SEED=7 cargo test -p duramen --test random_scripts replay -- --nocapture` runs one script again, step
//! by step. `DURAMEN_SCRIPTS=100000` runs more of them.

#[path = "support/maker.rs"]
mod maker;
#[path = "support/model.rs"]
mod model;
#[path = "support/random.rs"]
mod random;
#[path = "support/run.rs"]
mod run;
#[path = "support/script.rs"]
mod script;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/tally.rs"]
mod tally;

use duramen::planted::{Bug, Bugs};
use script::Script;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use tally::{ERRORS, OPERATIONS, Tally};

const SCRIPTS: u64 = 2_000;
const STEPS: usize = 100;

/// An old salt does harm only where a client writes the same bytes again after a crash, which no script does.
const PLANTED: &[Bug] = &[
    Bug::FlushLeftOut,
    Bug::FlushRetried,
    Bug::DirectoryFlushLeftOut,
    Bug::AcknowledgedBeforeFlush,
    Bug::WatermarkTooEarly,
    Bug::TruncationForgotten,
    Bug::RollWithoutBarrier,
];

/// Every operation and every error must come up so often in all scripts together.
const SEEN_MIN: u64 = 50;

#[test]
fn scripts_agree_with_the_model() {
    let scripts = number_from("DURAMEN_SCRIPTS").unwrap_or(SCRIPTS);
    let (next, tally, failure) = (AtomicU64::new(0), Mutex::new(Tally::default()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= scripts || lock(&failure).is_some() {
                        return;
                    }
                    let (seen, result) = run(&Script::random(seed, STEPS), false);
                    lock(&tally).add(&seen);
                    if let Err(what) = result {
                        lock(&failure).get_or_insert((seed, what));
                    }
                }
            });
        }
    });
    if let Some((seed, what)) = lock(&failure).take() {
        panic!("{}", report(seed, &what));
    }
    let tally = lock(&tally);
    println!("{scripts} scripts of {STEPS} steps agree with the model\n{tally}");
    let rare: Vec<_> = OPERATIONS.iter().chain(ERRORS).filter(|name| tally.count(name) < SEEN_MIN).collect();
    assert!(rare.is_empty(), "seen fewer than {SEEN_MIN} times: {rare:?}");
}

/// The comparison can fail: each mistake planted in the store is found by one of the first scripts.
#[test]
fn planted_mistakes_are_found() {
    let next_panics = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found: Vec<(Bug, Option<u64>)> = PLANTED.iter().map(|bug| (*bug, first_failure(*bug))).collect();
    std::panic::set_hook(next_panics);
    for (bug, seed) in &found {
        println!("{bug:?}: found by {}", seed.map_or("none".into(), |seed| format!("script {seed}")));
    }
    assert!(found.iter().all(|(_, seed)| seed.is_some()), "the scripts overlook one of {found:?}");
}

fn first_failure(bug: Bug) -> Option<u64> {
    (0..SCRIPTS).find(|seed| {
        let script = Script { bugs: Bugs::default().with(bug), ..Script::random(*seed, STEPS) };
        run(&script, false).1.is_err()
    })
}

/// Runs the script of one seed again and says what each step does.
#[test]
fn replay() {
    let Some(seed) = number_from("DURAMEN_SCRIPT_SEED") else {
        println!("DURAMEN_SCRIPT_SEED names no script to run");
        return;
    };
    let result = run(&Script::random(seed, STEPS), true).1;
    assert!(result.is_ok(), "{}", report(seed, &result.unwrap_err()));
}

/// Runs a script; a panic in the store is a failure like any other.
fn run(script: &Script, is_told: bool) -> (Tally, Result<(), String>) {
    let mut tally = Tally::default();
    let result = catch_unwind(AssertUnwindSafe(|| script.run(&mut tally, is_told, None)));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or(panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or("a panic".into()))
    });
    (tally, result)
}

/// What failed, the shortest script that fails, and how to run it again.
fn report(seed: u64, what: &str) -> String {
    let script = shrink(Script::random(seed, STEPS));
    let shortest = run(&script, false).1.err().unwrap_or_default();
    format!(
        "script {seed} fails: {what}\n\nshortest: {shortest}\n{script}\n\nDURAMEN_SCRIPT_SEED={seed} \
         cargo test -p duramen --test random_scripts replay -- --nocapture"
    )
}

/// Drops steps, many at once and then single ones, as long as the script goes on failing.
fn shrink(script: Script) -> Script {
    let (mut shortest, mut size) = (script, STEPS / 2);
    while size > 0 {
        let mut at = 0;
        while at < shortest.steps.len() {
            let mut shorter = shortest.clone();
            shorter.steps.drain(at..shorter.steps.len().min(at + size));
            match run(&shorter, false).1 {
                Err(_) => shortest = shorter,
                Ok(()) => at += size,
            }
        }
        size /= 2;
    }
    shortest
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
