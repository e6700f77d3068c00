//! Eleven workloads, every operation of the disk, the states that a power cut there can leave; and power cuts inside the
//! opening that follows, and inside the first write after it.
//!
//! `DURAMEN_CRASH_STATES=N` looks at so many states (`make crash-sweep N=…`). A violation prints a line that shows it
//! again, through the test `replay`.

mod crash;

use crash::enumeration::Enumeration;
use crash::plan::Plan;
use crash::run::Run;
use crash::schedules::{append_below_a_number_that_was_carried, released_before_the_next_is_begun};
use crash::tally::Tally;
use crash::violation::{REPLAY, Target};
use crash::workload::Workload;
use std::env;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many states all workloads together look at, at least, if nothing else is asked for.
const STATES: u64 = 200_000;

/// So many of them inside openings, releases and rewritings.
const STATES_IN_THE_MIDDLE: u64 = 30_000;

#[test]
fn durable_appends_survive_every_power_cut() {
    enumerate(Workload::Append);
}

#[test]
fn replaced_and_truncated_entries_stay_gone() {
    enumerate(Workload::Replace);
}

#[test]
fn joint_batches_of_many_groups_are_there_or_not() {
    enumerate(Workload::Groups);
}

#[test]
fn buffered_writes_are_lost_from_the_end_only() {
    enumerate(Workload::Buffered);
}

#[test]
fn entries_with_holes_between_them_are_there_or_not() {
    enumerate(Workload::Holes);
}

#[test]
fn purged_segments_are_released_and_used_again() {
    enumerate(Workload::Purge);
}

#[test]
fn snapshots_are_whole_whenever_a_log_names_one() {
    enumerate(Workload::Snapshots);
}

#[test]
fn what_lags_behind_is_carried_and_stays() {
    enumerate(Workload::Lagging);
}

#[test]
fn ten_thousand_groups_are_carried_and_stay() {
    enumerate(Workload::Many);
}

#[test]
fn handles_of_poisoned_stores_see_what_they_had() {
    enumerate(Workload::Retire);
}

#[test]
fn overlapping_writes_and_flushes_keep_their_order() {
    enumerate(Workload::Overlap);
}

#[test]
fn a_segment_is_not_released_before_the_next_one_is_begun() {
    released_before_the_next_is_begun().unwrap();
}

#[test]
fn an_append_below_the_carried_number_of_a_reset_is_replayed() {
    append_below_a_number_that_was_carried().unwrap();
}

#[test]
fn replay() {
    let Ok(line) = env::var(REPLAY) else { return };
    let target = Target::parse(&line).unwrap_or_else(|why| panic!("{REPLAY}: {why}"));
    let mut enumeration = Enumeration::only(target);
    match Run::play(&mut enumeration) {
        Ok(()) => println!("nothing is wrong with the {} states of {line}", enumeration.tally.states),
        Err(violation) => panic!("{violation}"),
    }
}

/// What all workloads of this process have looked at.
static TOTAL: Mutex<Vec<Tally>> = Mutex::new(Vec::new());

/// Runs a workload with one seed after the other until enough states were tried.
fn enumerate(workload: Workload) {
    let share = workload.share(states_wanted());
    let (begun, mut tally) = (Instant::now(), Tally::default());
    for seed in 1.. {
        let mut enumeration = Enumeration::everything(Plan::new(workload, seed));
        if let Err(violation) = Run::play(&mut enumeration) {
            panic!("after {} states: {violation}", tally.states + enumeration.tally.states);
        }
        tally.add(&enumeration.tally);
        if tally.states >= share {
            break;
        }
    }
    report(&format!("workload {workload:?}, {:.0} s: {tally}", begun.elapsed().as_secs_f64()));
    add_to_total(tally);
}

fn states_wanted() -> u64 {
    env::var("DURAMEN_CRASH_STATES").map_or(STATES, |text| text.parse().expect("a number of states"))
}

/// The last workload to end judges them all. Where only some of them were asked for there is no last one.
fn add_to_total(tally: Tally) {
    let mut tallies = TOTAL.lock().unwrap_or_else(PoisonError::into_inner);
    tallies.push(tally);
    if tallies.len() < Workload::ALL.len() {
        return;
    }
    let mut total = Tally::default();
    tallies.iter().for_each(|tally| total.add(tally));
    report(&format!("all workloads: {total}"));
    assert!(total.states >= states_wanted(), "{} states were tried, {} are wanted", total.states, states_wanted());
    assert!(total.in_the_middle() >= STATES_IN_THE_MIDDLE, "{} in the middle of something", total.in_the_middle());
    assert_eq!(total.most_under_way, 2, "calls to the disk that were under way at once");
    assert_eq!(total.never_fired(), [""; 0], "kinds of injection that never fired");
}

/// Past the test harness, which shows nothing of a test that passes.
fn report(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").expect("standard output is open");
}
