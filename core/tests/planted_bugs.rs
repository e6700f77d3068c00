//! Eight mistakes, one per rule of the protocol, are planted in the store; the crash enumeration must catch each of them.
//! That is how we know that it can fail.
//!
//! Each test runs the enumeration of the workload that the mistake hurts until the first violation, and says after how
//! many states it came and what it was. No violation within the bound is a failure.

mod crash;

use crash::enumeration::Enumeration;
use crash::plan::Plan;
use crash::run::Run;
use crash::workload::Workload;
use duramen::planted::{Bug, Bugs};
use std::io::Write;

/// How many seeds of a workload may pass before a mistake counts as missed.
const SEEDS_MAX: u64 = 3;

#[test]
fn a_flush_that_is_left_out_is_caught() {
    caught(Workload::Append, &[Bug::FlushLeftOut]);
}

#[test]
fn a_flush_that_is_retried_after_a_failure_is_caught() {
    caught(Workload::Buffered, &[Bug::FlushRetried]);
}

#[test]
fn a_directory_flush_that_is_left_out_is_caught() {
    caught(Workload::Append, &[Bug::DirectoryFlushLeftOut]);
}

#[test]
fn an_acknowledgement_before_the_flush_is_caught() {
    caught(Workload::Groups, &[Bug::AcknowledgedBeforeFlush]);
}

#[test]
fn a_watermark_that_comes_too_early_is_caught() {
    caught(Workload::Append, &[Bug::WatermarkTooEarly]);
}

#[test]
fn truncations_that_replay_forgets_are_caught() {
    caught(Workload::Replace, &[Bug::TruncationForgotten]);
}

/// The chain of sums does not mask this one: a client that writes again, byte for byte, what was lost makes the same sums,
/// so what followed the lost batch in its first life follows it again.
#[test]
fn an_old_salt_that_is_kept_after_an_unclean_stop_is_caught() {
    caught(Workload::Buffered, &[Bug::OldSaltKept]);
}

#[test]
fn a_roll_that_does_not_wait_for_its_predecessor_is_caught() {
    caught(Workload::Buffered, &[Bug::RollWithoutBarrier]);
}

fn caught(workload: Workload, bugs: &[Bug]) {
    let Some(report) = first_violation(workload, bugs, SEEDS_MAX) else {
        panic!("{bugs:?} in {SEEDS_MAX} runs of workload {workload:?}: nothing was found wrong");
    };
    // Past the test harness, which shows nothing of a test that passes.
    writeln!(std::io::stdout().lock(), "{bugs:?}: {report}").expect("standard output is open");
}

fn first_violation(workload: Workload, bugs: &[Bug], seeds: u64) -> Option<String> {
    let bugs = bugs.iter().fold(Bugs::default(), |bugs, bug| bugs.with(*bug));
    let mut states = 0;
    for seed in 1..=seeds {
        let mut enumeration = Enumeration::everything(Plan { bugs, ..Plan::new(workload, seed) });
        let played = Run::play(&mut enumeration);
        states += enumeration.tally.states;
        if let Err(violation) = played {
            let Some(first_line) = violation.what.lines().next() else { return Some(String::new()) };
            return Some(format!("caught by workload {workload:?} after {states} states: {first_line}"));
        }
    }
    None
}
