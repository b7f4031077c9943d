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
use crate::metrics::mean_ranks;

mod additive;

/// Most pairs that are fitted exactly (8 n² bytes, n³/3 operations).
pub(crate) const MOST_PAIRS: usize = 3000;
/// Most pairs that the constants are chosen on.
const TUNING_PAIRS: usize = 300;
const TUNING_STEPS: usize = 60;
const TUNING_RATE: f64 = 0.12;
/// Standard deviation of the log-normal prior on every constant.
const PRIOR_SPREAD: f64 = 1.5;
/// Least noise, relative to the variance of the targets: keeps the matrix positive definite.
const LEAST_NOISE: f64 = 1e-4;

/// Which terms of the covariance are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// All of them.
    Full,
    /// The linear terms of the one-hot groups: ridge regression.
    Linear,
}

/// Logarithms of the constants: `[c, noise, p, then per group a, b, l, m]`.
type Constants = Vec<f64>;

/// Standardised numbers, one row per candidate, with the groups' ranges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Table {
    pub rows: Vec<Vec<f64>>,
    pub groups: Vec<Range<usize>>,
}

/// Mean and reciprocal standard deviation of every number; 0 for a constant one.
#[derive(Debug, Clone, PartialEq)]
struct Units {
    mean: Vec<f64>,
    factor: Vec<f64>,
    /// Numbers per group that vary.
    counts: Vec<f64>,
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

impl Units {
    fn of(table: &Table) -> Self {
        let (count, width) = (table.rows.len() as f64, table.rows[0].len());
        let mean: Vec<f64> =
            (0..width).map(|i| table.rows.iter().map(|row| row[i]).sum::<f64>() / count).collect();
        let factor: Vec<f64> = (0..width)
            .map(|i| {
                let variance = table.rows.iter().map(|row| (row[i] - mean[i]).powi(2)).sum::<f64>() / count;
                if variance > 1e-18 { 1.0 / variance.sqrt() } else { 0.0 }
            })
            .collect();
        let varying =
            |group: &Range<usize>| factor[group.clone()].iter().filter(|&&f| f > 0.0).count().max(1) as f64;
        let counts = table.groups.iter().map(varying).collect();
        Self { mean, factor, counts }
    }

    fn apply(&self, row: &[f64]) -> Vec<f64> {
        row.iter()
            .zip(&self.mean)
            .zip(&self.factor)
            .map(|((value, mean), factor)| (value - mean) * factor)
            .collect()
    }
}

/// Products and distances of all pairs of rows, per group.
struct Parts {
    size: usize,
    products: Vec<Vec<f64>>,
    distances: Vec<Vec<f64>>,
}

impl Parts {
    fn of(table: &Table, counts: &[f64], size: usize) -> Self {
        let product = |(group, &count): (&Range<usize>, &f64)| -> Vec<f64> {
            let pair = |p: usize| {
                dot(&table.rows[p / size][group.clone()], &table.rows[p % size][group.clone()]) / count
            };
            (0..size * size).map(pair).collect()
        };
        let products: Vec<Vec<f64>> = table.groups.iter().zip(counts).map(product).collect();
        let distance = |product: &Vec<f64>| -> Vec<f64> {
            let own = |i: usize| product[i * size + i];
            (0..size * size).map(|p| (own(p / size) + own(p % size) - 2.0 * product[p]).max(0.0)).collect()
        };
        let distances = products.iter().map(distance).collect();
        Self { size, products, distances }
    }

    /// Symmetric, so that only the lower half is worked out.
    fn covariance(&self, constants: &Constants, kernel: Kernel) -> Vec<f64> {
        let groups = 0..self.products.len();
        let pair = |row: usize, column: usize| {
            let p = row * self.size + column;
            let terms = groups.clone().map(|g| (self.products[g][p], self.distances[g][p]));
            covariance(constants, kernel, terms) + if row == column { noise(constants) } else { 0.0 }
        };
        let mut matrix = vec![0.0; self.size * self.size];
        matrix.par_chunks_exact_mut(self.size.max(1)).enumerate().for_each(|(row, out)| {
            (0..=row).for_each(|column| out[column] = pair(row, column));
        });
        for row in 0..self.size {
            for column in 0..row {
                matrix[column * self.size + row] = matrix[row * self.size + column];
            }
        }
        matrix
    }

    /// Σ over pairs of `weight · ∂k/∂(log constant)`, for symmetric weights: pairs off the diagonal count twice.
    fn gradient(&self, constants: &Constants, kernel: Kernel, weight: &[f64]) -> Vec<f64> {
        let rows = (0..self.size).into_par_iter().map(|row| {
            let mut sums = vec![0.0; constants.len()];
            for column in 0..=row {
                let p = row * self.size + column;
                let weight = if column < row { 2.0 * weight[p] } else { weight[p] };
                self.add_slopes(constants, kernel, p, weight, &mut sums);
            }
            sums[1] += weight[row * self.size + row] * (noise(constants) - LEAST_NOISE);
            sums
        });
        let rows: Vec<Vec<f64>> = rows.collect();
        (0..constants.len()).map(|index| rows.iter().map(|row| row[index]).sum()).collect()
    }

    fn add_slopes(&self, constants: &Constants, kernel: Kernel, p: usize, weight: f64, sums: &mut [f64]) {
        sums[0] += weight * constants[0].exp();
        let mut exponent = 0.0;
        for group in 0..self.products.len() {
            let at = 3 + 4 * group;
            let distance = self.distances[group][p];
            if kernel == Kernel::Full || is_one_hot(group) {
                sums[at] += weight * constants[at].exp() * self.products[group][p];
            }
            if kernel == Kernel::Full {
                let scaled = distance * (-2.0 * constants[at + 2]).exp();
                let smooth = constants[at + 1].exp() * (-0.5 * scaled).exp();
                sums[at + 1] += weight * smooth;
                sums[at + 2] += weight * smooth * scaled;
                exponent += distance * (-2.0 * constants[at + 3]).exp();
            }
        }
        if kernel == Kernel::Full {
            let joint = constants[2].exp() * (-0.5 * exponent).exp();
            sums[2] += weight * joint;
            for group in 0..self.products.len() {
                let at = 3 + 4 * group + 3;
                sums[at] += weight * joint * self.distances[group][p] * (-2.0 * constants[at]).exp();
            }
        }
    }
}

/// The covariance of two candidates from their groups' (product, distance), without the noise.
fn covariance(constants: &Constants, kernel: Kernel, terms: impl Iterator<Item = (f64, f64)>) -> f64 {
    let mut sum = constants[0].exp();
    let mut exponent = 0.0;
    for (group, (product, distance)) in terms.enumerate() {
        let at = 3 + 4 * group;
        if kernel == Kernel::Full || is_one_hot(group) {
            sum += constants[at].exp() * product;
        }
        if kernel == Kernel::Full {
            sum += constants[at + 1].exp() * (-0.5 * distance * (-2.0 * constants[at + 2]).exp()).exp();
            exponent += distance * (-2.0 * constants[at + 3]).exp();
        }
    }
    if kernel == Kernel::Full { sum + constants[2].exp() * (-0.5 * exponent).exp() } else { sum }
}

fn noise(constants: &Constants) -> f64 {
    LEAST_NOISE + constants[1].exp()
}

/// Groups 1 and 5 of `description`.
fn is_one_hot(group: usize) -> bool {
    group == 0 || group == 4
}

/// Start (and centre of the prior): everything moderately important, smooth over about two standard deviations, a
/// noise of a tenth.
fn start(groups: usize) -> Constants {
    let mut constants = vec![(0.1f64).ln(), (0.1f64).ln(), (0.3f64).ln()];
    let each = 1.0 / groups as f64;
    (0..groups).for_each(|_| {
        constants.extend([
            (0.5 * each).ln(),
            (0.5 * each).ln(),
            (1.5f64).ln(),
            (1.5 * (groups as f64).sqrt()).ln(),
        ]);
    });
    constants
}

/// Constants of largest posterior density, by Adam on the logarithms.
fn tune(table: &Table, counts: &[f64], targets: &[f64], kernel: Kernel) -> Constants {
    // The pairs come in no order, so every n-th is a fair part of them.
    let stride = targets.len().div_ceil(TUNING_PAIRS);
    let rows = table.rows.iter().step_by(stride).cloned().collect();
    let targets: Vec<f64> = targets.iter().step_by(stride).copied().collect();
    let parts = Parts::of(&Table { rows, groups: table.groups.clone() }, counts, targets.len());
    let prior = start(table.groups.len());
    let mut constants = prior.clone();
    let (mut first, mut second) = (vec![0.0; prior.len()], vec![0.0; prior.len()]);
    for step in 1..=TUNING_STEPS {
        let Some(slopes) = posterior_slopes(&parts, &constants, &prior, &targets, kernel) else { break };
        let rate = TUNING_RATE * (1.0 - (step as f64 - 1.0) / TUNING_STEPS as f64);
        for (index, slope) in slopes.into_iter().enumerate() {
            first[index] = 0.9 * first[index] + 0.1 * slope;
            second[index] = 0.99 * second[index] + 0.01 * slope * slope;
            let (mean, square) = (
                first[index] / (1.0 - 0.9f64.powi(step as i32)),
                second[index] / (1.0 - 0.99f64.powi(step as i32)),
            );
            constants[index] += rate * mean / (square.sqrt() + 1e-9);
        }
    }
    constants
}

/// Gradient of the log posterior: `½ (αᵀ·∂K·α − tr(K⁻¹·∂K))` and the prior's pull.
fn posterior_slopes(
    parts: &Parts,
    constants: &Constants,
    prior: &Constants,
    targets: &[f64],
    kernel: Kernel,
) -> Option<Vec<f64>> {
    let size = targets.len();
    let lower = cholesky(&parts.covariance(constants, kernel), size)?;
    let alpha = back_substitute(&lower, size, &forward_substitute(&lower, size, targets));
    let mut weight = inverse(&lower, size);
    weight
        .iter_mut()
        .enumerate()
        .for_each(|(p, value)| *value = 0.5 * (alpha[p / size] * alpha[p % size] - *value));
    let mut slopes = parts.gradient(constants, kernel, &weight);
    let pull = constants.iter().zip(prior).map(|(value, center)| (center - value) / PRIOR_SPREAD.powi(2));
    slopes.iter_mut().zip(pull).for_each(|(slope, pull)| *slope += pull);
    Some(slopes)
}

/// Normal quantiles of the ranks.
fn normal_scores(accuracies: &[f64]) -> Vec<f64> {
    let count = accuracies.len() as f64;
    mean_ranks(accuracies).into_iter().map(|rank| normal_quantile((rank + 0.5) / count)).collect()
}

/// Inverse of the normal distribution function, by Giles' (2012) polynomial for erf⁻¹, good to single precision, which
/// is more than ranks carry.
fn normal_quantile(share: f64) -> f64 {
    let x = 2.0 * share - 1.0;
    let w = -((1.0 - x) * (1.0 + x)).ln();
    let (w, coefficients) = if w < 5.0 { (w - 2.5, CENTRAL) } else { (w.sqrt() - 3.0, TAIL) };
    std::f64::consts::SQRT_2 * x * coefficients.iter().fold(0.0, |sum, coefficient| sum * w + coefficient)
}

const CENTRAL: [f64; 9] = [
    2.810_226_36e-8,
    3.432_739_39e-7,
    -3.523_387_7e-6,
    -4.391_506_54e-6,
    2.185_808_7e-4,
    -1.253_725_03e-3,
    -4.177_681_64e-3,
    2.466_407_27e-1,
    1.501_409_41,
];
const TAIL: [f64; 9] = [
    -2.002_142_57e-4,
    1.009_505_58e-4,
    1.349_343_22e-3,
    -3.673_428_44e-3,
    5.739_507_73e-3,
    -7.622_461_3e-3,
    9.438_870_47e-3,
    1.001_674_06,
    2.832_976_82,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(count: usize) -> (Table, Vec<f64>) {
        let number = |i: usize, k: usize| ((i * (7 + 4 * k) + k) as f64 * 0.618).sin();
        let rows: Vec<Vec<f64>> = (0..count).map(|i| (0..3).map(|k| number(i, k)).collect()).collect();
        let values =
            rows.iter().map(|row| 0.5 + 0.1 * (row[0] + row[1] * row[2] + (2.0 * row[2]).sin())).collect();
        (Table { rows, groups: vec![0..1, 1..3] }, values)
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (share, quantile) in [(0.5, 0.0), (0.975, 1.959_964), (0.001, -3.090_232), (0.9, 1.281_552)] {
            assert!((normal_quantile(share) - quantile).abs() < 1e-5, "{share}: {}", normal_quantile(share));
        }
    }

    #[test]
    fn slopes_equal_finite_differences() {
        let (table, values) = wave(30);
        let units = Units::of(&table);
        let table =
            Table { rows: table.rows.iter().map(|row| units.apply(row)).collect(), groups: table.groups };
        let targets = normal_scores(&values);
        let parts = Parts::of(&table, &units.counts, 30);
        let prior = start(2);
        let density = |constants: &Constants| {
            let lower = cholesky(&parts.covariance(constants, Kernel::Full), 30).expect("positive definite");
            let half = forward_substitute(&lower, 30, &targets);
            let logarithms: f64 = (0..30).map(|i| lower[i * 30 + i].ln()).sum();
            let pull: f64 = constants.iter().zip(&prior).map(|(c, p)| ((c - p) / PRIOR_SPREAD).powi(2)).sum();
            -0.5 * dot(&half, &half) - logarithms - 0.5 * pull
        };
        let constants: Constants =
            prior.iter().enumerate().map(|(i, value)| value + 0.1 * (i as f64).sin()).collect();
        let slopes =
            posterior_slopes(&parts, &constants, &prior, &targets, Kernel::Full).expect("positive definite");
        for index in 0..constants.len() {
            let at = |shift: f64| {
                let mut moved = constants.clone();
                moved[index] += shift;
                density(&moved)
            };
            let difference = (at(1e-4) - at(-1e-4)) / 2e-4;
            assert!(
                (difference - slopes[index]).abs() < 1e-4 * difference.abs().max(1.0),
                "{index}: {difference} {}",
                slopes[index]
            );
        }
    }

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
