//! # Batch norm
//!
//! Forward: `z = scale · y + shift`, `scale = gamma / sqrt(variance + ε)`, `shift = beta - mean · scale`.
//! Backward, with n elements per channel, `S₁ = Σ g`, `S₂ = Σ g (y - mean)`, `i = 1 / sqrt(variance + ε)`:
//!
//! ```text
//! d beta = S₁        d gamma = S₂ i
//! dy = scale (g - S₁ / n) - (y - mean) · scale S₂ i² / n  =  scale (g - gradient_mean) + (y - mean) slope
//! ```
//!
//! There is no pass over the data here: the sums come from the producers' epilogues, and `z` and `dy` are computed
//! where they are read. All in `f64`, over channels only.

use crate::kernels::elementwise::{Norm, NormGradient, Quantizer};
use crate::network::{EPSILON, Layer, NormStatistics};

/// Arrays kept per norm: mean, scale, shift, slope, gradient mean.
pub(crate) const ARRAYS: usize = 5;

/// Where a norm's parameters lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub gamma_offset: usize,
    pub beta_offset: usize,
    pub channels: usize,
}

impl From<&Layer> for Place {
    fn from(layer: &Layer) -> Self {
        let &Layer { gamma_offset, beta_offset, out_channels: channels, .. } = layer;
        Self { gamma_offset, beta_offset, channels }
    }
}

/// The five arrays of a layer, each of `pitch` numbers.
pub(crate) struct Arrays<'a> {
    pub mean: &'a [f32],
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    pub slope: &'a [f32],
    pub gradient_mean: &'a [f32],
}

impl<'a> Arrays<'a> {
    /// Splits the numbers of a layer.
    pub(crate) fn of(numbers: &'a [f32], pitch: usize) -> Self {
        let array = |i: usize| &numbers[i * pitch..(i + 1) * pitch];
        Self { mean: array(0), scale: array(1), shift: array(2), slope: array(3), gradient_mean: array(4) }
    }

    /// The forward part.
    pub(crate) fn norm(&self) -> Norm<'a> {
        Norm { mean: self.mean, scale: self.scale, shift: self.shift }
    }

    /// The backward part.
    pub(crate) fn gradient(&self, output_quantizer: Option<Quantizer>) -> NormGradient<'a> {
        NormGradient {
            norm: self.norm(),
            slope: self.slope,
            gradient_mean: self.gradient_mean,
            output_quantizer,
        }
    }
}

/// Fills mean, scale and shift from statistics; `unit` is what a 1 in the output of channel c stands for.
pub(crate) fn prepare(
    place: Place,
    parameters: &[f32],
    statistics: &NormStatistics,
    unit: impl Fn(usize) -> f64,
    numbers: &mut [f32],
) {
    let pitch = numbers.len() / ARRAYS;
    numbers.fill(0.0);
    for c in 0..place.channels {
        let (mean, inverse) = (f64::from(statistics.mean[c]), inverse(statistics.variance[c]));
        let scale = f64::from(parameters[place.gamma_offset + c]) * inverse;
        numbers[c] = statistics.mean[c];
        numbers[pitch + c] = (scale * unit(c)) as f32;
        numbers[2 * pitch + c] = (f64::from(parameters[place.beta_offset + c]) - mean * scale) as f32;
    }
}

/// Fills slope and gradient mean from the sums over `count` elements, and adds the gradients of gamma and beta.
pub(crate) fn backward(
    place: Place,
    parameters: &[f32],
    statistics: &NormStatistics,
    sums: [&[f64]; 2],
    count: usize,
    numbers: &mut [f32],
    gradients: &mut [f32],
) {
    let (pitch, count) = (numbers.len() / ARRAYS, count as f64);
    for c in 0..place.channels {
        let (first, second, inverse) = (sums[0][c], sums[1][c], inverse(statistics.variance[c]));
        let scale = f64::from(parameters[place.gamma_offset + c]) * inverse;
        numbers[3 * pitch + c] = (-scale * second * inverse * inverse / count) as f32;
        numbers[4 * pitch + c] = (first / count) as f32;
        gradients[place.beta_offset + c] += first as f32;
        gradients[place.gamma_offset + c] += (second * inverse) as f32;
    }
}

fn inverse(variance: f32) -> f64 {
    1.0 / (f64::from(variance.max(0.0)) + f64::from(EPSILON)).sqrt()
}
