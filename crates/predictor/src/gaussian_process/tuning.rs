//! Constants of largest posterior density.

use super::Table;
use super::covariance::{Constants, Kernel, Parts};
use crate::linear_algebra::{back_substitute, cholesky, forward_substitute, inverse};

/// Most pairs that the constants are chosen on.
const TUNING_PAIRS: usize = 300;
const TUNING_STEPS: usize = 60;
const TUNING_RATE: f64 = 0.12;
/// Standard deviation of the log-normal prior on every constant.
const PRIOR_SPREAD: f64 = 1.5;
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
pub(super) fn tune(table: &Table, counts: &[f64], targets: &[f64], kernel: Kernel) -> Constants {
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

#[cfg(test)]
mod tests {
    use super::super::fixtures::wave;
    use super::super::scores::normal_scores;
    use super::super::units::Units;
    use super::*;
    use crate::linear_algebra::dot;

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
}
