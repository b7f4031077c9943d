//! # Folding: float weights and batch norm to integers, scales and int32 biases
//!
//! EMS (papers, section 4, equation 5): symmetric weights, `scale = threshold / (2^(bits-1) - 1)`. They are quantized
//! before the norm is folded, as in training, so that folding is exact: with `σ = sqrt(variance + ε)`
//!
//! ```text
//! norm(Σ x·q·s) = Σ x·(±q)·(s·|γ|/σ) + (β − mean·γ/σ)         ± is the sign of γ
//! ```
//!
//! Integers stay, only scales and biases change. Training leaves biases in float; in steps of `input scale × folded
//! scale` they would lose most of their value where weights are narrow (a 2-bit weight has one step on either side of
//! 0). So sums of products are shifted left by `8 − bits` first, and the int32 bias is in steps that much finer. In an
//! 8-bit container this is the same as storing the weights shifted.
//!
//! Where γ is so small that the bias would leave ±2^30 steps, the channel's step is widened and its integers are
//! rounded to it: such a channel is its bias, the products are below what any output quantizer resolves.

use crate::error::{ExportError, Result};
use crate::graph::Weights;

/// Added to the variance, as in training.
pub const EPSILON: f64 = 1e-5;
/// Largest bias in steps that is kept as it is.
const BIAS_LIMIT: f64 = (1u32 << 30) as f64;
/// Bias in steps after a channel's step was widened.
const WIDENED_BIAS: f64 = (1u32 << 29) as f64;
/// Smallest folded scale; keeps the runtime's float products normal numbers.
const SMALLEST_SCALE: f64 = 1e-20;

/// Batch norm of one channel in inference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// γ, the factor.
    pub gamma: f32,
    /// β, the shift.
    pub beta: f32,
    /// Mean of the sums.
    pub mean: f32,
    /// Variance of the sums, population.
    pub variance: f32,
}

impl Norm {
    /// A norm that adds a bias and nothing else.
    pub fn only_shift(bias: f32) -> Self {
        Self { gamma: 1.0, beta: bias, mean: 0.0, variance: (1.0 - EPSILON) as f32 }
    }

    /// Factor and shift: `norm(y) = factor·y + shift`.
    pub fn factor_and_shift(&self) -> (f64, f64) {
        let factor = f64::from(self.gamma) / (f64::from(self.variance) + EPSILON).sqrt();
        (factor, f64::from(self.beta) - f64::from(self.mean) * factor)
    }
}

/// Largest integer of a symmetric `bits`-bit weight.
pub fn weight_levels(bits: u8) -> i32 {
    (1 << (bits - 1)) - 1
}

/// Integers of one weight matrix, `[rows, channels]` with a threshold per channel.
pub fn quantize_weights(values: &[f32], thresholds: &[f32], bits: u8) -> Vec<i8> {
    let levels = weight_levels(bits) as f32;
    let quantize = |(index, &value): (usize, &f32)| {
        let scale = thresholds[index % thresholds.len()] / levels;
        (value / scale).round_ties_even().clamp(-levels, levels) as i8
    };
    values.iter().enumerate().map(quantize).collect()
}

/// Quantizes `[rows, channels]` weights and folds an affine map per channel into scales and biases.
///
/// `affine` gives factor and shift of a channel ([`Norm::factor_and_shift`], or `(1, bias)` for the classifier);
/// `input` is the scale and the largest magnitude of the layer's input integers.
pub fn fold(
    layer: &str,
    (values, thresholds, bits): (&[f32], &[f32], u8),
    affine: impl Fn(usize) -> (f64, f64),
    (input_scale, input_magnitude): (f32, i32),
) -> Result<Weights> {
    let channels = thresholds.len();
    let mut integers = quantize_weights(values, thresholds, bits);
    let bias_shift = 8 - u32::from(bits);
    let fineness = f64::from(1u32 << bias_shift);
    let (mut scales, mut bias) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
    for (channel, &threshold) in thresholds.iter().enumerate() {
        let (factor, shift) = affine(channel);
        let plain = f64::from(threshold) / f64::from(weight_levels(bits)) * factor;
        let step = folded_scale(plain.abs() / fineness, shift, input_scale.into());
        let scale = step * fineness;
        check_finite(layer, channel, scale, shift)?;
        integers
            .iter_mut()
            .skip(channel)
            .step_by(channels)
            .for_each(|value| *value = rescale(*value, plain, scale));
        scales.push(scale as f32);
        bias.push((shift / (f64::from(input_scale) * f64::from(step as f32))).round_ties_even() as i32);
    }
    let weights =
        Weights { bits, values: integers, scales, bias_shift, bias, thresholds: thresholds.to_vec() };
    check_overflow(layer, &weights, input_magnitude)?;
    Ok(weights)
}

/// The plain folded scale, or a wider one if the bias would not fit.
fn folded_scale(plain: f64, shift: f64, input_scale: f64) -> f64 {
    let fits = shift.abs() <= BIAS_LIMIT * plain * input_scale;
    let wide = if fits { plain } else { shift.abs() / (WIDENED_BIAS * input_scale) };
    wide.max(SMALLEST_SCALE)
}

fn rescale(value: i8, plain: f64, scale: f64) -> i8 {
    (f64::from(value) * plain / scale).round_ties_even() as i8
}

fn check_finite(layer: &str, channel: usize, scale: f64, shift: f64) -> Result<()> {
    if (scale as f32).is_finite() && shift.is_finite() {
        return Ok(());
    }
    Err(ExportError::Value {
        layer: layer.to_string(),
        key: format!("{layer}.gamma"),
        index: channel,
        got: scale as f32,
        expected: "a norm whose folded scale is finite",
    })
}

fn check_overflow(layer: &str, weights: &Weights, input_magnitude: i32) -> Result<()> {
    let mut bounds: Vec<u64> = weights.bias.iter().map(|bias| u64::from(bias.unsigned_abs())).collect();
    for row in weights.values.chunks_exact(weights.bias.len()) {
        let products = row
            .iter()
            .map(|value| u64::from(value.unsigned_abs()) * u64::from(input_magnitude.unsigned_abs()));
        bounds.iter_mut().zip(products).for_each(|(bound, product)| *bound += product << weights.bias_shift);
    }
    match bounds.into_iter().find(|&bound| bound > i32::MAX as u64) {
        None => Ok(()),
        Some(bound) => Err(ExportError::Overflow { layer: layer.to_string(), bound }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Folding happens in f64 and is stored in f32.
    const FOLD_TOLERANCE: f64 = 1e-6;

    fn fold_one(weight: &[f32], bits: u8, norm: Norm, input_scale: f32) -> Weights {
        fold("layer", (weight, &[1.0], bits), |_| norm.factor_and_shift(), (input_scale, 255)).unwrap()
    }

    #[test]
    fn weights_round_to_even_and_clip_at_the_threshold() {
        struct Case {
            bits: u8,
            threshold: f32,
            values: &'static [f32],
            integers: &'static [i8],
        }
        for case in [
            Case {
                bits: 8,
                threshold: 127.0,
                values: &[200.0, -128.0, 0.5, 1.5, 38.1],
                integers: &[127, -127, 0, 2, 38],
            },
            Case { bits: 4, threshold: 7.0, values: &[7.0, -7.6, 3.5, -2.5], integers: &[7, -7, 4, -2] },
            Case { bits: 2, threshold: 1.0, values: &[0.51, -0.49, 0.5, -9.0], integers: &[1, 0, 0, -1] },
        ] {
            let got = quantize_weights(case.values, &[case.threshold], case.bits);
            assert_eq!(got, case.integers, "{} bits", case.bits);
        }
    }

    #[test]
    fn a_negative_gamma_flips_the_integers() {
        let norm = Norm { gamma: -2.0, beta: 0.5, mean: 1.0, variance: 4.0 - EPSILON as f32 };
        let weights = fold_one(&[1.0, -0.5], 8, norm, 0.1);
        assert_eq!(weights.values, [-127, 64]);
        assert!((f64::from(weights.scales[0]) - 1.0 / 127.0).abs() < FOLD_TOLERANCE);
        assert_eq!(weights.bias, [(1.5 * 127.0f64 / 0.1).round() as i32]);
    }

    #[test]
    fn a_dead_channel_is_its_bias() {
        for gamma in [0.0, 1e-30] {
            let norm = Norm { gamma, beta: -0.75, mean: 3.0, variance: 1.0 };
            let weights = fold_one(&[1.0, -1.0], 8, norm, 0.1);
            let real = f64::from(weights.bias[0]) * f64::from(weights.scales[0]) * f64::from(0.1f32);
            assert!((real + 0.75).abs() < FOLD_TOLERANCE, "{real}");
            assert_eq!(weights.values, [0, 0]);
        }
        let nothing = Norm { gamma: 0.0, beta: 0.0, mean: 0.0, variance: 0.0 };
        assert_eq!(fold_one(&[1.0], 8, nothing, 0.1).bias, [0]);
    }

    #[test]
    fn a_sum_that_cannot_fit_is_refused() {
        let values = vec![1.0f32; 70_000];
        let error = fold("wide", (&values, &[1.0], 8), |_| (1.0, 0.0), (1.0, 255)).unwrap_err();
        assert_eq!(error.to_string(), "layer `wide`: a sum of up to 2266950000 does not fit 32 bits");
    }

    proptest! {
        /// `norm(Σ x·q·s)` computed in f64 equals the folded integers' sum.
        #[test]
        fn folding_is_exact(
            weights in proptest::collection::vec(-1.5f32..1.5, 1..20),
            pixel in 0i32..256,
            bits in 2u8..=8,
            (gamma, beta, mean, variance) in (-3f32..3.0, -3f32..3.0, -3f32..3.0, 0f32..4.0),
        ) {
            prop_assume!(gamma.abs() > 1e-3);
            let norm = Norm { gamma, beta, mean, variance };
            let folded = fold_one(&weights, bits, norm, 0.02);
            let levels = f64::from(weight_levels(bits));
            let integers = quantize_weights(&weights, &[1.0], bits);
            let plain: f64 = integers.iter().map(|&q| f64::from(q) / levels * f64::from(pixel) * f64::from(0.02f32)).sum();
            let sigma = (f64::from(variance) + EPSILON).sqrt();
            let expected = f64::from(gamma) * (plain - f64::from(mean)) / sigma + f64::from(beta);
            let products: i64 = folded.values.iter().map(|&q| i64::from(q) * i64::from(pixel)).sum();
            let sum = products << folded.bias_shift;
            let step = f64::from(folded.sum_scale(0)) * f64::from(0.02f32);
            let got = (sum + i64::from(folded.bias[0])) as f64 * step;
            prop_assert!((got - expected).abs() <= 0.5 * step + FOLD_TOLERANCE * (1.0 + expected.abs() * 10.0), "{got} {expected}");
        }
    }
}
