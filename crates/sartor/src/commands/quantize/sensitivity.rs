//! # Sensitivity: what a width costs a layer
//!
//! One operand of one layer at a lower width, everything else at 8 bits; the cost is how far the answers move from the
//! float network's: the mean Kullback–Leibler divergence on training images, labels unseen (as Cai et al., "ZeroQ", CVPR
//! 2020, equation 4, but on images), above that of 8 bits everywhere. A candidate's predicted cost is the sum over its
//! layers and operands, as if they did not interact; what the search likes best is then measured as a whole.

use anyhow::Result;

use super::calibrated::{Calibrated, Widths};
use crate::progress::Progress;

/// Width of everything that is not looked at.
const WIDEST: u8 = 8;

/// Divergences in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct Sensitivity {
    /// 8 bits everywhere.
    pub base: f64,
    /// By layer: weight widths with what they cost.
    weights: Vec<Vec<(u8, f64)>>,
    /// By layer: activation widths with what they cost.
    activations: Vec<Vec<(u8, f64)>>,
}

impl Sensitivity {
    /// Measures every layer but the first and the last at every width.
    ///
    /// # Errors
    /// Widths that no integer kernel computes.
    pub fn measure(calibrated: &Calibrated<'_>, (weights, activations): (&[u8], &[u8])) -> Result<Self> {
        let layers = calibrated.workload.layers.len();
        let base = calibrated.divergence(&calibrated.quantize(&vec![(WIDEST, WIDEST); layers])?)?;
        let total = layers.saturating_sub(2) * (weights.len() + activations.len());
        let (mut progress, mut done) = (Progress::new("sensitivity", total as u64, 0), 0);
        let mut all = Self { base, weights: vec![vec![]; layers], activations: vec![vec![]; layers] };
        for layer in 1..layers.saturating_sub(1) {
            let name = &calibrated.workload.layers[layer].name;
            let mut cost = |widths: Widths| -> Result<f64> {
                done += 1;
                progress.at(done, name);
                Self::one(calibrated, layer, widths).map(|divergence| (divergence - base).max(0.0))
            };
            for &bits in weights {
                all.weights[layer].push((bits, cost((bits, WIDEST))?));
            }
            for &bits in activations {
                all.activations[layer].push((bits, cost((WIDEST, bits))?));
            }
        }
        Ok(all)
    }

    fn one(calibrated: &Calibrated<'_>, layer: usize, own: Widths) -> Result<f64> {
        let mut widths = vec![(WIDEST, WIDEST); calibrated.workload.layers.len()];
        if own == widths[layer] {
            return Ok(0.0);
        }
        widths[layer] = own;
        calibrated.divergence(&calibrated.quantize(&widths)?)
    }

    /// What these widths cost a layer; 0 for one that is not searched.
    pub fn of(&self, layer: usize, (weights, activations): Widths) -> f64 {
        let cost = |known: &[(u8, f64)], bits: u8| {
            known.iter().find(|(own, _)| *own == bits).map_or(0.0, |(_, cost)| *cost)
        };
        cost(&self.weights[layer], weights) + cost(&self.activations[layer], activations)
    }
}
