//! One cell: one workload on one log, in a process of its own that prints what it found as one line of JSON.
//!
//! Whatever is written is read back and compared, after the clock has stopped, and once more after closing and opening.

mod append;
mod read;
mod space;
mod term;

use crate::device::{Device, DeviceCounts};
use crate::log::{Counters, Kind, Log, Setup, Unsupported};
use crate::memory::MemoryCost;
use crate::payload::Payload;
use crate::plan::Cell;
use crate::statistics::{median, quantile};
use crate::workload::{ENTRY_BYTES, Figure, Manner, Scale, Work, Workload};
use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What of a cell a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Fills the log that another process is to open.
    Prepare,
    Measure,
}

/// What a cell needs to know.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CellArgs {
    #[arg(long)]
    pub(crate) workload: String,
    #[arg(long)]
    pub(crate) log: String,
    #[arg(long)]
    pub(crate) directory: PathBuf,
    #[arg(long)]
    pub(crate) scale: Scale,
    #[arg(long, default_value = "measure")]
    pub(crate) step: Step,
}

/// How a cell ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Measured(Box<Measured>),
    /// The log does not offer it.
    Unsupported(String),
    /// Something went wrong, or a comparison failed.
    Failed(String),
}

/// What was measured, summed over the laps of the cell.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// The figure: seconds for one unit.
    pub(crate) seconds_per_unit: f64,
    pub(crate) seconds: f64,
    pub(crate) units: u64,
    pub(crate) middle_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
    pub(crate) payload_bytes: u64,
    /// How many acknowledgements there were at least that needed a flush of their own.
    pub(crate) acknowledged: Option<u64>,
    /// By the log's own account; none if it keeps none.
    pub(crate) counters: Option<Counters>,
    pub(crate) device: DeviceCounts,
    /// Growth of resident memory by opening.
    pub(crate) memory_bytes_per_entry: Option<f64>,
    /// Of the bytes of an entry, measured beside a raw limit where entries are large.
    pub(crate) memory_cost: Option<MemoryCost>,
    /// Whether the log's writes pass by the page cache.
    pub(crate) direct: bool,
    /// Entries that were read back and compared.
    pub(crate) compared: u64,
    pub(crate) remarks: Vec<String>,
}

/// Runs the cell and prints its outcome.
pub(crate) fn main(args: &CellArgs) -> Result<()> {
    let outcome = match run(args) {
        Ok(measured) => Outcome::Measured(Box::new(measured)),
        Err(error) => match error.downcast_ref::<Unsupported>() {
            Some(reason) => Outcome::Unsupported(reason.to_string()),
            None => Outcome::Failed(format!("{error:#}")),
        },
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn run(args: &CellArgs) -> Result<Measured> {
    let cell = Cell { workload: Workload::named(&args.workload)?, log: Kind::named(&args.log)? };
    std::fs::create_dir_all(&args.directory)?;
    let bench = Bench {
        kind: cell.log,
        scale: args.scale,
        setup: Setup {
            directory: args.directory.clone(),
            segment_bytes: cell.workload.work.segment_bytes(args.scale),
            room_bytes: room_bytes(cell.workload.work, args.scale),
        },
        meter: Meter::new(&args.directory)?,
    };
    let report = match cell.workload.work {
        Work::Append { entry_bytes, manner, recycled } => append::run(bench, entry_bytes, manner, recycled)?,
        Work::ReadRange { entries } => read::range(bench, entries)?,
        Work::ReadOne => read::one(bench)?,
        Work::ReadOld => read::old(bench)?,
        Work::Term => term::run(bench)?,
        Work::ColdScan if args.step == Step::Prepare => read::prepare(bench, 100, bench_entries(args.scale, 100))?,
        Work::ColdScan => read::cold_scan(bench)?,
        Work::Open { batch } if args.step == Step::Prepare => {
            read::prepare(bench, batch, bench_entries(args.scale, batch))?
        }
        Work::Open { batch } => read::open(bench, bench_entries(args.scale, batch))?,
        Work::Truncate { entries } => read::truncate(bench, entries)?,
        Work::Purge => read::purge(bench)?,
        Work::Space => space::run(bench)?,
    };
    report.measured(&cell.workload)
}

/// Whether the workload opens a log that another process filled: memory that filling has used must not be there when
/// opening is measured.
pub(crate) fn is_prepared(work: Work) -> bool {
    matches!(work, Work::ColdScan | Work::Open { .. })
}

/// Entries of a log that is opened; one by one there are not as many.
fn bench_entries(scale: Scale, batch: u64) -> u64 {
    if batch == 1 { scale.entries() } else { scale.entries_opened() }
}

/// What a workload writes between two purges, in bytes on the disk.
fn room_bytes(work: Work, scale: Scale) -> u64 {
    const CUTS_BYTES: u64 = 32 << 20;
    let filled = |entries: u64, batch: u64| {
        let align = if batch == 1 { 64 } else { 4096 };
        entries.div_ceil(batch) * (144 + batch * (ENTRY_BYTES as u64 + 40)).next_multiple_of(align)
    };
    match work {
        Work::Append { .. } | Work::Term => 3 * scale.segment_bytes(),
        Work::Open { batch } => filled(bench_entries(scale, batch), batch),
        Work::ColdScan => filled(scale.entries_opened(), 100),
        Work::ReadRange { .. } | Work::ReadOne | Work::ReadOld | Work::Truncate { .. } | Work::Purge | Work::Space => {
            filled(scale.entries(), 100) + CUTS_BYTES
        }
    }
}

/// The command that runs a step of a cell in a process of its own.
pub(crate) fn command(args: &CellArgs, step: Step) -> Result<Command> {
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("cell").args(["--workload", &args.workload, "--log", &args.log, "--directory"]);
    command.arg(&args.directory).args(["--scale", args.scale.name()]);
    command.args(["--step".to_owned(), name(step.to_possible_value()).context("a step has a name")?]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command)
}

/// What a workload is run with.
struct Bench {
    kind: Kind,
    scale: Scale,
    setup: Setup,
    meter: Meter,
}

impl Bench {
    fn open(&self) -> Result<Box<dyn Log>> {
        self.kind.open(&self.setup)
    }

    /// Compares entries, and lets the page cache forget what was read where the log does not write through it.
    fn verify(&mut self, log: &dyn Log, group: u64, indexes: std::ops::Range<u64>, payload: &Payload) -> Result<()> {
        self.meter.compared += log.verify(group, indexes, payload)?;
        Ok(())
    }

    fn forget_pages_read(&self, log: &dyn Log) -> Result<()> {
        match log.is_direct() {
            true => crate::file::drop_cached_pages(&self.setup.directory),
            false => Ok(()),
        }
    }
}

/// Times laps and counts what they cause.
struct Meter {
    device: Device,
    seconds: f64,
    units: u64,
    payload_bytes: u64,
    /// Single operations, in seconds.
    singles: Vec<f64>,
    counts: DeviceCounts,
    /// None if the log keeps no account.
    counters: Option<Counters>,
    compared: u64,
    acknowledged: Option<u64>,
    memory_bytes_per_entry: Option<f64>,
    memory_cost: Option<MemoryCost>,
    direct: bool,
    remarks: Vec<String>,
}

impl Meter {
    fn new(directory: &Path) -> Result<Meter> {
        Ok(Meter {
            device: Device::of(directory)?,
            seconds: 0.0,
            units: 0,
            payload_bytes: 0,
            singles: Vec::new(),
            counts: DeviceCounts::zero(),
            counters: Some(Counters::default()),
            compared: 0,
            acknowledged: None,
            memory_bytes_per_entry: None,
            memory_cost: None,
            direct: false,
            remarks: Vec::new(),
        })
    }

    /// A lap. What is only buffered by then is made durable when the clock has stopped, and counted.
    fn lap(&mut self, log: &dyn Log, settle: Settle, work: impl FnOnce(&mut Vec<f64>) -> Result<Lap>) -> Result<()> {
        let (counters, counts) = (log.counters(), self.device.counts());
        let Lap { took, units, payload_bytes } = work(&mut self.singles)?;
        if settle == Settle::Sync {
            log.sync()?;
        }
        let mut caused = self.device.counts().since(&counts);
        self.direct = log.is_direct();
        if !self.direct {
            // A page that gets dirty counts with all of its folio, written or not.
            caused.process_bytes = None;
        }
        self.counts = self.counts.plus(&caused);
        self.counters = self.counters.and_then(|sum| Some(sum.plus(&log.counters()?.since(&counters?))));
        self.seconds += took.as_secs_f64();
        self.units += units;
        self.payload_bytes += payload_bytes;
        Ok(())
    }

    /// A log that acknowledges more than it flushes is no log.
    fn check_flushes(&mut self, acknowledged: u64) -> Result<()> {
        if let Some(Counters { flushes, .. }) = self.counters {
            ensure!(
                flushes >= acknowledged,
                "{acknowledged} acknowledgements took {flushes} flushes by the log's own account"
            );
        }
        if let Some(flushes) = self.counts.flushes {
            ensure!(flushes >= acknowledged, "{acknowledged} acknowledgements, the device saw {flushes} flushes");
        }
        if self.counters.is_none() && self.counts.flushes.is_none() {
            self.remarks.push("nobody has counted its flushes: that it does them is not proven".to_owned());
        }
        Ok(())
    }

    fn measured(self, workload: &Workload) -> Result<Measured> {
        let mean = self.seconds / self.units.max(1) as f64;
        let middle_seconds = median(&self.singles);
        let seconds_per_unit = match workload.figure {
            Figure::Middle => middle_seconds.unwrap_or(mean),
            Figure::Mean => mean,
        };
        Ok(Measured {
            seconds_per_unit,
            seconds: self.seconds,
            units: self.units,
            middle_seconds,
            p99_seconds: if self.singles.len() < 100 { None } else { quantile(&self.singles, 0.99) },
            payload_bytes: self.payload_bytes,
            acknowledged: self.acknowledged,
            counters: self.counters,
            device: self.counts,
            memory_bytes_per_entry: self.memory_bytes_per_entry,
            memory_cost: self.memory_cost,
            direct: self.direct,
            compared: self.compared,
            remarks: self.remarks,
        })
    }
}

/// What a lap did.
struct Lap {
    took: Duration,
    units: u64,
    payload_bytes: u64,
}

/// Whether a lap ends with a flush outside of the timed part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settle {
    Sync,
    Nothing,
}

/// The least number of flushes that acknowledging so many entries takes, if any.
fn flushes_needed(manner: Manner, entries: u64) -> Option<u64> {
    manner.acknowledged_max().map(|most| entries.div_ceil(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Durability;

    fn meter(own: Option<u64>, device: Option<u64>) -> Meter {
        let mut meter = Meter::new(Path::new(".")).expect("the folder is there");
        meter.counters = own.map(|flushes| Counters { writes: 0, flushes });
        meter.counts.flushes = device;
        meter
    }

    #[test]
    fn fewer_flushes_than_acknowledgements_are_a_failure() {
        assert!(meter(Some(10), None).check_flushes(10).is_ok());
        assert!(meter(Some(10), Some(10)).check_flushes(10).is_ok());
        assert!(meter(None, Some(10)).check_flushes(10).is_ok());
        assert!(meter(Some(9), None).check_flushes(10).is_err(), "the log's own account");
        assert!(meter(Some(10), Some(9)).check_flushes(10).is_err(), "the device's account");
        assert!(meter(None, Some(9)).check_flushes(10).is_err(), "the device's account alone");
    }

    #[test]
    fn flushes_that_nobody_counts_are_called_so() -> Result<()> {
        let mut meter = meter(None, None);
        meter.check_flushes(10)?;
        assert_eq!(meter.remarks.len(), 1);
        Ok(())
    }

    #[test]
    fn one_flush_acknowledges_at_most_what_is_on_the_way() {
        assert_eq!(flushes_needed(Manner::Durable { batch: 100 }, 1000), Some(10));
        assert_eq!(flushes_needed(Manner::Threads { threads: 64, durability: Durability::Durable }, 65), Some(2));
        assert_eq!(flushes_needed(Manner::InFlight(64), 64), Some(1));
        assert_eq!(flushes_needed(Manner::Buffered { batch: 1 }, 1000), None);
        assert_eq!(flushes_needed(Manner::Threads { threads: 8, durability: Durability::Buffered }, 1000), None);
    }
}
