//! What is to be reached, as data, and whether it was.
//!
//! A goal compares a log with the fastest variant of a reference in the same run, or with a number that does not depend on
//! the disk. It is met where the figure is at most its bound.

use crate::log::{KINDS, Role};
use crate::memory::MemoryCost;
use crate::rounds::{Rounds, fastest, fastest_of, raw_varied};
use crate::statistics::{Interval, interval_of_median, median};
use crate::workload::Work;
use serde::Serialize;

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Against {
    /// The bound is so many times the time of the raw limit,
    Raw,
    /// of the raw limit, one copy and one checksum of the entry's bytes,
    RawAndMemory,
    /// of the shortest log,
    Shortest,
    /// of the fastest peer,
    Peer,
    /// of the fastest peer that knows where each entry lies.
    IndexedPeer,
    /// The bound is in seconds.
    Seconds,
    /// The bound is in bytes of memory for each entry.
    BytesPerEntry,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Goal {
    pub(crate) workload: &'static str,
    pub(crate) text: &'static str,
    pub(crate) against: Against,
    pub(crate) bound: f64,
}

const fn goal(workload: &'static str, text: &'static str, against: Against, bound: f64) -> Goal {
    Goal { workload, text, against, bound }
}

/// A rate of so much of the shortest log's, as a bound of the time.
const fn rate(part: f64) -> f64 {
    1.0 / part
}

const GOALS: &[Goal] = &[
    goal("w1-256", "one durable append, 256 B: the raw write of its blocks", Against::Raw, 1.10),
    goal("w1-4k", "one durable append, 4 KiB: the raw write of its blocks", Against::Raw, 1.10),
    goal("w1-64k", "64 KiB: the raw write, one copy, one checksum", Against::RawAndMemory, 1.10),
    goal("w1-1m", "1 MiB: the raw write, one copy, one checksum", Against::RawAndMemory, 1.10),
    goal("w2", "100 x 256 B per flush: the shortest log", Against::Shortest, 1.15),
    goal("w4a", "8 threads: 0.9 of the shortest log's rate", Against::Shortest, rate(0.9)),
    goal("w4b", "64 threads: 0.8 of the shortest log's rate", Against::Shortest, rate(0.8)),
    goal("w4p", "one submitter, 64 in flight: 0.8 of the shortest log's rate", Against::Shortest, rate(0.8)),
    goal("w5a", "buffered, batches of 100: 0.8 of the shortest log's rate", Against::Shortest, rate(0.8)),
    goal("w5b", "buffered, one by one: 0.8 of the shortest log's rate", Against::Shortest, rate(0.8)),
    goal("w6-range", "newest 10,000 x 256 B in one range: 0.3 ms", Against::Seconds, 0.3e-3),
    goal("w6-one", "one recent entry: 300 ns", Against::Seconds, 300e-9),
    goal("w6-term", "term of a recent entry, while another thread appends: 50 ns", Against::Seconds, 50e-9),
    goal("w7-batches", "memory after opening, batches of 100: 1 B per entry", Against::BytesPerEntry, 1.0),
    goal("w7-singles", "memory after opening, singles: 8 B per entry", Against::BytesPerEntry, 8.0),
    goal("w8-truncate", "truncate: one append, the raw write of its block", Against::Raw, 1.10),
    goal("w8-purge", "purge: one append, the raw write of its block", Against::Raw, 1.10),
    goal("w8-space", "space back after a purge: 1 s", Against::Seconds, 1.0),
];

/// Goals that need the peers.
const GOALS_BESIDE_PEERS: &[Goal] = &[
    goal("w1-256", "one durable append, 256 B: not slower than the best peer", Against::Peer, 1.0),
    goal("w1-4k", "one durable append, 4 KiB: ahead of every peer", Against::Peer, 1.0),
    goal("w1-64k", "64 KiB: ahead of every peer", Against::Peer, 1.0),
    goal("w1-1m", "1 MiB: ahead of every peer", Against::Peer, 1.0),
    goal("w2", "100 x 256 B per flush: ahead of every peer", Against::Peer, 1.0),
    goal("w4b", "64 threads: 1.5 of the best peer's rate", Against::Peer, rate(1.5)),
    goal("w4p", "one submitter, 64 in flight: 3 of the best peer's rate", Against::Peer, rate(3.0)),
    goal("w5a", "buffered, batches of 100: ahead of every peer that keeps an index", Against::IndexedPeer, 1.0),
    goal("w5b", "buffered, one by one: ahead of every peer that keeps an index", Against::IndexedPeer, 1.0),
];

/// The goals that can be judged with the logs that are there.
fn goals() -> impl Iterator<Item = &'static Goal> {
    let beside_peers = if has_peers() { GOALS_BESIDE_PEERS } else { &[] };
    GOALS.iter().chain(beside_peers)
}

fn has_peers() -> bool {
    KINDS.iter().any(|kind| kind.role == Role::Peer)
}

/// What this run cannot judge.
pub(crate) fn not_judged() -> impl Iterator<Item = String> {
    let beside_peers = if has_peers() { &[] } else { GOALS_BESIDE_PEERS };
    let beside_peers = beside_peers.iter().map(|goal| format!("{}: no peer is built", goal.text));
    beside_peers.chain(NOT_JUDGED.iter().map(|goal| (*goal).to_owned()))
}

/// Goals that no run can judge.
const NOT_JUDGED: &[&str] = &[
    "the time of opening, whose bound is the raw read of footers and one segment: nothing reads those alone",
    "a range that is not cached, in 0.9 ms: no log is asked to forget its own cache",
    "bytes on the device per payload byte, which are to be stated: they stand with each workload",
];

/// Whether a log has reached a goal.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) goal: Goal,
    pub(crate) log: &'static str,
    /// The log's own time for one unit.
    pub(crate) seconds_per_unit: Option<f64>,
    /// None if the log or what it is compared with was not measured.
    pub(crate) figure: Option<Compared>,
    /// What the raw limit that writes as the log does, past or through the page cache, has reached in the log's place; none
    /// where the work is not to write.
    pub(crate) raw: Option<Compared>,
    /// How much the raw limit itself varied, if too much for a time to be trusted.
    pub(crate) raw_varied: Option<f64>,
    /// What copying and checksumming took beside the raw limit, if that is part of the bound.
    pub(crate) memory_cost: Option<MemoryCost>,
}

/// A figure beside the bound of its goal.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compared {
    /// A ratio, seconds or bytes, as the goal says.
    pub(crate) value: f64,
    pub(crate) interval: Option<Interval>,
    /// The log that it is a ratio to.
    pub(crate) reference: Option<&'static str>,
    pub(crate) met: bool,
    /// Whether the bound lies in the interval, so that another run may say otherwise.
    pub(crate) open: bool,
}

/// The verdicts on all measured logs, from the rounds of one workload's cells.
pub(crate) fn verdicts(rounds: &[Rounds<'_>]) -> Vec<Verdict> {
    let goals = goals().filter(|goal| goal.workload == rounds[0].cell.workload.name);
    let logs = || rounds.iter().filter(|rounds| rounds.cell.log.role == Role::Measured);
    goals.flat_map(|goal| logs().map(|own| verdict(goal, own, rounds))).collect()
}

fn verdict(goal: &Goal, own: &Rounds<'_>, all: &[Rounds<'_>]) -> Verdict {
    Verdict {
        goal: *goal,
        log: own.cell.log.name,
        seconds_per_unit: median(&own.times()),
        figure: compared(goal, own, all),
        raw: raw_that_writes_as(own, all).and_then(|raw| compared(goal, raw, all)),
        raw_varied: raw_varied(all).filter(|_| goal.against != Against::BytesPerEntry),
        memory_cost: if goal.against == Against::RawAndMemory { memory_cost(all) } else { None },
    }
}

/// The fastest raw limit that writes past the page cache, or through it, as the log does.
fn raw_that_writes_as<'a, 'b>(own: &Rounds<'_>, all: &'b [Rounds<'a>]) -> Option<&'b Rounds<'a>> {
    let writes = matches!(own.cell.workload.work, Work::Append { .. } | Work::Truncate { .. } | Work::Purge);
    let is_direct = |rounds: &Rounds<'_>| rounds.measured().next().map(|(_, measured)| measured.direct);
    let way = is_direct(own).filter(|_| writes)?;
    fastest(all.iter().filter(|rounds| rounds.cell.log.role == Role::Raw && is_direct(rounds) == Some(way)))
}

fn compared(goal: &Goal, own: &Rounds<'_>, all: &[Rounds<'_>]) -> Option<Compared> {
    let ratio = match goal.against {
        Against::Raw => own.ratio_to(fastest_of(all, Role::Raw)?),
        Against::Shortest => own.ratio_to(fastest_of(all, Role::Shortest)?),
        Against::Peer => own.ratio_to(fastest_of(all, Role::Peer)?),
        Against::IndexedPeer => {
            let kept = |rounds: &&Rounds<'_>| rounds.cell.log.role == Role::Peer && rounds.cell.log.keeps_index;
            own.ratio_to(fastest(all.iter().filter(kept))?)
        }
        Against::RawAndMemory => {
            own.ratio(fastest_of(all, Role::Raw)?, |raw| Some(raw.seconds_per_unit + raw.memory_cost?.warm()))
        }
        Against::Seconds => return of_values(goal, &own.times()),
        Against::BytesPerEntry => {
            let bytes = own.measured().map(|(_, measured)| measured.memory_bytes_per_entry);
            return of_values(goal, &bytes.collect::<Option<Vec<_>>>()?);
        }
    }?;
    Some(beside_bound(goal, ratio.ratio, ratio.interval, Some(ratio.reference)))
}

fn of_values(goal: &Goal, values: &[f64]) -> Option<Compared> {
    Some(beside_bound(goal, median(values)?, interval_of_median(values), None))
}

fn beside_bound(goal: &Goal, value: f64, interval: Option<Interval>, reference: Option<&'static str>) -> Compared {
    let open = interval.is_some_and(|interval| interval.contains(goal.bound));
    Compared { value, interval, reference, met: value <= goal.bound, open }
}

/// Medians over the rounds of the raw limit that is compared with.
fn memory_cost(all: &[Rounds<'_>]) -> Option<MemoryCost> {
    let raw = fastest_of(all, Role::Raw)?;
    let median_of = |of: fn(MemoryCost) -> f64| raw.median_of(|measured| measured.memory_cost.map(of));
    Some(MemoryCost {
        copy_warm: median_of(|cost| cost.copy_warm)?,
        checksum_warm: median_of(|cost| cost.checksum_warm)?,
        copy_cold: median_of(|cost| cost.copy_cold)?,
        checksum_cold: median_of(|cost| cost.checksum_cold)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Outcome;
    use crate::report::tests::{measured_as, report_of};
    use crate::workload::Workload;

    const COST: MemoryCost = MemoryCost { copy_warm: 1.0, checksum_warm: 2.0, copy_cold: 40.0, checksum_cold: 80.0 };

    fn direct(seconds: f64) -> Vec<Outcome> {
        vec![measured_as(seconds, |measured| measured.memory_cost = Some(COST))]
    }

    fn cached(seconds: f64) -> Vec<Outcome> {
        vec![measured_as(seconds, |measured| measured.direct = false)]
    }

    fn verdict(workload: &str, logs: Vec<(&str, Vec<Outcome>)>) -> Verdict {
        let verdicts = report_of(workload, logs).verdicts;
        verdicts.into_iter().next().expect("a goal for each workload that is tested here")
    }

    fn figure(verdict: &Verdict) -> (f64, bool) {
        let figure = verdict.figure.as_ref().expect("it was measured");
        (figure.value, figure.met)
    }

    #[test]
    fn goals_are_of_workloads_that_exist_one_each() {
        for goals in [GOALS, GOALS_BESIDE_PEERS] {
            let mut workloads: Vec<_> = goals.iter().map(|goal| goal.workload).collect();
            assert!(workloads.iter().all(|workload| Workload::named(workload).is_ok()));
            workloads.sort_unstable();
            workloads.dedup();
            assert_eq!(workloads.len(), goals.len());
        }
    }

    #[test]
    fn goals_beside_peers_are_judged_where_there_are_peers() {
        let judged = goals().filter(|goal| goal.against == Against::Peer).count();
        let not_judged = not_judged().filter(|said| said.contains("no peer is built")).count();
        assert_eq!((judged > 0, not_judged > 0), (has_peers(), !has_peers()));
    }

    #[test]
    fn a_ratio_up_to_its_bound_is_met() {
        let with = |seconds| {
            verdict(
                "w1-256",
                vec![("raw-dio", direct(100.0)), ("raw-buf", cached(200.0)), ("duramen", direct(seconds))],
            )
        };
        assert_eq!(figure(&with(110.0)), (1.1, true));
        assert_eq!(figure(&with(111.0)), (1.11, false));
    }

    #[test]
    fn a_rate_bounds_the_time_from_above() {
        let with = |seconds| verdict("w4b", vec![("shortest-dio2", direct(100.0)), ("duramen", direct(seconds))]);
        assert_eq!(figure(&with(125.0)), (1.25, true));
        assert_eq!(figure(&with(126.0)), (1.26, false));
    }

    #[test]
    fn one_warm_copy_and_checksum_go_with_the_raw_write_of_large_entries() {
        let verdict = verdict("w1-1m", vec![("raw-dio", direct(97.0)), ("duramen", direct(120.0))]);
        assert_eq!((figure(&verdict), verdict.memory_cost), ((1.2, false), Some(COST)));
    }

    #[test]
    fn times_and_memory_need_no_reference() {
        let time = verdict("w6-one", vec![("duramen", direct(290e-9))]);
        assert_eq!(figure(&time), (290e-9, true));
        let memory = vec![measured_as(1.0, |measured| measured.memory_bytes_per_entry = Some(12.0))];
        assert_eq!(figure(&verdict("w7-singles", vec![("duramen", memory)])), (12.0, false));
    }

    #[test]
    fn the_raw_limit_that_writes_likewise_stands_beside() {
        let with = |duramen| {
            verdict(
                "w2",
                vec![
                    ("raw-dio", direct(80.0)),
                    ("raw-buf", cached(150.0)),
                    ("shortest-dio", direct(100.0)),
                    ("duramen", duramen),
                ],
            )
        };
        let raw = |verdict: Verdict| verdict.raw.map(|raw| (raw.value, raw.met));
        assert_eq!(raw(with(cached(160.0))), Some((1.5, false)));
        assert_eq!(raw(with(direct(160.0))), Some((0.8, true)));
        let reading = vec![("raw-buf", cached(1.0)), ("duramen", cached(1.0))];
        assert_eq!(raw(verdict("w6-range", reading)), None);
    }

    #[test]
    fn a_bound_within_the_interval_leaves_the_verdict_open() {
        let rounds = |times: &[f64]| times.iter().map(|time| measured_as(*time, |_| ())).collect();
        let open = |times: &[f64]| {
            verdict("w6-term", vec![("duramen", rounds(times))]).figure.is_some_and(|figure| figure.open)
        };
        assert!(open(&[40e-9, 45e-9, 60e-9]));
        assert!(!open(&[40e-9, 45e-9, 49e-9]));
    }

    #[test]
    fn what_was_not_measured_has_no_figure() {
        let verdict = verdict("w6-one", vec![("duramen", vec![Outcome::Unsupported("no".to_owned())])]);
        assert!(verdict.figure.is_none() && verdict.seconds_per_unit.is_none());
    }
}
