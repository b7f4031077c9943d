//! # Requantization: from int32 sums to the next tensor's integers
//!
//! Two published styles and a finer one; all end in the tensor's own clamp.
//!
//! - [`Style::FloatTiesToEven`]: `round_ties_even(float32(sum) × float32 factor)`, as ONNX Runtime's CPU kernels
//!   (and XNNPACK) do. Loads of a signed stream divide by the new scale, as `QuantizeLinear` does. Additions follow
//!   its AVX2 kernel: signed tensors are bytes around 128, two fused multiply-adds start from what the zero points
//!   contribute; its kernels for other CPUs round some exact ties differently.
//! - [`Style::FixedPoint`]: integers only. gemmlowp's doubling high multiply by a 31-bit factor, rounded, then a
//!   rounding right shift (Jacob et al., "Quantization and training of neural networks for efficient
//!   integer-arithmetic-only inference", CVPR 2018, section 2.2); this is what the TFLite reference kernels compute.
//!   Additions bring both operands to a common scale with 20 bits of headroom first; means and the stream between
//!   blocks are multiplied by 64 first, or the first rounding would move a 4-bit value in one case out of ten.
//! - [`Style::FixedOnce`]: integers only, the same factors, rounded once (a tie goes away from zero). Nearly what the
//!   float style computes; the C package does this.
//!
//! For one sum the styles differ by at most one step.

use crate::graph::Quantizer;
use crate::onnx::SIGNED_OFFSET;

/// What means and streams are multiplied by before they are rounded twice: a weight that fits a byte.
pub(crate) const GAIN: u8 = 64;
/// Headroom of a fixed-point addition.
const ADD_SHIFT: u32 = 20;

/// How sums become integers again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Float factor, ties to even: ONNX Runtime.
    #[default]
    FloatTiesToEven,
    /// 31-bit integer factor, rounded twice: gemmlowp, TFLite reference.
    FixedPoint,
    /// 31-bit integer factor, rounded once: the C package.
    FixedOnce,
}

/// A positive real factor as an integer factor and a shift: `factor = multiplier × 2^(shift − 31)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedFactor {
    /// In `[2^30, 2^31)`, or 0.
    pub multiplier: i32,
    /// Left shift; negative is a right shift.
    pub shift: i32,
}

impl FixedFactor {
    /// Nearest representable factor.
    pub fn new(factor: f64) -> Self {
        let zero = Self { multiplier: 0, shift: 0 };
        if factor <= 0.0 || !factor.is_finite() {
            return zero;
        }
        let exponent = factor.log2().floor() as i32 + 1;
        let mantissa = (factor * f64::from(-exponent).exp2() * (1u64 << 31) as f64).round() as i64;
        let (mantissa, shift) =
            if mantissa == 1 << 31 { (1 << 30, exponent + 1) } else { (mantissa, exponent) };
        if shift < -31 { zero } else { Self { multiplier: mantissa as i32, shift: shift.min(30) } }
    }

    /// For sums of products: `input × weight / output`.
    pub fn of_sum(input: f32, weight: f32, output: f32) -> Self {
        Self::new(f64::from(input) * f64::from(weight) / f64::from(output))
    }

    /// For a sum over `pixels` values of one tensor.
    pub fn of_mean(input: f32, pixels: usize, output: f32) -> Self {
        Self::of_sum(input, 1.0 / pixels as f32, output)
    }

    /// For a sum over `pixels` values of one tensor, each multiplied by [`GAIN`].
    fn of_gained_mean(input: f32, pixels: usize, output: f32) -> Self {
        Self::of_sum(input, gained_weight(pixels), output)
    }

    /// From one quantizer to another.
    pub fn between(from: &Quantizer, to: &Quantizer) -> Self {
        Self::new(f64::from(from.scale) / f64::from(to.scale))
    }

    /// `value × factor`, rounded twice.
    pub fn apply(&self, value: i32) -> i32 {
        let (left, right) = (self.shift.max(0) as u32, (-self.shift).max(0) as u32);
        let wide = i64::from(value) << left;
        let shifted = wide.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        rounding_shift_right(doubling_high_multiply(shifted, self.multiplier), right)
    }

    /// `value × factor`, rounded once; a tie goes away from zero.
    pub fn apply_once(&self, value: i32) -> i32 {
        let product = i64::from(value) * i64::from(self.multiplier);
        let drop = 31 - self.shift;
        let size = (product.unsigned_abs() + (1 << (drop - 1))) >> drop;
        let size = size.min(i32::MAX as u64) as i32;
        if product < 0 { -size } else { size }
    }
}

/// Step of the weights that take a mean of `pixels` values, when each of them is [`GAIN`] steps.
pub(crate) fn gained_weight(pixels: usize) -> f32 {
    1.0 / (usize::from(GAIN) * pixels) as f32
}

/// High half of `2·a·b`, rounded to nearest (a tie goes up), saturated.
pub fn doubling_high_multiply(a: i32, b: i32) -> i32 {
    if a == i32::MIN && b == i32::MIN {
        return i32::MAX;
    }
    let product = i64::from(a) * i64::from(b);
    let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
    ((product + nudge) / (1i64 << 31)) as i32
}

/// `value / 2^shift`, rounded to nearest, ties away from zero.
pub fn rounding_shift_right(value: i32, shift: u32) -> i32 {
    let mask = (1i64 << shift) - 1;
    let remainder = i64::from(value) & mask;
    let threshold = (mask >> 1) + i64::from(value < 0);
    ((i64::from(value) >> shift) + i64::from(remainder > threshold)) as i32
}

/// Turns one channel's sums into integers, clamp and zero point apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rescale {
    /// [`Style::FloatTiesToEven`].
    Float(f32),
    /// [`Style::FixedPoint`].
    Fixed(FixedFactor),
    /// [`Style::FixedPoint`] with `GAIN`.
    Gained(FixedFactor),
    /// [`Style::FixedOnce`].
    Once(FixedFactor),
}

impl Rescale {
    /// `input × weight / output`, in the order and precision of the style.
    pub fn new(style: Style, input: f32, weight: f32, output: f32) -> Self {
        match style {
            Style::FloatTiesToEven => Self::Float(input * weight / output),
            Style::FixedPoint => Self::Fixed(FixedFactor::of_sum(input, weight, output)),
            Style::FixedOnce => Self::Once(FixedFactor::of_sum(input, weight, output)),
        }
    }

    /// For a sum over `pixels` values of one tensor.
    pub fn mean(style: Style, input: f32, pixels: usize, output: f32) -> Self {
        match style {
            Style::FloatTiesToEven => Self::Float(input / (output * pixels as f32)),
            Style::FixedPoint => Self::Gained(FixedFactor::of_gained_mean(input, pixels, output)),
            Style::FixedOnce => Self::Once(FixedFactor::of_mean(input, pixels, output)),
        }
    }

    /// The scaled sum, within `low..=high`.
    #[inline(always)]
    pub fn apply(&self, sum: i32, low: i32, high: i32) -> i32 {
        match self {
            Self::Float(factor) => {
                (sum as f32 * factor).clamp(low as f32, high as f32).round_ties_even() as i32
            }
            Self::Fixed(factor) => factor.apply(sum).clamp(low, high),
            Self::Gained(factor) => factor.apply(sum * i32::from(GAIN)).clamp(low, high),
            Self::Once(factor) => factor.apply_once(sum).clamp(low, high),
        }
    }
}

/// The same real number in another quantizer (zero points are 0).
pub fn requantize(style: Style, value: i32, from: &Quantizer, to: &Quantizer) -> i32 {
    let moved = match style {
        Style::FloatTiesToEven => (value as f32 * from.scale / to.scale).round_ties_even() as i32,
        Style::FixedPoint => {
            FixedFactor::of_gained_mean(from.scale, 1, to.scale).apply(value * i32::from(GAIN))
        }
        Style::FixedOnce => FixedFactor::between(from, to).apply_once(value),
    };
    moved.clamp(to.low, to.high)
}

/// Sum of two tensors' integers in the quantizer of a third (zero points are 0).
pub fn add(style: Style, left: (i32, &Quantizer), right: (i32, &Quantizer), to: &Quantizer) -> i32 {
    let sum = match style {
        Style::FloatTiesToEven => {
            add_float((left.0, left.1.scale / to.scale), (right.0, right.1.scale / to.scale))
        }
        Style::FixedPoint => {
            Addition::new(left.1.scale, right.1.scale, to.scale).apply(left.0, right.0, FixedFactor::apply)
        }
        Style::FixedOnce => Addition::new(left.1.scale, right.1.scale, to.scale).apply(
            left.0,
            right.0,
            FixedFactor::apply_once,
        ),
    };
    sum.clamp(to.low, to.high)
}

fn add_float((left, left_ratio): (i32, f32), (right, right_ratio): (i32, f32)) -> i32 {
    let zero = SIGNED_OFFSET as f32;
    let byte = |value: i32| (value + SIGNED_OFFSET) as f32;
    let fixed = zero - (left_ratio * zero + right_ratio * zero);
    let sum = byte(left).mul_add(left_ratio, byte(right).mul_add(right_ratio, fixed));
    sum.round_ties_even() as i32 - SIGNED_OFFSET
}

/// A fixed-point addition: both sides are brought to a common scale with headroom, then back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addition {
    /// From the left side to the common scale.
    pub left: FixedFactor,
    /// From the right side to the common scale.
    pub right: FixedFactor,
    /// From the common scale to the sum's.
    pub back: FixedFactor,
}

impl Addition {
    /// Of two scales into a third.
    pub fn new(left: f32, right: f32, to: f32) -> Self {
        let common = 2.0 * f64::from(left.max(right));
        let part = |scale: f32| FixedFactor::new(f64::from(scale) / common);
        let back = FixedFactor::new(common / ((1u64 << ADD_SHIFT) as f64 * f64::from(to)));
        Self { left: part(left), right: part(right), back }
    }

    /// The sum of two integers, not yet clamped; `multiply` rounds once or twice.
    fn apply(&self, left: i32, right: i32, multiply: fn(&FixedFactor, i32) -> i32) -> i32 {
        let (left, right) =
            (multiply(&self.left, left << ADD_SHIFT), multiply(&self.right, right << ADD_SHIFT));
        multiply(&self.back, left.saturating_add(right))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shifts_round_to_nearest_with_ties_away_from_zero() {
        for (value, shift, expected) in [
            (5, 1, 3),
            (-5, 1, -3),
            (4, 2, 1),
            (6, 2, 2),
            (-6, 2, -2),
            (7, 0, 7),
            (i32::MAX, 31, 1),
            (i32::MIN, 31, -1),
        ] {
            assert_eq!(rounding_shift_right(value, shift), expected, "{value} >> {shift}");
        }
    }

    #[test]
    fn high_multiply_is_half_the_product_of_fractions() {
        for (a, b, expected) in [
            (1 << 30, 1 << 30, 1 << 29),
            (i32::MIN, i32::MIN, i32::MAX),
            (3, 1 << 30, 2),
            (-3, 1 << 30, -1),
            (1000, 0, 0),
        ] {
            assert_eq!(doubling_high_multiply(a, b), expected, "{a} × {b}");
        }
    }

    #[test]
    fn ties_go_to_even_in_float() {
        let half = Rescale::Float(0.5);
        for (sum, expected) in [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (1000, 127), (-1000, -127)] {
            assert_eq!(half.apply(sum, -127, 127), expected, "{sum}");
        }
    }

    #[test]
    fn one_rounding_is_nearest_with_ties_away_from_zero() {
        for (value, factor, expected) in
            [(5, 0.5, 3), (-5, 0.5, -3), (149, 0.01, 1), (151, 0.01, 2), (3, 1e9, i32::MAX), (9, 0.0, 0)]
        {
            assert_eq!(FixedFactor::new(factor).apply_once(value), expected, "{value} × {factor}");
        }
    }

    proptest! {
        #[test]
        fn fixed_factors_are_within_their_rounding(value in -(1i32 << 24)..1 << 24, exponent in -20f64..0.0) {
            let factor = exponent.exp2();
            let got = FixedFactor::new(factor).apply(value);
            prop_assert!((f64::from(got) - f64::from(value) * factor).abs() <= 1.0, "{got}");
        }

        #[test]
        fn the_styles_differ_by_at_most_one_step(sum in -(1i32 << 22)..1 << 22, exponent in -16f32..-4.0) {
            let of = |style| Rescale::new(style, exponent.exp2(), 1.0, 1.0).apply(sum, -127, 127);
            let float = of(Style::FloatTiesToEven);
            for fixed in [Style::FixedPoint, Style::FixedOnce] {
                prop_assert!((float - of(fixed)).abs() <= 1);
            }
        }

        #[test]
        fn additions_stay_in_range_and_near_the_real_sum(
            a in -127i32..=127, b in -127i32..=127,
            ranges in (0.01f32..20.0, 0.01f32..20.0, 0.01f32..20.0),
        ) {
            let [left, right, to] = [ranges.0, ranges.1, ranges.2].map(|range| Quantizer::signed(8, range));
            let real = f64::from(a) * f64::from(left.scale) + f64::from(b) * f64::from(right.scale);
            let exact = (real / f64::from(to.scale)).clamp(-127.0, 127.0);
            for style in [Style::FloatTiesToEven, Style::FixedPoint, Style::FixedOnce] {
                let got = add(style, (a, &left), (b, &right), &to);
                prop_assert!((-127..=127).contains(&got));
                prop_assert!((f64::from(got) - exact).abs() <= 0.51 + 1e-3 * exact.abs(), "{style:?} {got} {exact}");
            }
        }
    }
}
