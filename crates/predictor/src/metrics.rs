//! # Ranking metrics: how well predicted accuracies order candidates
//!
//! Pairwise accuracy is EMS section 5.3: the share of pairs of candidates of which the predictor says rightly
//! which one is better. Kendall's τ-b and Spearman's ρ are the usual rank correlations.
//!
//! With `n₀ = n(n−1)/2` pairs, `n₁` tied in the prediction, `n₂` tied in the truth, `n₃` tied in both and `s`
//! discordant pairs (inversions counted while merge-sorting, Knight 1966):
//!
//! - `concordant = n₀ − n₁ − n₂ + n₃ − s`
//! - `τ_b = (concordant − s) / √((n₀ − n₁)(n₀ − n₂))`
//! - `pairwise accuracy = (concordant + (n₁ − n₃)/2) / (n₀ − n₂)`
//!
//! So **pairs tied in the truth are left out** of pairwise accuracy, and a pair tied in the prediction only
//! counts as half right, which is what guessing would earn. All of it is O(n log n).

use crate::interval::{Interval, bootstrap};

/// How many pairs agree, disagree or are tied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PairCounts {
    all: u64,
    tied_prediction: u64,
    tied_truth: u64,
    tied_both: u64,
    discordant: u64,
}

impl PairCounts {
    fn concordant(&self) -> u64 {
        self.all + self.tied_both - self.tied_prediction - self.tied_truth - self.discordant
    }
}

/// Share of pairs with different truth that the prediction orders rightly; `None` when no pair differs.
///
/// Panics never; slices of different lengths are compared over the shorter one.
pub fn pairwise_accuracy(predicted: &[f64], truth: &[f64]) -> Option<f64> {
    let counts = count_pairs(predicted, truth);
    let usable = counts.all - counts.tied_truth;
    let half_right = 0.5 * (counts.tied_prediction - counts.tied_both) as f64;
    (usable > 0).then(|| (counts.concordant() as f64 + half_right) / usable as f64)
}

/// Kendall's τ-b; `None` when either side is constant.
pub fn kendall_tau(predicted: &[f64], truth: &[f64]) -> Option<f64> {
    let counts = count_pairs(predicted, truth);
    let left = (counts.all - counts.tied_prediction) as f64;
    let right = (counts.all - counts.tied_truth) as f64;
    let difference = counts.concordant() as f64 - counts.discordant as f64;
    (left > 0.0 && right > 0.0).then(|| difference / (left.sqrt() * right.sqrt()))
}

/// Spearman's ρ, ties getting their mean rank; `None` when either side is constant.
pub fn spearman(predicted: &[f64], truth: &[f64]) -> Option<f64> {
    let length = predicted.len().min(truth.len());
    pearson(&mean_ranks(&predicted[..length]), &mean_ranks(&truth[..length]))
}

/// Mean of |prediction − truth|; `None` for no pairs.
pub fn mean_absolute_error(predicted: &[f64], truth: &[f64]) -> Option<f64> {
    let length = predicted.len().min(truth.len());
    let sum: f64 = predicted.iter().zip(truth).map(|(guess, value)| (guess - value).abs()).sum();
    (length > 0).then(|| sum / length as f64)
}

/// Everything the command line reports about a predictor on held-out pairs, with 95 % intervals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankingReport {
    /// Number of held-out pairs.
    pub pairs: usize,
    /// Share of ordered pairs, see [`pairwise_accuracy`].
    pub pairwise_accuracy: Interval,
    /// Kendall's τ-b.
    pub kendall_tau: Interval,
    /// Spearman's ρ.
    pub spearman: Interval,
    /// Mean absolute error, in accuracy (0–1).
    pub mean_absolute_error: Interval,
}

impl RankingReport {
    /// Metrics of `predicted` against `truth`; intervals by bootstrap over the held-out candidates.
    ///
    /// `None` when the metrics are undefined (fewer than two candidates, or constant truth). A constant
    /// prediction has no rank correlation; it is reported as zero.
    pub fn of(predicted: &[f64], truth: &[f64], seed: u64) -> Option<Self> {
        pairwise_accuracy(predicted, truth)?;
        let interval = |metric: fn(&[f64], &[f64]) -> Option<f64>| {
            bootstrap(predicted, truth, seed, |guess, value| metric(guess, value).unwrap_or(0.0))
        };
        Some(Self {
            pairs: truth.len(),
            pairwise_accuracy: interval(pairwise_accuracy),
            kendall_tau: interval(kendall_tau),
            spearman: interval(spearman),
            mean_absolute_error: interval(mean_absolute_error),
        })
    }

    /// The metrics alone, intervals of no width: for runs that are repeated, see [`over_seeds`](Self::over_seeds).
    pub fn point(predicted: &[f64], truth: &[f64]) -> Option<Self> {
        pairwise_accuracy(predicted, truth)?;
        let point = |metric: fn(&[f64], &[f64]) -> Option<f64>| {
            let value = metric(predicted, truth).unwrap_or(0.0);
            Interval { value, low: value, high: value }
        };
        Some(Self {
            pairs: truth.len(),
            pairwise_accuracy: point(pairwise_accuracy),
            kendall_tau: point(kendall_tau),
            spearman: point(spearman),
            mean_absolute_error: point(mean_absolute_error),
        })
    }

    /// The mean over repeated runs (seeds) with Student's 95 % interval over them; `None` for no runs.
    pub fn over_seeds(runs: &[RankingReport]) -> Option<Self> {
        let interval = |field: fn(&RankingReport) -> Interval| {
            Interval::over_seeds(&runs.iter().map(|run| field(run).value).collect::<Vec<_>>())
        };
        Some(Self {
            pairs: runs.first()?.pairs,
            pairwise_accuracy: interval(|run| run.pairwise_accuracy)?,
            kendall_tau: interval(|run| run.kendall_tau)?,
            spearman: interval(|run| run.spearman)?,
            mean_absolute_error: interval(|run| run.mean_absolute_error)?,
        })
    }
}

/// How honest the spread of an ensemble is about its own errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpreadCalibration {
    /// Share of truths inside mean ± 1.96 spreads; 0.95 would be perfect.
    pub coverage: f64,
    /// Spearman's ρ between spread and absolute error; 0 when undefined.
    pub spread_error_spearman: f64,
    /// Mean spread divided by root mean squared error; 1 would be perfect.
    pub spread_to_error: f64,
    /// What the spreads must be multiplied by for 95 % of these truths to lie inside mean ± 1.96 spreads.
    pub scale: f64,
}

impl SpreadCalibration {
    /// Compares predicted means and spreads with the truth; `None` for no pairs.
    pub fn of(means: &[f64], spreads: &[f64], truth: &[f64]) -> Option<Self> {
        let errors: Vec<f64> = means.iter().zip(truth).map(|(mean, value)| (mean - value).abs()).collect();
        let count = errors.len() as f64;
        let inside = errors.iter().zip(spreads).filter(|(error, spread)| **error <= 1.96 * **spread).count();
        let squared = errors.iter().map(|error| error * error).sum::<f64>() / count;
        (!errors.is_empty()).then(|| Self {
            coverage: inside as f64 / count,
            spread_error_spearman: spearman(spreads, &errors).unwrap_or(0.0),
            spread_to_error: spreads.iter().sum::<f64>() / count / squared.sqrt().max(f64::MIN_POSITIVE),
            scale: covering_scale(&errors, spreads),
        })
    }
}

/// The 95 % quantile of error / (1.96 · spread).
fn covering_scale(errors: &[f64], spreads: &[f64]) -> f64 {
    let ratio = |(error, spread): (&f64, &f64)| error / (1.96 * spread.max(1e-12));
    let mut ratios: Vec<f64> = errors.iter().zip(spreads).map(ratio).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[(0.95 * (ratios.len() - 1) as f64).ceil() as usize]
}

fn count_pairs(predicted: &[f64], truth: &[f64]) -> PairCounts {
    let mut points: Vec<(f64, f64)> = predicted.iter().copied().zip(truth.iter().copied()).collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let length = points.len() as u64;
    let tied_prediction = tied_pairs(&points, |a, b| a.0 == b.0);
    let tied_both = tied_pairs(&points, |a, b| a == b);
    let mut values: Vec<f64> = points.iter().map(|point| point.1).collect();
    let discordant = sort_counting_inversions(&mut values);
    let tied_truth = tied_pairs(&values, |a, b| a == b);
    PairCounts {
        all: length * length.saturating_sub(1) / 2,
        tied_prediction,
        tied_truth,
        tied_both,
        discordant,
    }
}

/// Number of pairs inside runs of equal neighbours of a sorted slice.
fn tied_pairs<T>(sorted: &[T], equal: impl Fn(&T, &T) -> bool) -> u64 {
    let runs = sorted.chunk_by(|a, b| equal(a, b));
    runs.map(|run| run.len() as u64 * (run.len() as u64 - 1) / 2).sum()
}

/// Merge sort that returns the number of strictly decreasing pairs.
fn sort_counting_inversions(values: &mut [f64]) -> u64 {
    let mut scratch = values.to_vec();
    let mut inversions = 0;
    let mut width = 1;
    while width < values.len() {
        for start in (0..values.len()).step_by(2 * width) {
            let end = (start + 2 * width).min(values.len());
            let middle = (start + width).min(end);
            inversions += merge(&values[start..middle], &values[middle..end], &mut scratch[start..end]);
        }
        values.copy_from_slice(&scratch);
        width *= 2;
    }
    inversions
}

fn merge(left: &[f64], right: &[f64], out: &mut [f64]) -> u64 {
    let (mut i, mut j, mut inversions) = (0, 0, 0);
    for slot in out {
        let take_right = i == left.len() || (j < right.len() && right[j] < left[i]);
        if take_right {
            *slot = right[j];
            j += 1;
            inversions += (left.len() - i) as u64;
        } else {
            *slot = left[i];
            i += 1;
        }
    }
    inversions
}

/// Ranks from 0, equal values sharing their mean rank.
pub(crate) fn mean_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]).then(a.cmp(&b)));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for run in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (run.len() - 1) as f64 / 2.0;
        run.iter().for_each(|&index| ranks[index] = rank);
        first += run.len();
    }
    ranks
}

fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 {
        x.iter().zip(y).map(|(p, q)| (p - mx) * (q - my)).sum()
    };
    let (va, vb) = (product(a, mean_a, a, mean_a), product(b, mean_b, b, mean_b));
    (va > 0.0 && vb > 0.0).then(|| product(a, mean_a, b, mean_b) / (va.sqrt() * vb.sqrt()))
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len().max(1)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUNDING: f64 = 1e-12;

    fn close(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < ROUNDING,
            (a, b) => a == b,
        }
    }

    /// The definitions, pair by pair.
    fn by_definition(predicted: &[f64], truth: &[f64]) -> (Option<f64>, Option<f64>) {
        let (mut right, mut usable) = (0.0, 0.0);
        let (mut sum, mut left, mut rite) = (0.0, 0.0, 0.0);
        for i in 0..truth.len() {
            for j in 0..i {
                let p = sign(predicted[i] - predicted[j]);
                let t = sign(truth[i] - truth[j]);
                if t != 0.0 {
                    usable += 1.0;
                    right += if p == t {
                        1.0
                    } else if p == 0.0 {
                        0.5
                    } else {
                        0.0
                    };
                }
                sum += p * t;
                left += p * p;
                rite += t * t;
            }
        }
        let tau = (left > 0.0 && rite > 0.0).then(|| sum / f64::sqrt(left * rite));
        ((usable > 0.0).then_some(right / usable), tau)
    }

    fn sign(value: f64) -> f64 {
        if value == 0.0 { 0.0 } else { value.signum() }
    }

    #[test]
    fn known_values() {
        let truth = [1.0, 2.0, 3.0, 4.0];
        let cases: [(&str, [f64; 4], f64, f64, f64); 4] = [
            ("same order", [10.0, 20.0, 30.0, 40.0], 1.0, 1.0, 1.0),
            ("reversed", [4.0, 3.0, 2.0, 1.0], 0.0, -1.0, -1.0),
            ("one swap", [1.0, 2.0, 4.0, 3.0], 5.0 / 6.0, 4.0 / 6.0, 0.8),
            ("one tie", [1.0, 2.0, 3.0, 3.0], 5.5 / 6.0, 5.0 / 30f64.sqrt(), 4.5 / 22.5f64.sqrt()),
        ];
        for (name, predicted, pairwise, tau, rho) in cases {
            assert!(close(pairwise_accuracy(&predicted, &truth), Some(pairwise)), "{name}: pairwise");
            assert!(close(kendall_tau(&predicted, &truth), Some(tau)), "{name}: tau");
            assert!(close(spearman(&predicted, &truth), Some(rho)), "{name}: rho");
        }
        assert!(close(mean_absolute_error(&[0.5, 0.7], &[0.4, 0.9]), Some(0.15)));
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(pairwise_accuracy(&[1.0, 2.0], &[3.0, 3.0]), None);
        assert_eq!(kendall_tau(&[1.0, 1.0], &[3.0, 4.0]), None);
        assert_eq!(spearman(&[], &[]), None);
        assert_eq!(mean_absolute_error(&[], &[]), None);
        assert_eq!(RankingReport::of(&[1.0], &[1.0], 0), None);
    }

    #[test]
    fn report_brackets_its_values() {
        let truth: Vec<f64> = (0..60).map(f64::from).collect();
        let predicted: Vec<f64> = truth.iter().map(|t| t + 20.0 * (t * 1.7).sin()).collect();
        let report = RankingReport::of(&predicted, &truth, 3).expect("defined");
        for interval in [report.pairwise_accuracy, report.kendall_tau, report.spearman] {
            assert!(interval.low < interval.value && interval.value < interval.high, "{interval:?}");
        }
    }

    #[test]
    fn honest_spread_is_calibrated() {
        let truth: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        let wave: Vec<f64> = (0..1000).map(|i| (f64::from(i) * 12.9898).sin() * 2f64.sqrt()).collect();
        let means: Vec<f64> = truth.iter().zip(&wave).map(|(t, w)| t + 0.1 * w).collect();
        let calibration = SpreadCalibration::of(&means, &[0.1; 1000], &truth).expect("pairs");
        assert!((calibration.spread_to_error - 1.0).abs() < 0.05, "{calibration:?}");
        assert!(calibration.coverage > 0.94, "{calibration:?}");
    }

    proptest! {
        #[test]
        fn fast_counts_equal_the_definition(
            points in proptest::collection::vec((0u8..6, 0u8..6), 0..40)
        ) {
            let predicted: Vec<f64> = points.iter().map(|p| f64::from(p.0)).collect();
            let truth: Vec<f64> = points.iter().map(|p| f64::from(p.1)).collect();
            let (pairwise, tau) = by_definition(&predicted, &truth);
            prop_assert!(close(pairwise_accuracy(&predicted, &truth), pairwise));
            prop_assert!(close(kendall_tau(&predicted, &truth), tau));
        }
    }
}
