//! Twenty-six mistakes, one per rule of the protocol, are planted in the store; each of them must be caught. That is how we know
//! that the checks can fail.
//!
//! Most tests run the enumeration of the workload that the mistake hurts until the first violation, and says after how
//! many states it came and what it was. No violation within the bound is a failure. Three mistakes take a second thread to
//! do harm; for each of them there is a schedule that must go well without the mistake, and badly with it. What is done wrong
//! about damage the corruption sweep must find, and a repair.

mod crash;
mod sweep;

use crash::enumeration::Enumeration;
use crash::plan::Plan;
use crash::run::Run;
use crash::schedules::{released_while_read, truncated_meanwhile, voted_meanwhile};
use crash::workload::Workload;
use duramen::planted::{Bug, Bugs};
use duramen::{Batch, Entry, Error};
use std::io::Write;
use std::sync::{Arc, Mutex};

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

#[test]
fn a_footer_of_ranges_alone_is_caught() {
    caught(Workload::Replace, &[Bug::FooterOfRanges]);
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

#[test]
fn a_segment_that_is_released_before_its_purge_is_durable_is_caught() {
    caught(Workload::Purge, &[Bug::ReleasedBeforeDurable]);
}

#[test]
fn a_manifest_that_forgets_a_segment_before_it_is_carried_is_caught() {
    caught(Workload::Lagging, &[Bug::ManifestBeforeCarry]);
}

#[test]
fn a_header_that_is_rewritten_before_the_manifest_is_caught() {
    caught(Workload::Purge, &[Bug::HeaderBeforeManifest]);
}

#[test]
fn a_snapshot_that_is_removed_before_its_successor_is_durable_is_caught() {
    caught(Workload::Snapshots, &[Bug::OrphanRemovedTooEarly]);
}

#[test]
fn a_vote_that_is_carried_over_a_newer_one_is_caught() {
    caught_by_schedule(voted_meanwhile, Bug::CarriedStateUnchecked);
}

#[test]
fn entries_that_are_carried_over_a_truncation_are_caught() {
    caught_by_schedule(truncated_meanwhile, Bug::CarriedEntriesUnchecked);
}

#[test]
fn a_file_that_is_used_again_while_it_is_read_is_caught() {
    caught_by_schedule(released_while_read, Bug::RecycledWhileRead);
}

#[test]
fn an_acknowledgement_out_of_order_is_caught() {
    caught(Workload::Overlap, &[Bug::AcknowledgedOutOfOrder]);
}

#[test]
fn a_write_in_the_block_of_a_flush_is_caught() {
    caught(Workload::Overlap, &[Bug::BlockOfFlushReused]);
}

#[test]
fn a_flush_that_overtakes_a_packed_write_is_caught() {
    caught(Workload::Overlap, &[Bug::FlushOvertakesPackedWrite]);
}

#[test]
fn a_watermark_of_a_write_in_flight_is_caught() {
    caught(Workload::Overlap, &[Bug::WatermarkOfWriteInFlight]);
}

#[test]
fn header_copies_that_are_rewritten_in_order_are_caught() {
    caught_by_schedule(renewed_over_a_bad_copy, Bug::HeaderCopiesInOrder);
}

/// A crash has spoiled the second copy of an unused segment's header; while it gets a fresh salt the power fails once more.
fn renewed_over_a_bad_copy(bugs: Bugs) -> Result<(), String> {
    let disk = sweep::golden::crashed().disk.kill();
    let newest = sweep::run::names(&disk).into_iter().filter(|name| name.ends_with(".seg")).max();
    let newest = newest.ok_or("there is no segment")?;
    disk.flip_bit(sweep::golden::DIRECTORY, &newest, 4096 + 50, 1).map_err(|error| error.to_string())?;
    let store = sweep::golden::open(&disk, bugs).map_err(|error| error.to_string())?;
    let moments = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&moments);
    disk.on_operation(Some(Box::new(move |_, disk| seen.lock().expect("no panic").push(disk.crash_points()))));
    store.write(Batch::new().log(7, |log| log.set_meta("id", b"renewed"))).map_err(|error| error.to_string())?;
    disk.on_operation(None);
    for points in moments.lock().expect("no panic").iter() {
        for outcome in points.outcomes(64, 1) {
            let after = sweep::golden::open(&points.disk_after(&outcome), Bugs::default());
            let after = after.map_err(|error| format!("{error}; {}", points.explain(&outcome)))?;
            if !after.recovery_report().damaged.is_empty() {
                return Err(format!("{:?}; {}", after.recovery_report().damaged, points.explain(&outcome)));
            }
        }
    }
    Ok(())
}

#[test]
fn damage_that_is_cut_as_torn_is_caught() {
    caught_by_sweep(Bug::DamageCutAsTorn);
}

#[test]
fn a_gap_that_is_dropped_is_caught() {
    caught_by_sweep(Bug::GapDropped);
}

#[test]
fn an_old_hard_state_that_is_told_is_caught() {
    caught_by_sweep(Bug::OldHardStateTold);
}

#[test]
fn a_missing_segment_that_is_skipped_is_caught() {
    caught_by_sweep(Bug::MissingSegmentSkipped);
}

#[test]
fn a_repair_with_an_entry_of_another_term_is_caught() {
    caught_by_schedule(repaired_with_another_term, Bug::RepairUnchecked);
}

/// A peer that went another way offers its entry for one that is damaged here.
fn repaired_with_another_term(bugs: Bugs) -> Result<(), String> {
    let golden = sweep::golden::closed();
    let disk = golden.disk.kill();
    let text = b"group 7 index 40 term 3";
    let found = sweep::run::names(&disk).into_iter().find_map(|name| {
        let bytes = disk.contents(sweep::golden::DIRECTORY, &name).ok()?;
        Some((name, bytes.windows(text.len()).position(|window| window == text)?))
    });
    let (file, at) = found.ok_or("the entry is not where it should be")?;
    disk.flip_bit(sweep::golden::DIRECTORY, &file, at as u64 + 3, 1).map_err(|error| error.to_string())?;
    let log = sweep::golden::open(&disk, bugs).map_err(|error| error.to_string())?.log(7);
    match log.get(40) {
        Err(Error::EntryLost { .. }) => {}
        read => return Err(format!("the entry is not damaged: {read:?}")),
    }
    match log.repair(&[Entry::new(40, 9, b"another")]) {
        Err(Error::InvalidArgument { .. }) => Ok(()),
        repaired => Err(format!("a repair with another term: {repaired:?}, and then the entry is {:?}", log.get(40))),
    }
}

/// Of the bytes few are damaged: every block is.
const SWEEP_STEP: usize = 61;

fn caught_by_sweep(bug: Bug) {
    let (mut damages, mut silent) = (0, Vec::new());
    for golden in [sweep::golden::closed(), sweep::golden::crashed()] {
        let swept = sweep::run::sweep(&golden, SWEEP_STEP, Bugs::default().with(bug));
        damages += swept.counts.values().sum::<u64>() + swept.silent.len() as u64;
        silent.extend(swept.silent);
    }
    match silent.first() {
        None => panic!("{bug:?} in {damages} damages: nothing was found wrong"),
        Some(first) => report(&format!("{bug:?}: caught by {} of {damages} damages, by {first}", silent.len())),
    }
}

fn caught_by_schedule(schedule: impl Fn(Bugs) -> Result<(), String>, bug: Bug) {
    schedule(Bugs::default()).unwrap_or_else(|why| panic!("without a mistake: {why}"));
    match schedule(Bugs::default().with(bug)) {
        Ok(()) => panic!("{bug:?}: nothing was found wrong"),
        Err(why) => report(&format!("{bug:?}: caught by its schedule, in the only state there is: {why}")),
    }
}

fn caught(workload: Workload, bugs: &[Bug]) {
    let Some(report) = first_violation(workload, bugs, SEEDS_MAX) else {
        panic!("{bugs:?} in {SEEDS_MAX} runs of workload {workload:?}: nothing was found wrong");
    };
    self::report(&format!("{bugs:?}: {report}"));
}

/// Past the test harness, which shows nothing of a test that passes.
fn report(text: &str) {
    writeln!(std::io::stdout().lock(), "{text}").expect("standard output is open");
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
