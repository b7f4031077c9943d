//! # What follows the work of a step: norm or bias, rectifier, quantizer
//!
//! Forward: `z = scale · y + shift`, `a = clamp(z, low, high)`, `value = quantize(a)`.
//! Backward: the quantizer's straight-through gradient and that of its range, the rectifier's mask, the sums
//! `Σ g` and `Σ g (y - mean)` that norm and bias need (see [`crate::ops::norm`]), and `dy` from them.
//!
//! Plain loops over rows of channels, compiled once per instruction set.

// Several rows are read and one is written at the same channel; iterators would hide it.
#![allow(clippy::needless_range_loop)]

use crate::kernels::elementwise::Quantizer;
use crate::kernels::vector::Vector;
use crate::kernels::{Kernel, LANE_BLOCK};
use crate::ops::norm::Arrays;

/// Adding 1.5 · 2²³ leaves no room for a fraction: the nearest integer, ties to even, of a number below 2²².
const NO_FRACTION: f32 = 12_582_912.0;

#[inline(always)]
fn quantize(quantizer: &Quantizer, value: f32) -> f32 {
    let level = value.max(quantizer.low).min(quantizer.high) * quantizer.inverse;
    ((level + NO_FRACTION) - NO_FRACTION) * quantizer.step
}

/// Rows of a value from rows of sums.
pub(super) struct Finish<'a> {
    /// Rows of `pitch` sums.
    pub raw: &'a [f32],
    /// Factor per channel.
    pub scale: &'a [f32],
    /// Shift per channel.
    pub shift: &'a [f32],
    /// The rectifier's.
    pub bounds: (f32, f32),
    /// Then this.
    pub quantizer: Option<Quantizer>,
    /// Written, as `raw`.
    pub output: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (pitch, (low, high)) = (self.scale.len(), self.bounds);
        for (to, from) in self.output.chunks_exact_mut(pitch).zip(self.raw.chunks_exact(pitch)) {
            for (((to, &y), &scale), &shift) in to.iter_mut().zip(from).zip(self.scale).zip(self.shift) {
                *to = (y * scale + shift).max(low).min(high);
            }
            if let Some(quantizer) = &self.quantizer {
                to.iter_mut().for_each(|value| *value = quantize(quantizer, *value));
            }
        }
    }
}

/// From the gradient of a value to that of z, in place; returns the gradient of the quantizer's range.
pub(super) struct FinishGradient<'a> {
    /// Rows of sums.
    pub raw: &'a [f32],
    /// The norm's numbers.
    pub norm: Arrays<'a>,
    /// The rectifier's.
    pub bounds: (f32, f32),
    /// The step's.
    pub quantizer: Option<Quantizer>,
    /// In and out.
    pub gradient: &'a mut [f32],
    /// Σ g per channel, added to.
    pub first: &'a mut [f64],
    /// Σ g (y - mean) per channel, added to.
    pub second: &'a mut [f64],
}

impl Kernel for FinishGradient<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f64 {
        let Arrays { mean, scale, shift, .. } = self.norm;
        let (pitch, (low, high)) = (scale.len(), self.bounds);
        let mut range = [0.0; LANE_BLOCK];
        for (row, raw) in self.gradient.chunks_exact_mut(pitch).zip(self.raw.chunks_exact(pitch)) {
            for channel in 0..pitch {
                let z = raw[channel] * scale[channel] + shift[channel];
                let mut g = row[channel];
                if let Some(quantizer) = &self.quantizer {
                    let (passed, lost) = straight_through(quantizer, z.max(low).min(high), g);
                    range[channel % LANE_BLOCK] += f64::from(lost);
                    g = passed;
                }
                row[channel] = if z > low && z < high { g } else { 0.0 };
            }
            let sums = self.first.iter_mut().zip(self.second.iter_mut());
            for ((((first, second), &g), &y), &mean) in sums.zip(row.iter()).zip(raw).zip(mean) {
                *first += f64::from(g);
                *second += f64::from(g) * f64::from(y - mean);
            }
        }
        range.iter().sum()
    }
}

/// What passes a quantizer, and what its range gets.
#[inline(always)]
fn straight_through(quantizer: &Quantizer, x: f32, g: f32) -> (f32, f32) {
    let above = if x >= quantizer.high { g } else { 0.0 };
    let below = if x <= quantizer.low && quantizer.low < 0.0 { g } else { 0.0 };
    (if x > quantizer.low && x < quantizer.high { g } else { 0.0 }, above - below)
}

/// From the gradient of z to that of the sums, in place.
pub(super) struct NormGradientRows<'a> {
    /// Rows of sums.
    pub raw: &'a [f32],
    /// The norm's numbers.
    pub norm: Arrays<'a>,
    /// In and out.
    pub gradient: &'a mut [f32],
}

impl Kernel for NormGradientRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Arrays { mean, scale, slope, gradient_mean, .. } = self.norm;
        let pitch = scale.len();
        for (row, raw) in self.gradient.chunks_exact_mut(pitch).zip(self.raw.chunks_exact(pitch)) {
            for channel in 0..pitch {
                let centred = row[channel] - gradient_mean[channel];
                row[channel] = scale[channel] * centred + (raw[channel] - mean[channel]) * slope[channel];
            }
        }
    }
}

/// Adds the gradient of what a convolution loaded to that of the value; returns the gradient of the range.
pub(super) struct AddLoaded<'a> {
    /// Gradient of what was loaded.
    pub loaded: &'a [f32],
    /// The value.
    pub value: &'a [f32],
    /// The convolution's input quantizer.
    pub quantizer: Option<Quantizer>,
    /// Added to.
    pub gradient: &'a mut [f32],
}

impl Kernel for AddLoaded<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f64 {
        let mut range = [0.0; LANE_BLOCK];
        let Some(quantizer) = &self.quantizer else {
            self.gradient.iter_mut().zip(self.loaded).for_each(|(to, g)| *to += g);
            return 0.0;
        };
        let blocks = self.gradient.chunks_exact_mut(LANE_BLOCK).zip(self.loaded.chunks_exact(LANE_BLOCK));
        for ((to, g), x) in blocks.zip(self.value.chunks_exact(LANE_BLOCK)) {
            for lane in 0..LANE_BLOCK {
                let (passed, lost) = straight_through(quantizer, x[lane], g[lane]);
                to[lane] += passed;
                range[lane] += f64::from(lost);
            }
        }
        range.iter().sum()
    }
}

/// Σ (y - mean) and Σ (y - mean)² per channel, added to `first` and `second`.
pub(super) struct Moments<'a> {
    /// Rows of sums.
    pub raw: &'a [f32],
    /// Subtracted.
    pub mean: &'a [f32],
    /// Added to.
    pub first: &'a mut [f64],
    /// Added to.
    pub second: &'a mut [f64],
}

impl Kernel for Moments<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for row in self.raw.chunks_exact(self.mean.len()) {
            let sums = self.first.iter_mut().zip(self.second.iter_mut());
            for (((first, second), &y), &mean) in sums.zip(row).zip(self.mean) {
                let distance = f64::from(y - mean);
                *first += distance;
                *second += distance * distance;
            }
        }
    }
}
