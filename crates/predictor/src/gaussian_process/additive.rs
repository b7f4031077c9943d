//! # Ridge regression as one weight per feature
//!
//! With linear terms alone, `k(x, x_p) = c + Σ_g a_g·(x_g·x_pg) / n_g`, the score `Σ_p α_p·k(x, x_p)` is a constant plus a weight
//! for every number of the candidate: `w_i = f_i·a_g/n_g·Σ_p α_p·x_pi`, `f_i` being the factor of its unit. So it adds up over
//! blocks, and what any candidate of a space can reach has a bound.

use super::covariance::is_one_hot;
use super::{GaussianProcess, Kernel};

impl GaussianProcess {
    /// The constant, and a weight per described number; `None` if there are other terms than linear ones.
    pub fn linear(&self) -> Option<(f64, Vec<f64>)> {
        if self.kernel != Kernel::Linear {
            return None;
        }
        let mut weights = vec![0.0; self.units.mean.len()];
        let mut constant = self.constants[0].exp() * self.weights.iter().sum::<f64>();
        for (index, group) in self.table.groups.iter().enumerate().filter(|(index, _)| is_one_hot(*index)) {
            let share = self.constants[3 + 4 * index].exp() / self.units.counts[index];
            for number in group.clone() {
                let pull: f64 =
                    self.table.rows.iter().zip(&self.weights).map(|(row, weight)| row[number] * weight).sum();
                weights[number] = share * pull * self.units.factor[number];
                constant -= weights[number] * self.units.mean[number];
            }
        }
        Some((constant, weights))
    }
}
