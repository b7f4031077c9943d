//! # Weight thresholds
//!
//! One threshold for each output channel of a layer. The papers take one v for the whole layer (EMS §4, eq. 5);
//! `per_channel` is ours: every method looks at each channel alone, except KL. A channel of a depthwise layer has 9 to
//! 49 weights, too few for a histogram, so KL divides each channel by its largest magnitude, finds one clipped
//! fraction for the layer, and multiplies it by each channel's largest magnitude.

use super::grid::{Grid, fake_quantize, steps};
use super::samples::Samples;
use super::{CalibrationError, WeightMethod};

/// Smallest threshold: its scale at 16 bits is still a normal number.
const SMALLEST_THRESHOLD: f32 = 1e-30;
/// Threshold of a layer whose weights are all zero.
const THRESHOLD_OF_ZEROS: f32 = 1.0;

/// Thresholds of a weight matrix `[rows × out]`, row-major: `out` positive numbers, all the same unless `per_channel`.
/// A channel of zeros gets the layer's largest threshold.
pub fn weight_thresholds(
    weights: &[f32],
    out: usize,
    bits: u8,
    method: WeightMethod,
    per_channel: bool,
) -> Result<Vec<f32>, CalibrationError> {
    let steps = steps(bits, true)?;
    method.check()?;
    check(weights, out)?;
    let thresholds = match (per_channel, method) {
        (false, _) => vec![method.threshold(&Samples::of(weights.iter().copied()), bits, steps); out],
        (true, WeightMethod::Kl) => common_fraction(weights, out, bits, steps),
        (true, _) => {
            (0..out).map(|c| method.threshold(&Samples::of(channel(weights, out, c)), bits, steps)).collect()
        }
    };
    Ok(positive(thresholds))
}

/// Squared error of the quantized weights, relative to the weights' own squares; 0 for weights that are all zero.
pub fn weight_distortion(
    weights: &[f32],
    out: usize,
    bits: u8,
    thresholds: &[f32],
) -> Result<f64, CalibrationError> {
    check(weights, out)?;
    if thresholds.len() != out {
        return Err(CalibrationError::ThresholdCount { expected: out, got: thresholds.len() });
    }
    let (mut error, mut power) = (0.0, 0.0);
    for (index, &threshold) in thresholds.iter().enumerate() {
        let grid = Grid::symmetric(threshold, bits)?;
        for weight in channel(weights, out, index) {
            error += f64::from(weight - fake_quantize(weight, &grid)).powi(2);
            power += f64::from(weight).powi(2);
        }
    }
    Ok(if power > 0.0 { error / power } else { 0.0 })
}

fn check(weights: &[f32], out: usize) -> Result<(), CalibrationError> {
    if out == 0 || weights.is_empty() || !weights.len().is_multiple_of(out) {
        return Err(CalibrationError::Shape { weights: weights.len(), out });
    }
    match weights.iter().position(|weight| !weight.is_finite()) {
        None => Ok(()),
        Some(index) => {
            Err(CalibrationError::NotFinite { index, channel: index % out, value: weights[index] })
        }
    }
}

fn channel(weights: &[f32], out: usize, channel: usize) -> impl Iterator<Item = f32> {
    weights[channel..].iter().step_by(out).copied()
}

/// KL per channel: the layer's clipped fraction times each channel's largest magnitude.
fn common_fraction(weights: &[f32], out: usize, bits: u8, steps: u32) -> Vec<f32> {
    let largest: Vec<f32> =
        (0..out).map(|c| channel(weights, out, c).fold(0.0, |max, x| x.abs().max(max))).collect();
    let relative = weights.iter().enumerate().map(|(index, &weight)| match largest[index % out] {
        0.0 => 0.0,
        largest => weight / largest,
    });
    let fraction = WeightMethod::Kl.threshold(&Samples::of(relative), bits, steps);
    largest.into_iter().map(|largest| fraction * largest).collect()
}

fn positive(thresholds: Vec<f32>) -> Vec<f32> {
    let largest = thresholds.iter().copied().fold(0.0, f32::max);
    let fallback = if largest > 0.0 { largest } else { THRESHOLD_OF_ZEROS };
    let replace = |threshold: f32| if threshold > 0.0 { threshold } else { fallback };
    thresholds.into_iter().map(|threshold| replace(threshold).max(SMALLEST_THRESHOLD)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_magnitudes_by_layer_and_by_channel() {
        let weights = [1.0, -8.0, 0.0, -2.0, 4.0, 0.0];
        let of = |per_channel| weight_thresholds(&weights, 3, 8, WeightMethod::MaxAbs, per_channel).unwrap();
        assert_eq!(of(false), [8.0, 8.0, 8.0]);
        assert_eq!(of(true), [2.0, 8.0, 8.0], "a channel of zeros gets the layer's threshold");
    }

    #[test]
    fn kl_clips_every_channel_by_the_same_fraction() {
        let weights: Vec<f32> =
            (0..4000).map(|i| ((i * 37 % 1000) as f32 / 500.0 - 1.0).powi(5) * (1 + i % 4) as f32).collect();
        let largest = weight_thresholds(&weights, 4, 3, WeightMethod::MaxAbs, true).unwrap();
        let clipped = weight_thresholds(&weights, 4, 3, WeightMethod::Kl, true).unwrap();
        let fraction = clipped[0] / largest[0];
        assert!(fraction < 1.0, "{fraction}");
        for (clipped, largest) in clipped.iter().zip(&largest) {
            assert_eq!(*clipped, fraction * largest);
        }
        assert_eq!(weight_thresholds(&weights, 4, 5, WeightMethod::Kl, true).unwrap(), largest);
    }

    #[test]
    fn bad_weights_are_refused() {
        let of = |weights: &[f32], out, bits, method| {
            weight_thresholds(weights, out, bits, method, false).unwrap_err()
        };
        assert_eq!(of(&[1.0; 5], 2, 8, WeightMethod::Kl), CalibrationError::Shape { weights: 5, out: 2 });
        assert_eq!(of(&[], 1, 8, WeightMethod::Kl), CalibrationError::Shape { weights: 0, out: 1 });
        assert_eq!(of(&[1.0], 0, 8, WeightMethod::Kl), CalibrationError::Shape { weights: 1, out: 0 });
        assert_eq!(of(&[1.0], 1, 1, WeightMethod::Kl), CalibrationError::Bits { bits: 1 });
        let infinite = of(&[1.0, 2.0, f32::INFINITY], 3, 8, WeightMethod::Mse);
        assert_eq!(infinite, CalibrationError::NotFinite { index: 2, channel: 2, value: f32::INFINITY });
        for percentile in [0.0, -1.0, 100.1, f32::NAN] {
            let error = of(&[1.0], 1, 8, WeightMethod::Percentile(percentile));
            assert!(matches!(error, CalibrationError::Percentile { .. }), "{percentile}");
        }
    }
}
