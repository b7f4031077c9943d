//! The covariance of the header of this folder, of one pair and of all pairs at once, and its slopes.

use std::ops::Range;

use rayon::prelude::*;

use super::Table;
use crate::linear_algebra::dot;

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
pub(super) type Constants = Vec<f64>;

/// The covariance of two candidates from their groups' (product, distance), without the noise.
pub(super) fn covariance(
    constants: &Constants,
    kernel: Kernel,
    terms: impl Iterator<Item = (f64, f64)>,
) -> f64 {
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

pub(super) fn noise(constants: &Constants) -> f64 {
    LEAST_NOISE + constants[1].exp()
}

/// Groups 1 and 5 of `description`.
pub(super) fn is_one_hot(group: usize) -> bool {
    group == 0 || group == 4
}

/// Products and distances of all pairs of rows, per group.
pub(super) struct Parts {
    size: usize,
    products: Vec<Vec<f64>>,
    distances: Vec<Vec<f64>>,
}

impl Parts {
    pub fn of(table: &Table, counts: &[f64], size: usize) -> Self {
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
    pub fn covariance(&self, constants: &Constants, kernel: Kernel) -> Vec<f64> {
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
    pub fn gradient(&self, constants: &Constants, kernel: Kernel, weight: &[f64]) -> Vec<f64> {
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
