//! # Gaussian process on a described candidate
//!
//! Exact regression (Rasmussen and Williams 2006, algorithm 2.1) on the groups of numbers of `description`. With
//! `x_g` the standardised numbers of group g (n_g of them), `L_g = x_g·y_g / n_g` and `D_g = |x_g − y_g|² / n_g`:
//!
//! `k(x, y) = c + Σ_g [a_g·L_g + b_g·exp(−D_g / 2l_g²)] + p·exp(−Σ_g D_g / 2m_g²) + noise`
//!
//! a linear part, a smooth part per group and a product that lets groups interact. The constants are those of largest
//! posterior density: marginal likelihood (gradient of equation 5.9, Adam steps) times a wide log-normal prior.
//! The targets are normal scores (the normal quantiles of the ranks), so that a long tail of bad networks does not
//! set the scale; predictions are mapped back through the measured accuracies. Only the linear part with groups 1 and
//! 5 is ridge regression on the encoding: [`Kernel::Linear`]. The last groups are the blocks one by one, so that the product
//! learns which blocks go together (automatic relevance determination, section 5.1).

use std::ops::Range;

use rayon::prelude::*;

use crate::ensemble::Prediction;
use crate::error::PredictorError;
use crate::linear_algebra::{back_substitute, cholesky, dot, forward_substitute, inverse};

mod additive;
mod covariance;
#[cfg(test)]
mod fixtures;
mod scores;
mod tuning;
mod units;

pub(crate) use covariance::Kernel;
use covariance::{Constants, Parts, covariance};
use scores::normal_scores;
use tuning::tune;
use units::Units;

/// Most pairs that are fitted exactly (8 n² bytes, n³/3 operations).
pub(crate) const MOST_PAIRS: usize = 3000;
/// Standardised numbers, one row per candidate, with the groups' ranges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub rows: Vec<Vec<f64>>,
    pub groups: Vec<Range<usize>>,
}

/// A fitted process.
#[derive(Debug, Clone)]
pub(crate) struct GaussianProcess {
    units: Units,
    table: Table,
    constants: Constants,
    kernel: Kernel,
    lower: Vec<f64>,
    weights: Vec<f64>,
    /// Normal scores and accuracies, both ascending.
    scores: Vec<f64>,
    accuracies: Vec<f64>,
}

impl GaussianProcess {
    /// Fits accuracies on described candidates (raw numbers).
    pub fn fit(raw: Table, accuracies: &[f64], kernel: Kernel) -> Result<Self, PredictorError> {
        if accuracies.len() > MOST_PAIRS {
            return Err(PredictorError::BadSetting {
                setting: "pairs for a Gaussian process",
                value: accuracies.len() as f64,
                expected: "at most 3000",
            });
        }
        let units = Units::of(&raw);
        let table = Table { rows: raw.rows.iter().map(|row| units.apply(row)).collect(), groups: raw.groups };
        let targets = normal_scores(accuracies);
        let constants = tune(&table, &units.counts, &targets, kernel);
        let size = targets.len();
        let covariance = Parts::of(&table, &units.counts, size).covariance(&constants, kernel);
        let singular = PredictorError::Singular { model: "Gaussian process", size };
        let lower = cholesky(&covariance, size).ok_or(singular)?;
        let weights = back_substitute(&lower, size, &forward_substitute(&lower, size, &targets));
        let mut scores = targets;
        scores.sort_unstable_by(f64::total_cmp);
        let mut accuracies = accuracies.to_vec();
        accuracies.sort_unstable_by(f64::total_cmp);
        Ok(Self { units, table, constants, kernel, lower, weights, scores, accuracies })
    }

    /// Ranges of the groups of described numbers.
    pub fn groups(&self) -> &[Range<usize>] {
        &self.table.groups
    }

    /// The numbers that make a fitted process, by name; see [`from_parts`](Self::from_parts).
    pub fn parts(&self) -> Vec<(&'static str, Vec<f64>)> {
        vec![
            ("rows", self.table.rows.concat()),
            ("groups", self.table.groups.iter().map(|group| group.end as f64).collect()),
            ("mean", self.units.mean.clone()),
            ("factor", self.units.factor.clone()),
            ("counts", self.units.counts.clone()),
            ("constants", self.constants.clone()),
            ("weights", self.weights.clone()),
            ("scores", self.scores.clone()),
            ("accuracies", self.accuracies.clone()),
        ]
    }

    /// Puts a process together from its numbers; `None` if they do not fit each other.
    pub fn from_parts(kernel: Kernel, part: impl Fn(&str) -> Option<Vec<f64>>) -> Option<Self> {
        let (mean, factor, counts) = (part("mean")?, part("factor")?, part("counts")?);
        let (constants, weights, rows) = (part("constants")?, part("weights")?, part("rows")?);
        let (scores, accuracies) = (part("scores")?, part("accuracies")?);
        let (width, size) = (mean.len(), weights.len());
        let ends: Vec<usize> = part("groups")?.into_iter().map(|end| end as usize).collect();
        let ascending = ends.is_sorted() && ends.last() == Some(&width);
        let lengths = factor.len() == width && rows.len() == size * width && counts.len() == ends.len();
        let rest = constants.len() == 3 + 4 * ends.len() && scores.len() == size && accuracies.len() == size;
        if !(ascending && lengths && rest && width > 0 && (1..=MOST_PAIRS).contains(&size)) {
            return None;
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let groups = starts.zip(&ends).map(|(start, &end)| start..end).collect();
        let table = Table { rows: rows.chunks_exact(width).map(<[f64]>::to_vec).collect(), groups };
        let lower = cholesky(&Parts::of(&table, &counts, size).covariance(&constants, kernel), size)?;
        let units = Units { mean, factor, counts };
        Some(Self { units, table, constants, kernel, lower, weights, scores, accuracies })
    }

    /// Predicted accuracies and spreads of described candidates.
    pub fn predict(&self, raw: &[Vec<f64>]) -> Vec<Prediction> {
        raw.par_iter().map(|row| self.predict_one(&self.units.apply(row))).collect()
    }

    /// Predicted accuracies alone: a spread costs a solve each.
    pub fn means(&self, raw: &[Vec<f64>]) -> Vec<f64> {
        let one = |row: &[f64]| self.accuracy(dot(&self.covariances(row), &self.weights));
        raw.par_iter().map(|row| one(&self.units.apply(row))).collect()
    }

    /// What the process would have said about each pair without its fold, the constants kept: with α = K⁻¹y and a fold
    /// F, `mean_F = y_F − (K⁻¹_FF)⁻¹ α_F` (Rasmussen and Williams 2006, section 5.4.2, for more than one pair).
    /// `accuracies` are those it was fitted on; `None` if a fold's system is singular.
    pub fn left_out(&self, accuracies: &[f64], folds: &[Vec<usize>]) -> Option<Vec<f64>> {
        let size = self.weights.len();
        let inverse = inverse(&self.lower, size);
        let mut targets = normal_scores(accuracies);
        for fold in folds {
            let count = fold.len();
            let block: Vec<f64> = fold
                .iter()
                .flat_map(|&i| fold.iter().map(move |&j| (i, j)))
                .map(|(i, j)| inverse[i * size + j])
                .collect();
            let lower = cholesky(&block, count)?;
            let alpha: Vec<f64> = fold.iter().map(|&i| self.weights[i]).collect();
            let shift = back_substitute(&lower, count, &forward_substitute(&lower, count, &alpha));
            fold.iter().zip(shift).for_each(|(&i, shift)| targets[i] -= shift);
        }
        Some(targets.into_iter().map(|score| self.accuracy(score)).collect())
    }

    fn covariances(&self, row: &[f64]) -> Vec<f64> {
        self.table.rows.iter().map(|other| self.between(row, other)).collect()
    }

    fn predict_one(&self, row: &[f64]) -> Prediction {
        let size = self.weights.len();
        let covariances = self.covariances(row);
        let score = dot(&covariances, &self.weights);
        let half = forward_substitute(&self.lower, size, &covariances);
        let variance = (self.between(row, row) - dot(&half, &half)).max(0.0);
        let deviation = variance.sqrt();
        let (low, high) = (self.accuracy(score - deviation), self.accuracy(score + deviation));
        Prediction { mean: self.accuracy(score), spread: 0.5 * (high - low) }
    }

    fn between(&self, a: &[f64], b: &[f64]) -> f64 {
        let terms = self.table.groups.iter().zip(&self.units.counts).map(|(group, &count)| {
            let (x, y) = (&a[group.clone()], &b[group.clone()]);
            let product = dot(x, y) / count;
            (product, (dot(x, x) + dot(y, y)) / count - 2.0 * product)
        });
        covariance(&self.constants, self.kernel, terms)
    }

    /// The accuracy that a normal score stands for: piecewise linear through the measured ones, going on with the
    /// mean slope outside, within 0–1.
    pub fn accuracy(&self, score: f64) -> f64 {
        let last = self.scores.len() - 1;
        let slope =
            (self.accuracies[last] - self.accuracies[0]) / (self.scores[last] - self.scores[0]).max(1e-9);
        let value = if score <= self.scores[0] {
            self.accuracies[0] + slope * (score - self.scores[0])
        } else if score >= self.scores[last] {
            self.accuracies[last] + slope * (score - self.scores[last])
        } else {
            let upper = self.scores.partition_point(|&other| other <= score).clamp(1, last);
            let (x, y) = (self.scores[upper - 1], self.scores[upper]);
            let share = if y > x { (score - x) / (y - x) } else { 0.0 };
            self.accuracies[upper - 1] + share * (self.accuracies[upper] - self.accuracies[upper - 1])
        };
        value.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::wave;
    use super::*;

    #[test]
    fn what_is_left_out_is_what_another_process_would_say() {
        let (table, values) = wave(40);
        let process = GaussianProcess::fit(table.clone(), &values, Kernel::Full).expect("fit");
        let fold: Vec<usize> = (0..10).collect();
        let left = process.left_out(&values, std::slice::from_ref(&fold)).expect("regular");
        let size = 30;
        let units = &process.units;
        let rows: Vec<Vec<f64>> = table.rows.iter().map(|row| units.apply(row)).collect();
        let rest = Table { rows: rows[10..].to_vec(), groups: table.groups.clone() };
        let covariance = Parts::of(&rest, &units.counts, size).covariance(&process.constants, Kernel::Full);
        let lower = cholesky(&covariance, size).expect("positive definite");
        let targets = normal_scores(&values);
        let weights = back_substitute(&lower, size, &forward_substitute(&lower, size, &targets[10..]));
        for index in fold {
            let between: Vec<f64> = rest.rows.iter().map(|row| process.between(&rows[index], row)).collect();
            let direct = process.accuracy(dot(&between, &weights));
            assert!((direct - left[index]).abs() < 1e-6, "{index}: {direct} {}", left[index]);
        }
    }

    #[test]
    fn learns_a_smooth_function_and_knows_where_it_does_not() {
        let (table, values) = wave(150);
        let known = Table { rows: table.rows[..100].to_vec(), groups: table.groups.clone() };
        let process = GaussianProcess::fit(known, &values[..100], Kernel::Full).expect("fit");
        let predictions = process.predict(&table.rows[100..]);
        let means: Vec<f64> = predictions.iter().map(|p| p.mean).collect();
        let tau = crate::metrics::kendall_tau(&means, &values[100..]).expect("varied");
        assert!(tau > 0.9, "{tau}");
        let far = process.predict(&[vec![9.0, -9.0, 9.0]])[0].spread;
        let near = process.predict(&table.rows[..1])[0].spread;
        assert!(far > near, "{far} {near}");
    }
}
