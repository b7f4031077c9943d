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
//!
//! Where a layer convolves whole numbers ([`Counts`]), `z` is counted too: `z = (y + bias) · factor` in steps of the next
//! quantizer, with the bias in steps of the sums and a factor rounded in the order of the integer network's, so that ties
//! fall where they do there.

use crate::kernels::elementwise::{Norm, NormGradient, Quantizer};
use crate::network::{EPSILON, Layer, NormStatistics, RELU_CEILING, WeightQuantizer};

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

    /// The forward part of a norm in real numbers.
    pub(crate) fn norm(&self) -> Norm<'a> {
        let &Self { mean, scale, shift, .. } = self;
        Norm { mean, scale, shift, ceiling: RELU_CEILING, counts: false }
    }

    /// The forward part of a norm whose results are counted in steps of `quantizer`.
    pub(crate) fn counted_norm(&self, quantizer: Option<Quantizer>) -> Norm<'a> {
        let ceiling = quantizer.map_or(RELU_CEILING, |q| (RELU_CEILING / q.step).round_ties_even());
        Norm { ceiling, counts: true, ..self.norm() }
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

/// What the numbers of a layer that convolves whole numbers stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts<'a> {
    /// Step of the input; `None` where the input is real (the image).
    pub input: Option<f32>,
    /// Of the weights.
    pub weights: &'a WeightQuantizer,
    /// Step that the normed output is counted in; 1 where it stays real.
    pub output: f32,
}

/// Largest bias, in steps of the sums; beyond it the sums do not matter.
const LARGEST_BIAS: f64 = (1u64 << 60) as f64;
/// Largest bias that float32 holds with its fraction.
const EXACT: f64 = (1 << 24) as f64;
/// A bias is a multiple of `2^(bits - 8)` steps of the sums.
const BIAS_BITS: i32 = 8;

impl Counts<'_> {
    /// Factor and bias of a channel, from the norm's scale and shift in real numbers.
    fn factor_and_bias(&self, channel: usize, scale: f64, shift: f64) -> (f32, f32) {
        let weight = f64::from(self.weights.thresholds[channel]) / f64::from(self.weights.levels()) * scale;
        let step = weight * f64::from(self.input.unwrap_or(1.0));
        let bias = shift / step;
        if !bias.is_finite() || bias.abs() > LARGEST_BIAS {
            return ((shift / LARGEST_BIAS / f64::from(self.output)) as f32, LARGEST_BIAS as f32);
        }
        // In the order in which the integer network's factor is rounded.
        let factor = self.input.unwrap_or(1.0) * weight as f32 / self.output;
        (factor, self.whole(bias) as f32)
    }

    /// The nearest bias that the integer network can have.
    fn whole(&self, bias: f64) -> f64 {
        let fineness = f64::from(BIAS_BITS - i32::from(self.weights.bits)).exp2();
        let exact = self.input.is_some() && (bias * fineness).abs() < EXACT;
        if exact { (bias * fineness).round_ties_even() / fineness } else { bias }
    }
}

/// Fills mean, scale and shift from statistics; factor and bias where the layer counts.
pub(crate) fn prepare(
    place: Place,
    parameters: &[f32],
    statistics: &NormStatistics,
    counts: Option<Counts>,
    numbers: &mut [f32],
) {
    let pitch = numbers.len() / ARRAYS;
    numbers.fill(0.0);
    for c in 0..place.channels {
        let (mean, inverse) = (f64::from(statistics.mean[c]), inverse(statistics.variance[c]));
        let scale = f64::from(parameters[place.gamma_offset + c]) * inverse;
        let shift = f64::from(parameters[place.beta_offset + c]) - mean * scale;
        numbers[c] = statistics.mean[c];
        (numbers[pitch + c], numbers[2 * pitch + c]) = match &counts {
            Some(counts) => counts.factor_and_bias(c, scale, shift),
            None => (scale as f32, shift as f32),
        };
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
