//! From the samples of all rounds to one row for each workload and log.

use crate::cell::{Measured, Outcome};
use crate::device::{Device, DeviceCounts, file_system, load};
use crate::log::Role;
use crate::plan::Cell;
use crate::run::Sample;
use crate::statistics::{Interval, interval_of_median, interval_of_ratio, median, spread};
use crate::workload::Scale;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// Where the disk's own speed differs by more between rounds, the table says so.
const SPREAD_MAX: f64 = 2.0;

/// What the run was like.
#[derive(Debug, Serialize)]
pub(crate) struct Conditions {
    pub(crate) scale: &'static str,
    pub(crate) rounds: u64,
    pub(crate) seed: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) processors: Option<usize>,
    pub(crate) device: Option<String>,
    pub(crate) file_system: Option<String>,
    /// Whether the device's flushes can be counted.
    pub(crate) device_counts_flushes: Option<bool>,
    pub(crate) load_before: Option<f64>,
    pub(crate) load_after: Option<f64>,
    pub(crate) seconds: f64,
    #[serde(skip)]
    started: Instant,
}

impl Conditions {
    pub(crate) fn of(directory: &Path, scale: Scale, rounds: u64, seed: u64) -> Result<Conditions> {
        let device = Device::of(directory)?;
        Ok(Conditions {
            scale: scale.name(),
            rounds,
            seed,
            segment_bytes: scale.segment_bytes(),
            processors: std::thread::available_parallelism().ok().map(usize::from),
            device_counts_flushes: device.counts_flushes(),
            device: device.name(),
            file_system: file_system(directory),
            load_before: load(),
            load_after: None,
            seconds: 0.0,
            started: Instant::now(),
        })
    }

    pub(crate) fn end(&mut self) {
        self.load_after = load();
        self.seconds = self.started.elapsed().as_secs_f64();
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) conditions: Conditions,
    pub(crate) groups: Vec<Group>,
    samples: Vec<Sample>,
}

/// The rows of one workload.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) workload: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// How many times as long the slowest round of a raw limit took as its fastest one, whichever variant varied more;
    /// none if that is in order.
    pub(crate) raw_varied: Option<f64>,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) log: &'static str,
    /// None if no round was measured.
    pub(crate) figures: Option<Figures>,
    /// Why rounds were not measured, and what else is to be said; each once.
    pub(crate) remarks: Vec<String>,
    pub(crate) failed_rounds: u64,
}

/// Medians over the rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) rounds: usize,
    pub(crate) seconds_per_unit: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) p99_seconds: Option<f64>,
    pub(crate) to_raw: Option<Ratio>,
    pub(crate) to_shortest: Option<Ratio>,
    /// By the log's own account, and by the device's, where that can be told.
    pub(crate) flushes_per_unit: Option<f64>,
    pub(crate) writes_per_unit: Option<f64>,
    pub(crate) device_flushes_per_unit: Option<f64>,
    pub(crate) device_writes_per_unit: Option<f64>,
    pub(crate) device_bytes_per_payload_byte: Option<f64>,
    pub(crate) process_bytes_per_payload_byte: Option<f64>,
    pub(crate) memory_bytes_per_entry: Option<f64>,
    pub(crate) entries_compared: u64,
}

/// How many times as long it takes as the fastest log of a reference.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) reference: &'static str,
    pub(crate) ratio: f64,
    pub(crate) interval: Option<Interval>,
}

impl Report {
    pub(crate) fn new(conditions: Conditions, cells: &[Cell], samples: Vec<Sample>) -> Report {
        let groups = cells.chunk_by(|a, b| a.workload.name == b.workload.name);
        let groups = groups.map(|cells| group(cells, &samples)).collect();
        Report { conditions, groups, samples }
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.groups.iter().flat_map(|group| &group.rows).any(|row| row.failed_rounds > 0)
    }
}

/// The samples of one cell, by round.
struct Rounds<'a> {
    cell: &'a Cell,
    samples: Vec<&'a Sample>,
}

impl<'a> Rounds<'a> {
    fn of(cell: &'a Cell, samples: &'a [Sample]) -> Rounds<'a> {
        let is_own = |sample: &&Sample| sample.workload == cell.workload.name && sample.log == cell.log.name;
        Rounds { cell, samples: samples.iter().filter(is_own).collect() }
    }

    fn measured(&self) -> impl Iterator<Item = (u64, &'a Measured)> {
        self.samples.iter().filter_map(|sample| match &sample.outcome {
            Outcome::Measured(measured) => Some((sample.round, measured)),
            _ => None,
        })
    }

    fn times(&self) -> Vec<f64> {
        self.measured().map(|(_, measured)| measured.seconds_per_unit).collect()
    }

    /// The times of the rounds in which both were measured.
    fn times_with(&self, other: &Rounds<'_>) -> (Vec<f64>, Vec<f64>) {
        let find = |round| other.measured().find(|(its, _)| *its == round);
        let both = self.measured().filter_map(|(round, own)| Some((own, find(round)?.1)));
        both.map(|(own, other)| (own.seconds_per_unit, other.seconds_per_unit)).unzip()
    }

    /// The median of something over the rounds that know it; none unless all do.
    fn median_of(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(&self.measured().map(|(_, measured)| of(measured)).collect::<Option<Vec<f64>>>()?)
    }
}

fn group(cells: &[Cell], samples: &[Sample]) -> Group {
    let rounds: Vec<Rounds<'_>> = cells.iter().map(|cell| Rounds::of(cell, samples)).collect();
    let (raw, shortest) = (fastest(&rounds, Role::Raw), fastest(&rounds, Role::Shortest));
    let workload = cells[0].workload;
    let of_raw = rounds.iter().filter(|rounds| rounds.cell.log.role == Role::Raw);
    let widest = of_raw.filter_map(|rounds| spread(&rounds.times())).max_by(f64::total_cmp);
    Group {
        workload: workload.name,
        title: workload.title,
        unit: workload.unit,
        raw_varied: widest.filter(|spread| *spread > SPREAD_MAX),
        rows: rounds.iter().map(|rounds| row(rounds, raw, shortest)).collect(),
    }
}

/// Of the logs that stand for a reference the one with the lowest median.
fn fastest<'a, 'b>(rounds: &'b [Rounds<'a>], role: Role) -> Option<&'b Rounds<'a>> {
    let with_time = rounds.iter().filter(|rounds| rounds.cell.log.role == role);
    let with_time = with_time.filter_map(|rounds| Some((median(&rounds.times())?, rounds)));
    with_time.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, rounds)| rounds)
}

fn row(rounds: &Rounds<'_>, raw: Option<&Rounds<'_>>, shortest: Option<&Rounds<'_>>) -> Row {
    Row {
        log: rounds.cell.log.name,
        figures: figures(rounds, raw, shortest),
        remarks: remarks(rounds),
        failed_rounds: rounds.samples.iter().filter(|sample| matches!(sample.outcome, Outcome::Failed(_))).count()
            as u64,
    }
}

fn remarks(rounds: &Rounds<'_>) -> Vec<String> {
    let mut remarks: Vec<String> = Vec::new();
    for sample in &rounds.samples {
        let said = match &sample.outcome {
            Outcome::Measured(measured) => measured.remarks.clone(),
            Outcome::Unsupported(reason) => vec![reason.clone()],
            Outcome::Failed(reason) => vec![format!("FAILED: {reason}")],
        };
        remarks.extend(said);
    }
    remarks.sort();
    remarks.dedup();
    remarks
}

fn figures(rounds: &Rounds<'_>, raw: Option<&Rounds<'_>>, shortest: Option<&Rounds<'_>>) -> Option<Figures> {
    let times = rounds.times();
    let per_unit = |count: Option<u64>, measured: &Measured| Some(count? as f64 / measured.units as f64);
    let device =
        |of: fn(&DeviceCounts) -> Option<u64>| rounds.median_of(|measured| per_unit(of(&measured.device), measured));
    let per_byte = |of: fn(&DeviceCounts) -> Option<u64>| {
        rounds.median_of(|measured| {
            let appended = measured.payload_bytes > 0 && measured.writes > 0;
            appended.then_some(of(&measured.device)? as f64 / measured.payload_bytes as f64)
        })
    };
    Some(Figures {
        rounds: times.len(),
        seconds_per_unit: median(&times)?,
        interval: interval_of_median(&times),
        p99_seconds: rounds.median_of(|measured| measured.p99_seconds),
        to_raw: raw.and_then(|raw| ratio(rounds, raw)),
        to_shortest: shortest.and_then(|shortest| ratio(rounds, shortest)),
        flushes_per_unit: rounds.median_of(|measured| per_unit(Some(measured.flushes), measured)),
        writes_per_unit: rounds.median_of(|measured| per_unit(Some(measured.writes), measured)),
        device_flushes_per_unit: device(|counts| counts.flushes),
        device_writes_per_unit: device(|counts| counts.writes),
        device_bytes_per_payload_byte: per_byte(|counts| counts.bytes),
        process_bytes_per_payload_byte: per_byte(|counts| counts.process_bytes),
        memory_bytes_per_entry: rounds.median_of(|measured| measured.memory_bytes_per_entry),
        entries_compared: rounds.measured().map(|(_, measured)| measured.compared).sum(),
    })
}

fn ratio(rounds: &Rounds<'_>, reference: &Rounds<'_>) -> Option<Ratio> {
    let (own, other) = rounds.times_with(reference);
    Some(Ratio {
        reference: reference.cell.log.name,
        ratio: median(&own)? / median(&other)?,
        interval: interval_of_ratio(&own, &other),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::cells;

    fn measured(seconds_per_unit: f64) -> Outcome {
        Outcome::Measured(Measured {
            seconds_per_unit,
            seconds: 1.0,
            units: 10,
            middle_seconds: None,
            p99_seconds: None,
            payload_bytes: 100,
            acknowledged: Some(10),
            writes: 10,
            flushes: 10,
            device: DeviceCounts { flushes: None, bytes: Some(250), ..DeviceCounts::zero() },
            memory_bytes_per_entry: None,
            compared: 10,
            remarks: Vec::new(),
        })
    }

    fn samples(log: &str, outcomes: impl IntoIterator<Item = Outcome>) -> Vec<Sample> {
        let sample = |(round, outcome)| Sample {
            workload: "w1-256".to_owned(),
            log: log.to_owned(),
            round,
            load: None,
            outcome,
        };
        (0..).zip(outcomes).map(sample).collect()
    }

    /// A report over one workload, in which the raw limit takes one second for a unit, or what is said.
    pub(crate) fn report(raw: &[f64], duramen: Vec<Outcome>) -> Report {
        let cells = cells(&["w1-256".to_owned()]).expect("a known name");
        let conditions = Conditions::of(Path::new("."), Scale::Quick, 3, 1).expect("the folder is there");
        let mut all = samples("raw-dio", raw.iter().map(|seconds| measured(*seconds)));
        all.extend(samples("raw-buf", raw.iter().map(|seconds| measured(*seconds * 3.0))));
        all.extend(samples("duramen", duramen));
        Report::new(conditions, &cells, all)
    }

    fn row<'a>(report: &'a Report, log: &str) -> &'a Row {
        report.groups[0].rows.iter().find(|row| row.log == log).expect("a row for each log")
    }

    #[test]
    fn a_ratio_is_to_the_fastest_of_the_reference() {
        let report = report(&[1.0, 1.2, 0.8], [1.5, 1.8, 1.2].map(measured).to_vec());
        let figures = row(&report, "duramen").figures.as_ref().expect("measured");
        let ratio = figures.to_raw.as_ref().expect("raw was measured");
        assert_eq!((ratio.reference, ratio.ratio), ("raw-dio", 1.5));
        assert!(figures.to_shortest.is_none(), "the shortest log was not measured");
    }

    #[test]
    fn what_the_kernel_does_not_tell_stays_unknown() {
        let report = report(&[1.0; 3], [1.5; 3].map(measured).to_vec());
        let figures = row(&report, "duramen").figures.as_ref().expect("measured");
        assert_eq!(figures.device_flushes_per_unit, None);
        assert_eq!(figures.device_bytes_per_payload_byte, Some(2.5));
    }

    #[test]
    fn a_ratio_takes_only_rounds_in_which_both_were_measured() {
        let outcomes = vec![measured(2.0), Outcome::Failed("gone".to_owned()), measured(6.0)];
        let report = report(&[1.0, 100.0, 3.0], outcomes);
        let duramen = row(&report, "duramen");
        assert_eq!(duramen.figures.as_ref().and_then(|figures| figures.to_raw.as_ref()).map(|r| r.ratio), Some(2.0));
        assert_eq!((duramen.failed_rounds, duramen.remarks.as_slice()), (1, ["FAILED: gone".to_owned()].as_slice()));
        assert!(report.has_failures());
    }

    #[test]
    fn a_disk_that_varies_by_more_than_two_is_reported() {
        assert_eq!(report(&[1.0, 1.9, 1.5], Vec::new()).groups[0].raw_varied, None);
        assert_eq!(report(&[1.0, 2.5, 1.5], Vec::new()).groups[0].raw_varied, Some(2.5));
    }
}
