//! # Uniform quantization
//!
//! The numbers a quantized tensor can take: integers `low` to `high` times a scale. `q = clamp(round(x / scale))`,
//! ties to the even integer, as the engine and the integer executor do; `x' = q · scale`.
//! Symmetric, b bits: scale = v / (2^(b−1) − 1), `low = −high`. Unsigned: scale = v / (2^b − 1), `low = 0`
//! (EMS §4: weights and linear outputs are symmetric, activations after ReLU6 unsigned).

use super::CalibrationError;

/// Bit-widths that have a grid.
const BITS: std::ops::RangeInclusive<u8> = 2..=16;

/// A uniform grid through zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Distance of neighbouring numbers.
    pub scale: f32,
    /// Smallest integer.
    pub low: i32,
    /// Largest integer.
    pub high: i32,
}

impl Grid {
    /// Symmetric grid from −`threshold` to `threshold`; `bits` from 2 to 16.
    pub fn symmetric(threshold: f32, bits: u8) -> Result<Self, CalibrationError> {
        let high = steps(bits, true)? as i32;
        Self::new(threshold, -high, high)
    }

    /// Grid from 0 to `range`; `bits` from 2 to 16.
    pub fn unsigned(range: f32, bits: u8) -> Result<Self, CalibrationError> {
        Self::new(range, 0, steps(bits, false)? as i32)
    }

    fn new(threshold: f32, low: i32, high: i32) -> Result<Self, CalibrationError> {
        let scale = threshold / high as f32;
        match scale.is_normal() && scale > 0.0 {
            true => Ok(Grid { scale, low, high }),
            false => Err(CalibrationError::Threshold { threshold }),
        }
    }
}

/// The integer that stands for `value`; not-a-number gives 0.
pub fn quantize(value: f32, grid: &Grid) -> i32 {
    ((value / grid.scale).round_ties_even() as i32).clamp(grid.low, grid.high)
}

/// The number of the grid nearest to `value`.
pub fn fake_quantize(value: f32, grid: &Grid) -> f32 {
    quantize(value, grid) as f32 * grid.scale
}

/// Numbers of the grid above zero: 2^(b−1) − 1 with a sign bit, 2^b − 1 without.
pub(super) fn steps(bits: u8, signed: bool) -> Result<u32, CalibrationError> {
    match BITS.contains(&bits) {
        true => Ok((1 << (bits - u8::from(signed))) - 1),
        false => Err(CalibrationError::Bits { bits }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_with_ties_to_even() {
        let grid = Grid::symmetric(7.0, 4).unwrap();
        assert_eq!((grid.scale, grid.low, grid.high), (1.0, -7, 7));
        for (value, expected) in [
            (0.5, 0),
            (1.5, 2),
            (2.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (6.6, 7),
            (9.0, 7),
            (-99.0, -7),
            (f32::NAN, 0),
        ] {
            assert_eq!(quantize(value, &grid), expected, "{value}");
        }
        let grid = Grid::unsigned(6.0, 2).unwrap();
        assert_eq!(
            [-1.0, 0.9, 1.1, 5.1, f32::INFINITY].map(|x| fake_quantize(x, &grid)),
            [0.0, 0.0, 2.0, 6.0, 6.0]
        );
    }

    #[test]
    fn impossible_grids_are_refused() {
        for bits in [0, 1, 17, 255] {
            assert_eq!(Grid::symmetric(1.0, bits), Err(CalibrationError::Bits { bits }));
        }
        for threshold in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
            assert!(
                matches!(Grid::unsigned(threshold, 8), Err(CalibrationError::Threshold { .. })),
                "{threshold}"
            );
        }
    }
}
