//! `make demo`: a three-node Raft cluster over duramen, killed again and again, keeps what it acknowledged.
//!
//! Part 1 runs raft-io nodes as processes on this machine's disk and ends them with SIGKILL in mid-write. Part 2 runs
//! them on simulated disks that lose power in mid-write; and once more on disks that do not flush, where the same check
//! must find losses. In both, the nodes take snapshots all the time, and those that are too far behind get their leader's.
#![forbid(unsafe_code)]

mod arguments;
mod figures;
mod frame;
mod kills;
mod ledger;
mod node;
mod peers;
mod pipe;
mod power_cuts;
mod processes;
mod proposal;
mod random;
mod state;
mod text;

use arguments::{Arguments, HELP};
use figures::row;
use power_cuts::{Flushes, Plan, Tally};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use text::Text;

/// A failure in words, on one line.
type Outcome<T> = Result<T, String>;

/// Power cuts of part 2, with and without flushes.
const POWER_CUTS: u64 = 1000;
const POWER_CUTS_WITHOUT_FLUSHES: u64 = 100;

fn main() -> ExitCode {
    let done = match Arguments::parse() {
        Ok(Arguments::Help) => {
            print!("{HELP}");
            Ok(())
        }
        Ok(Arguments::Node { id, directory }) => return node::run(id, &directory),
        Ok(Arguments::Demo { file, seed }) => demo(&file, seed),
        Err(wrong) => {
            eprintln!("demo: {wrong}; --help shows what it takes");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn demo(file: &Path, seed: u64) -> Outcome<()> {
    let begun = Instant::now();
    let text = Text::read(file)?;
    println!("A Raft cluster over duramen, killed again and again, keeps what it acknowledged.");
    kills::run(&text, seed)?;
    with_flushes(seed)?;
    without_flushes(seed)?;
    println!(
        "\nWherever a flush was a flush, every acknowledged write was kept. {:.0} seconds.",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn with_flushes(seed: u64) -> Outcome<()> {
    println!("\nPart 2: the same cluster on simulated disks that lose power in mid-write. A power cut leaves every");
    println!("unflushed sector old, new, torn or full of nonsense, and cuts back sizes and names. Seed {seed}.\n");
    let tally = power_cuts::run(&Plan { seed, power_cuts: POWER_CUTS, flushes: Flushes::Done })?;
    print_crashes(&tally);
    row("acknowledged writes lost", tally.lost);
    row("votes taken back", tally.votes_taken_back);
    if tally.saved == 0 || tally.installed == 0 || tally.in_mid_snapshot == 0 {
        return Err(
            "no snapshots were saved and installed, or no power cut came between: it shows too little".to_owned()
        );
    }
    Ok(())
}

fn without_flushes(seed: u64) -> Outcome<()> {
    println!("\nOnce more on disks that say \"flushed\" and flush nothing. Now the check must find losses.\n");
    let plan = Plan { seed, power_cuts: POWER_CUTS_WITHOUT_FLUSHES, flushes: Flushes::Ignored };
    let tally = power_cuts::run(&plan)?;
    print_crashes(&tally);
    row("votes taken back", tally.votes_taken_back);
    row("logs that refused to open", tally.refused);
    if tally.lost == 0 {
        return Err("without flushes no acknowledged write was lost: the check cannot fail".to_owned());
    }
    println!("\n  {} acknowledged writes lost, as expected: the check can fail", figures::grouped(tally.lost));
    Ok(())
}

fn print_crashes(tally: &Tally) {
    row("power cuts", tally.power_cuts);
    row("of them in mid-write", tally.in_mid_write);
    row("of them of all three nodes at once", tally.of_all);
    row("of them in the middle of a snapshot", tally.in_mid_snapshot);
    for (what, count) in tally.injected() {
        row(what, count);
    }
    row("snapshots saved", tally.saved);
    row("snapshots installed", tally.installed);
    row("acknowledged writes", tally.acknowledged);
}
