//! From the samples of all rounds to one row for each workload and log.

use crate::cell::{Measured, Outcome};
use crate::device::{Device, DeviceCounts, file_system, load};
use crate::goals::{self, Verdict};
use crate::log::{Counters, Role};
use crate::plan::Cell;
use crate::rounds::{Ratio, Rounds, fastest_of, raw_varied};
use crate::run::Sample;
use crate::statistics::{Interval, interval_of_median, median};
use crate::workload::{Scale, Work};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

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
    pub(crate) verdicts: Vec<Verdict>,
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
    pub(crate) to_peer: Option<Ratio>,
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

impl Report {
    pub(crate) fn new(conditions: Conditions, cells: &[Cell], samples: Vec<Sample>) -> Report {
        let rounds: Vec<Rounds<'_>> = cells.iter().map(|cell| Rounds::of(cell, &samples)).collect();
        let by_workload = rounds.chunk_by(|a, b| a.cell.workload.name == b.cell.workload.name);
        let groups = by_workload.clone().map(group).collect();
        let verdicts = by_workload.flat_map(goals::verdicts).collect();
        Report { conditions, verdicts, groups, samples }
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.groups.iter().flat_map(|group| &group.rows).any(|row| row.failed_rounds > 0)
    }
}

/// The rows of one workload, of whose cells these are the rounds.
fn group(rounds: &[Rounds<'_>]) -> Group {
    let references = References::of(rounds);
    let workload = rounds[0].cell.workload;
    Group {
        workload: workload.name,
        title: workload.title,
        unit: workload.unit,
        raw_varied: raw_varied(rounds),
        rows: rounds.iter().map(|rounds| row(rounds, &references)).collect(),
    }
}

/// What the logs of one workload are compared with.
struct References<'a, 'b> {
    raw: Option<&'b Rounds<'a>>,
    shortest: Option<&'b Rounds<'a>>,
    peer: Option<&'b Rounds<'a>>,
}

impl<'a, 'b> References<'a, 'b> {
    fn of(rounds: &'b [Rounds<'a>]) -> References<'a, 'b> {
        let fastest = |role| fastest_of(rounds, role);
        References { raw: fastest(Role::Raw), shortest: fastest(Role::Shortest), peer: fastest(Role::Peer) }
    }
}

fn row(rounds: &Rounds<'_>, references: &References<'_, '_>) -> Row {
    Row {
        log: rounds.cell.log.name,
        figures: figures(rounds, references),
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

fn figures(rounds: &Rounds<'_>, references: &References<'_, '_>) -> Option<Figures> {
    let times = rounds.times();
    let per_unit = |count: Option<u64>, measured: &Measured| Some(count? as f64 / measured.units as f64);
    let to = |reference: Option<&Rounds<'_>>| reference.and_then(|reference| rounds.ratio_to(reference));
    let own = |of: fn(Counters) -> u64| rounds.median_of(|measured| per_unit(measured.counters.map(of), measured));
    let device =
        |of: fn(&DeviceCounts) -> Option<u64>| rounds.median_of(|measured| per_unit(of(&measured.device), measured));
    let per_byte = |of: fn(&DeviceCounts) -> Option<u64>| {
        rounds.median_of(|measured| {
            let appends = matches!(rounds.cell.workload.work, Work::Append { .. });
            appends.then_some(of(&measured.device)? as f64 / measured.payload_bytes as f64)
        })
    };
    Some(Figures {
        rounds: times.len(),
        seconds_per_unit: median(&times)?,
        interval: interval_of_median(&times),
        p99_seconds: rounds.median_of(|measured| measured.p99_seconds),
        to_raw: to(references.raw),
        to_shortest: to(references.shortest),
        to_peer: to(references.peer),
        flushes_per_unit: own(|counters| counters.flushes),
        writes_per_unit: own(|counters| counters.writes),
        device_flushes_per_unit: device(|counts| counts.flushes),
        device_writes_per_unit: device(|counts| counts.writes),
        device_bytes_per_payload_byte: per_byte(|counts| counts.bytes),
        process_bytes_per_payload_byte: per_byte(|counts| counts.process_bytes),
        memory_bytes_per_entry: rounds.median_of(|measured| measured.memory_bytes_per_entry),
        entries_compared: rounds.measured().map(|(_, measured)| measured.compared).sum(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::cells;

    fn measured(seconds_per_unit: f64) -> Outcome {
        measured_as(seconds_per_unit, |_| ())
    }

    /// One round, with what is changed.
    pub(crate) fn measured_as(seconds_per_unit: f64, change: impl FnOnce(&mut Measured)) -> Outcome {
        let mut measured = Measured {
            seconds_per_unit,
            seconds: 1.0,
            units: 10,
            middle_seconds: None,
            p99_seconds: None,
            payload_bytes: 100,
            acknowledged: Some(10),
            counters: Some(Counters { writes: 10, flushes: 10 }),
            device: DeviceCounts { flushes: None, bytes: Some(250), ..DeviceCounts::zero() },
            memory_bytes_per_entry: None,
            memory_cost: None,
            direct: true,
            compared: 10,
            remarks: Vec::new(),
        };
        change(&mut measured);
        Outcome::Measured(Box::new(measured))
    }

    /// A report over one workload, with the rounds of these logs.
    pub(crate) fn report_of(workload: &str, logs: Vec<(&str, Vec<Outcome>)>) -> Report {
        let cells = cells(&[workload.to_owned()]).expect("a known name");
        let conditions = Conditions::of(Path::new("."), Scale::Quick, 3, 1).expect("the folder is there");
        let samples = logs.into_iter().flat_map(|(log, outcomes)| {
            (0..).zip(outcomes).map(move |(round, outcome)| Sample {
                workload: workload.to_owned(),
                log: log.to_owned(),
                round,
                load: None,
                outcome,
            })
        });
        Report::new(conditions, &cells, samples.collect())
    }

    /// A report in which the raw limit takes one second for a unit, or what is said.
    pub(crate) fn report(raw: &[f64], duramen: Vec<Outcome>) -> Report {
        let times = |factor: f64| raw.iter().map(|seconds| measured(seconds * factor)).collect();
        report_of("w1-256", vec![("raw-dio", times(1.0)), ("raw-buf", times(3.0)), ("duramen", duramen)])
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
