//! What the rounds of one cell have measured, and how cells compare: always over the rounds in which both were measured.

use crate::cell::{Measured, Outcome};
use crate::log::Role;
use crate::plan::Cell;
use crate::run::Sample;
use crate::statistics::{Interval, interval_of_ratio, median, spread};
use serde::Serialize;

/// Where the disk's own speed differs by more between rounds, no time can be trusted.
const SPREAD_MAX: f64 = 2.0;

/// The samples of one cell, by round.
pub(crate) struct Rounds<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) samples: Vec<&'a Sample>,
}

impl<'a> Rounds<'a> {
    pub(crate) fn of(cell: &'a Cell, samples: &'a [Sample]) -> Rounds<'a> {
        let is_own = |sample: &&Sample| sample.workload == cell.workload.name && sample.log == cell.log.name;
        Rounds { cell, samples: samples.iter().filter(is_own).collect() }
    }

    pub(crate) fn measured(&self) -> impl Iterator<Item = (u64, &'a Measured)> {
        self.samples.iter().filter_map(|sample| match &sample.outcome {
            Outcome::Measured(measured) => Some((sample.round, &**measured)),
            _ => None,
        })
    }

    pub(crate) fn times(&self) -> Vec<f64> {
        self.measured().map(|(_, measured)| measured.seconds_per_unit).collect()
    }

    /// How many times as long it takes as another, of which `of` tells the time.
    pub(crate) fn ratio(&self, other: &Rounds<'_>, of: impl Fn(&Measured) -> Option<f64>) -> Option<Ratio> {
        let find = |round| other.measured().find(|(its, _)| *its == round);
        let both = self.measured().filter_map(|(round, own)| Some((own.seconds_per_unit, of(find(round)?.1)?)));
        let (own, reference): (Vec<f64>, Vec<f64>) = both.unzip();
        Some(Ratio {
            reference: other.cell.log.name,
            ratio: median(&own)? / median(&reference)?,
            interval: interval_of_ratio(&own, &reference),
        })
    }

    /// How many times as long it takes as another.
    pub(crate) fn ratio_to(&self, other: &Rounds<'_>) -> Option<Ratio> {
        self.ratio(other, |measured| Some(measured.seconds_per_unit))
    }

    /// The median of something over the rounds that know it; none unless all do.
    pub(crate) fn median_of(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(&self.measured().map(|(_, measured)| of(measured)).collect::<Option<Vec<f64>>>()?)
    }
}

/// How many times as long it takes as the fastest log of a reference.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ratio {
    pub(crate) reference: &'static str,
    pub(crate) ratio: f64,
    pub(crate) interval: Option<Interval>,
}

/// Of the logs that stand for a reference the one with the lowest median.
pub(crate) fn fastest_of<'a, 'b>(rounds: &'b [Rounds<'a>], role: Role) -> Option<&'b Rounds<'a>> {
    fastest(rounds.iter().filter(|rounds| rounds.cell.log.role == role))
}

/// The one with the lowest median; none if none was measured.
pub(crate) fn fastest<'a: 'b, 'b>(rounds: impl Iterator<Item = &'b Rounds<'a>>) -> Option<&'b Rounds<'a>> {
    let with_time = rounds.filter_map(|rounds| Some((median(&rounds.times())?, rounds)));
    with_time.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, rounds)| rounds)
}

/// How many times as long the slowest round of a raw limit took as its fastest one, whichever variant varied more; none if
/// that is in order.
pub(crate) fn raw_varied(rounds: &[Rounds<'_>]) -> Option<f64> {
    let of_raw = rounds.iter().filter(|rounds| rounds.cell.log.role == Role::Raw);
    let widest = of_raw.filter_map(|rounds| spread(&rounds.times())).max_by(f64::total_cmp);
    widest.filter(|spread| *spread > SPREAD_MAX)
}
