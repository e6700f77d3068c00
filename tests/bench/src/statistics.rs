//! Medians and what is known about them.
//!
//! The interval of a median comes from the order of the values alone: of `n` values each lies below the true median with
//! a chance of one half, whatever their distribution. It takes six values for 95 %. That of a ratio of two medians comes
//! from drawing the rounds again (a bootstrap), each round's two values together, for what disturbs one disturbs the other.

use serde::{Deserialize, Serialize};

/// Fewer values give no interval of 95 %.
const VALUES_MIN: usize = 6;
const DRAWS: usize = 4000;
const DRAW_SEED: u64 = 0x0064_7261_7773;
const TAIL: f64 = 0.025;

/// How sure a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Interval {
    /// It lies between these with 95 %.
    Confident { low: f64, high: f64 },
    /// There are too few rounds for that; this is the lowest and the highest one.
    Range { low: f64, high: f64 },
}

impl Interval {
    fn of(values: &[f64], confident: bool) -> Option<Interval> {
        let [low, .., high] = *values else { return None };
        Some(if confident { Interval::Confident { low, high } } else { Interval::Range { low, high } })
    }

    /// Whether a value lies in it.
    pub(crate) fn contains(&self, value: f64) -> bool {
        let (Interval::Confident { low, high } | Interval::Range { low, high }) = *self;
        (low..=high).contains(&value)
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    median_of_sorted(&sorted(values))
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(sorted[low].midpoint(sorted[high]))
}

/// The value below which the part `quantile` of the values lies.
pub(crate) fn quantile(values: &[f64], quantile: f64) -> Option<f64> {
    let sorted = sorted(values);
    sorted.get(((sorted.len() as f64 * quantile) as usize).min(sorted.len().checked_sub(1)?)).copied()
}

/// How sure the median of `values` is.
pub(crate) fn interval_of_median(values: &[f64]) -> Option<Interval> {
    let sorted = sorted(values);
    let cut = cut(sorted.len());
    Interval::of(&sorted[cut..sorted.len() - cut], sorted.len() >= VALUES_MIN)
}

/// How many of `count` sorted values can be left out at each end so that the rest holds the median with 95 %.
fn cut(count: usize) -> usize {
    // The chance that exactly `below` of the values lie below the median, and that at most so many do.
    let (mut exactly, mut at_most, mut below) = (0.5f64.powi(count as i32), 0.0, 0);
    while below < count {
        at_most += exactly;
        if at_most > TAIL {
            break;
        }
        exactly *= (count - below) as f64 / (below + 1) as f64;
        below += 1;
    }
    below.saturating_sub(1)
}

/// How sure the ratio of the medians is. Both have a value of each round, in the same order.
pub(crate) fn interval_of_ratio(values: &[f64], reference: &[f64]) -> Option<Interval> {
    let rounds: Vec<(f64, f64)> = values.iter().copied().zip(reference.iter().copied()).collect();
    if rounds.len() < VALUES_MIN {
        return Interval::of(&sorted(&rounds.iter().map(|(value, other)| value / other).collect::<Vec<_>>()), false);
    }
    let mut random = fastrand::Rng::with_seed(DRAW_SEED);
    let mut ratios: Vec<f64> = (0..DRAWS).filter_map(|_| ratio_of_draw(&rounds, &mut random)).collect();
    ratios.sort_by(f64::total_cmp);
    let cut = (ratios.len() as f64 * TAIL) as usize;
    Interval::of(&ratios[cut..ratios.len() - cut], true)
}

/// The ratio of the medians of as many rounds, drawn with repetition.
fn ratio_of_draw(rounds: &[(f64, f64)], random: &mut fastrand::Rng) -> Option<f64> {
    let drawn: Vec<(f64, f64)> = rounds.iter().map(|_| rounds[random.usize(..rounds.len())]).collect();
    let (values, reference): (Vec<f64>, Vec<f64>) = drawn.into_iter().unzip();
    Some(median(&values)? / median(&reference)?)
}

/// How much the highest value is of the lowest.
pub(crate) fn spread(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    Some(sorted.last()? / sorted.first()?)
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_whatever_the_order() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn quantiles_lie_where_they_should() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99), Some(100.0));
        assert_eq!(quantile(&values, 0.5), Some(51.0));
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn ends_are_cut_as_in_the_published_tables() {
        // Ranks of the 95 % interval of a median (Conover, Practical Nonparametric Statistics), less one.
        for (count, expected) in [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5), (25, 7), (30, 9)] {
            assert_eq!(cut(count), expected, "{count} values");
        }
    }

    #[test]
    fn five_rounds_are_too_few_for_an_interval() {
        let values = [5.0, 4.0, 3.0, 2.0, 1.0];
        assert_eq!(interval_of_median(&values), Some(Interval::Range { low: 1.0, high: 5.0 }));
        assert_eq!(interval_of_ratio(&values, &[1.0; 5]), Some(Interval::Range { low: 1.0, high: 5.0 }));
        assert_eq!(interval_of_median(&[]), None);
        assert_eq!(interval_of_median(&[1.0]), None);
        assert_eq!(interval_of_ratio(&[], &[]), None);
    }

    #[test]
    fn six_rounds_give_all_of_them_and_nine_leave_out_the_extremes() {
        let values: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(interval_of_median(&values[..6]), Some(Interval::Confident { low: 1.0, high: 6.0 }));
        assert_eq!(interval_of_median(&values), Some(Interval::Confident { low: 2.0, high: 8.0 }));
    }

    #[test]
    fn interval_of_a_median_holds_it_in_95_of_100_tries() {
        let mut random = fastrand::Rng::with_seed(7);
        let held = (0..2000).filter(|_| {
            // Skewed, as times are; the true median is one quarter.
            let values: Vec<f64> = (0..11).map(|_| random.f64().powi(2)).collect();
            matches!(interval_of_median(&values), Some(Interval::Confident { low, high }) if (low..=high).contains(&0.25))
        });
        let share = held.count() as f64 / 2000.0;
        assert!(share >= 0.94, "held in {share}");
    }

    #[test]
    fn a_ratio_is_sure_where_the_rounds_move_together() {
        let reference: Vec<f64> = (1..=12).map(f64::from).collect();
        let values: Vec<f64> = reference.iter().map(|value| value * 1.5).collect();
        match interval_of_ratio(&values, &reference) {
            Some(Interval::Confident { low, high }) => assert!((low - 1.5).abs() < 1e-9 && (high - 1.5).abs() < 1e-9),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_values_give_the_same_interval() {
        let (values, reference) = ([3.0, 5.0, 4.0, 8.0, 6.0, 7.0, 5.5], [1.0, 2.0, 1.5, 1.0, 3.0, 2.5, 2.0]);
        assert_eq!(interval_of_ratio(&values, &reference), interval_of_ratio(&values, &reference));
    }

    #[test]
    fn spread_is_highest_by_lowest() {
        assert_eq!(spread(&[2.0, 5.0, 4.0]), Some(2.5));
        assert_eq!(spread(&[]), None);
    }
}
