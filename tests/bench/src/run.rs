//! The rounds: every cell once in each, every cell in a process of its own, one after the other.

use crate::cell::{CellArgs, Outcome, Step, command, is_prepared};
use crate::device::load;
use crate::plan::{Cell, order};
use crate::workload::Scale;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

/// A cell that takes longer is ended.
const CELL_SECONDS_MAX: u64 = 300;
const POLL: Duration = Duration::from_millis(5);

/// One cell of one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) workload: String,
    pub(crate) log: String,
    /// From 0.
    pub(crate) round: u64,
    /// The load of the machine when the cell began.
    pub(crate) load: Option<f64>,
    pub(crate) outcome: Outcome,
}

/// Runs all rounds. `directory` holds the files of one cell at a time.
pub(crate) fn run(cells: &[Cell], rounds: u64, seed: u64, scale: Scale, directory: &Path) -> Result<Vec<Sample>> {
    let progress = progress(rounds * cells.len() as u64);
    let mut samples = Vec::new();
    for round in 0..rounds {
        for place in order(cells.len(), seed, round) {
            let cell = &cells[place];
            progress.set_message(format!("{} on {}", cell.workload.name, cell.log.name));
            samples.push(sample(cell, round, scale, directory)?);
            progress.inc(1);
        }
        if !std::io::stderr().is_terminal() {
            eprintln!("bench: round {} of {rounds} done", round + 1);
        }
    }
    progress.finish_and_clear();
    Ok(samples)
}

/// Draws on a terminal only.
fn progress(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cells, {eta} left: {msg}");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn sample(cell: &Cell, round: u64, scale: Scale, directory: &Path) -> Result<Sample> {
    let load = load();
    remove(directory)?;
    let args = CellArgs {
        workload: cell.workload.name.to_owned(),
        log: cell.log.name.to_owned(),
        directory: directory.to_owned(),
        scale,
        step: Step::Measure,
    };
    let outcome = match is_prepared(cell.workload.work) {
        true => match run_step(&args, Step::Prepare)? {
            Outcome::Measured(_) => run_step(&args, Step::Measure)?,
            failed => failed,
        },
        false => run_step(&args, Step::Measure)?,
    };
    remove(directory)?;
    Ok(Sample { workload: args.workload, log: args.log, round, load, outcome })
}

fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn run_step(args: &CellArgs, step: Step) -> Result<Outcome> {
    let mut child = command(args, step)?.spawn()?;
    let deadline = Instant::now() + Duration::from_secs(CELL_SECONDS_MAX);
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(Outcome::Failed(format!("not done after {CELL_SECONDS_MAX} s")));
        }
        std::thread::sleep(POLL);
    }
    let output = child.wait_with_output()?;
    match serde_json::from_slice(&output.stdout) {
        Ok(outcome) if output.status.success() => Ok(outcome),
        _ => Ok(Outcome::Failed(format!(
            "its process ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}
