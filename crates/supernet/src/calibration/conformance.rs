//! What every method in the lists must do.

use proptest::prelude::*;

use super::*;
use crate::random::{Purpose, normal, stream};

const BITS: [u8; 5] = [2, 3, 4, 6, 8];
/// Scaling by a number that is no power of two rounds; a threshold may then move to a neighbouring candidate.
const SCALE_TOLERANCE: f32 = 0.02;

/// Weight matrices of several shapes and tails, `[rows × out]`.
fn matrices() -> Vec<(&'static str, Vec<f32>, usize)> {
    let mut rng = stream(1, Purpose::Images, [0; 3]);
    let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| normal(&mut rng)).collect() };
    vec![
        ("gaussian", draw(64 * 32), 32),
        ("heavy tails", draw(40 * 24).iter().map(|x| x.powi(3)).collect(), 24),
        ("depthwise 3×3", draw(9 * 16), 16),
        ("one weight a channel", draw(8), 8),
        ("mostly zeros", draw(500).iter().map(|x| if x.abs() > 2.0 { *x } else { 0.0 }).collect(), 10),
        ("all zeros", vec![0.0; 60], 6),
        ("two values", (0..60).map(|i| if i % 3 == 0 { 0.25 } else { -0.75 }).collect(), 6),
        ("tiny", draw(100).iter().map(|x| x * 1e-38).collect(), 5),
        ("huge", draw(100).iter().map(|x| x * 1e37).collect(), 5),
    ]
}

/// Calls `check` with every method, width and matrix: (label, weights, out, bits, thresholds).
fn each_case(check: impl Fn(&str, &[f32], usize, u8, &[f32])) {
    for (name, weights, out) in matrices() {
        for (method_name, method) in WEIGHT_METHODS {
            for (bits, per_channel) in BITS.iter().flat_map(|&bits| [(bits, false), (bits, true)]) {
                let label = format!("{method_name}, {name}, {bits} bits, per channel {per_channel}");
                let thresholds = weight_thresholds(&weights, out, bits, method, per_channel).expect(&label);
                check(&label, &weights, out, bits, &thresholds);
            }
        }
    }
}

#[test]
fn thresholds_are_positive_and_finite_for_any_weights() {
    each_case(|label, weights, out, _, thresholds| {
        assert_eq!(thresholds.len(), out, "{label}");
        let largest = weights.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        let bound = if largest > 1e-30 { largest } else { 1.0 };
        assert!(thresholds.iter().all(|&t| t > 0.0 && t <= bound), "{label}: {thresholds:?}");
    });
}

#[test]
fn quantized_weights_have_at_most_two_to_the_b_levels_and_stay() {
    each_case(|label, weights, out, bits, thresholds| {
        for (channel, &threshold) in thresholds.iter().enumerate() {
            let grid = Grid::symmetric(threshold, bits).expect(label);
            let column: Vec<f32> = weights.iter().skip(channel).step_by(out).copied().collect();
            let mut levels: Vec<i32> = column.iter().map(|&x| quantize(x, &grid)).collect();
            for (&weight, &level) in column.iter().zip(&levels) {
                let once = fake_quantize(weight, &grid);
                assert_eq!(fake_quantize(once, &grid), once, "{label}: {weight}");
                assert!(weight != 0.0 || level == 0, "{label}: 0 became {level}");
            }
            levels.sort_unstable();
            levels.dedup();
            assert!(levels.len() <= 1 << bits, "{label}: {} levels", levels.len());
        }
    });
}

#[test]
fn thresholds_scale_with_the_weights() {
    for (name, weights, out) in
        matrices().into_iter().filter(|(name, ..)| !["tiny", "huge", "all zeros"].contains(name))
    {
        for (method_name, method) in WEIGHT_METHODS {
            for (bits, factor) in BITS.iter().flat_map(|&bits| [(bits, 0.125f32), (bits, 32.0), (bits, 3.0)])
            {
                let scaled: Vec<f32> = weights.iter().map(|x| x * factor).collect();
                let before = weight_thresholds(&weights, out, bits, method, true).unwrap();
                let after = weight_thresholds(&scaled, out, bits, method, true).unwrap();
                let tolerance = if factor == 3.0 { SCALE_TOLERANCE } else { 0.0 };
                for (before, after) in before.iter().zip(&after) {
                    let difference = (after / (before * factor) - 1.0).abs();
                    assert!(
                        difference <= tolerance,
                        "{method_name}, {name}, {bits} bits, ×{factor}: {before} {after}"
                    );
                }
            }
        }
    }
}

#[test]
fn least_squared_error_has_the_least_squared_error() {
    /// The search stops at a finite number of thresholds.
    const SLACK: f64 = 1.01;
    for (name, weights, out) in matrices().into_iter().filter(|(name, ..)| !["tiny", "huge"].contains(name)) {
        for bits in BITS {
            let distortion = |method| {
                let thresholds = weight_thresholds(&weights, out, bits, method, true).unwrap();
                weight_distortion(&weights, out, bits, &thresholds).unwrap()
            };
            let least = distortion(WeightMethod::Mse);
            for (method_name, method) in WEIGHT_METHODS {
                let other = distortion(method);
                assert!(
                    least <= other * SLACK + 1e-12,
                    "{name}, {bits} bits: {method_name} {other} < {least}"
                );
            }
        }
    }
}

#[test]
fn kl_is_close_to_the_best_for_bell_shaped_weights() {
    let (_, weights, out) = matrices().swap_remove(0);
    for (bits, bound) in [(2, 1.3), (3, 1.3), (4, 1.3)] {
        let distortion = |method| {
            let thresholds = weight_thresholds(&weights, out, bits, method, false).unwrap();
            weight_distortion(&weights, out, bits, &thresholds).unwrap()
        };
        let [largest, kl, mse] = [WeightMethod::MaxAbs, WeightMethod::Kl, WeightMethod::Mse].map(distortion);
        assert!(kl < bound * mse && kl < largest, "{bits} bits: max {largest}, kl {kl}, mse {mse}");
    }
}

proptest! {
    #[test]
    fn activation_ranges_are_positive_and_bounded(
        values in prop::collection::vec(prop_oneof![Just(0.0f32), -8.0f32..8.0, -1e-6f32..1e-6, Just(f32::NAN)], 0..200),
        signed: bool,
        bits in 2u8..=8,
    ) {
        let mut histogram = ActivationHistogram::new(signed);
        histogram.observe(&values);
        for (name, method) in ACTIVATION_METHODS {
            let range = histogram.range(bits, method);
            prop_assert!(range > 0.0 && range <= 8.0, "{}: {}", name, range);
            prop_assert!(signed || range <= RELU6_RANGE, "{}: {}", name, range);
            let grid = if signed { Grid::symmetric(range, bits) } else { Grid::unsigned(range, bits) };
            let grid = grid.unwrap();
            prop_assert_eq!(fake_quantize(0.0, &grid), 0.0);
            prop_assert!((grid.high - grid.low) < 1 << bits);
        }
    }
}
