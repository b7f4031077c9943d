//! # What happens to single elements
//!
//! Four functions of a pixel's channels, each usable from other kernels one vector at a time:
//!
//! - [`Load`]: x = quantize(clamp(scale · y + shift, 0, 6)), or without norm for tensors that are stored finished; where
//!   the norm counts, x = quantize(clamp(scale · (y + shift), 0, ceiling)) in steps;
//! - [`Finish`]: the stored output of a linear layer, `quantize(quantize(scale · y + shift) + residual)`;
//! - [`NormGradient`]: the gradient of the convolution output, `scale · (g - gradient_mean) + slope · (y - mean)`;
//! - [`Epilogue`]: from the gradient of what a layer loads to the gradient g that its producer keeps, and the sums
//!   `Σ g` and `Σ g · (y - mean)` that the producer's norm needs, and the gradients of the ranges.
//!
//! Here they run over row blocks; the depthwise kernels use them on planes.

mod backward;

pub(crate) use backward::*;

use super::{Kernel, LANE_BLOCK, Vector};
use crate::network::MAXIMUM_RIVALS;

/// A fake quantizer with its numbers worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantizer {
    /// Lowest value kept.
    pub low: f32,
    /// Highest value kept.
    pub high: f32,
    /// Distance between levels.
    pub step: f32,
    /// Its inverse.
    pub inverse: f32,
}

impl Quantizer {
    /// The same, but the result is a number of steps.
    pub(crate) fn counting(self) -> Self {
        Self { step: 1.0, ..self }
    }

    /// The same, of values that are counted in steps.
    pub(crate) fn of_counted(self) -> Self {
        let count = |value: f32| (value / self.step).round_ties_even();
        Self { low: count(self.low), high: count(self.high), inverse: 1.0, ..self }
    }

    /// `round(clamp(x) / step) * step`.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector>(&self, x: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            x.clamp(V::splat(self.low), V::splat(self.high))
                .mul(V::splat(self.inverse))
                .round()
                .mul(V::splat(self.step))
        }
    }

    /// The gradient that passes straight through.
    #[inline(always)]
    pub(crate) unsafe fn pass<V: Vector>(&self, g: V, x: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe { g.where_inside(x, V::splat(self.low), V::splat(self.high)) }
    }

    /// The gradient of the range.
    #[inline(always)]
    pub(crate) unsafe fn range<V: Vector>(&self, g: V, x: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            let above = g.where_at_least(x, V::splat(self.high));
            if self.low < 0.0 { above.sub(g.where_at_most(x, V::splat(self.low))) } else { above }
        }
    }
}

/// Widths that compete with a quantizer; only the backward pass looks at them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RivalQuantizers {
    /// How many.
    pub count: usize,
    /// The first `count` are meant.
    pub all: [Quantizer; MAXIMUM_RIVALS],
}

/// What an epilogue knows about quantization of what the consumer loads.
pub(crate) const UNQUANTIZED: u8 = 0;
/// There is an input quantizer, or the producer is linear.
pub(crate) const QUANTIZED: u8 = 1;
/// There are rivals beside it.
pub(crate) const CONTESTED: u8 = 2;

/// Per-channel numbers of a layer's norm, each padded to the pitch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm<'a> {
    /// Batch mean.
    pub mean: &'a [f32],
    /// gamma / sqrt(variance + epsilon).
    pub scale: &'a [f32],
    /// beta - mean · scale.
    pub shift: &'a [f32],
    /// Where ReLU6 ends.
    pub ceiling: f32,
    /// The shift is added to whole numbers before they are scaled; the result is counted in steps.
    pub counts: bool,
}

impl Norm<'_> {
    /// One stored vector, normed.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector>(&self, stored: V, scale: V, shift: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe { if self.counts { stored.add(shift).mul(scale) } else { stored.mul_add(scale, shift) } }
    }
}

/// How a layer reads its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    /// Norm and ReLU6 to apply; `None` for the image and finished linear outputs.
    pub norm: Option<Norm<'a>>,
    /// Then this.
    pub quantizer: Option<Quantizer>,
}

impl Load<'_> {
    /// Whether the stored values are what is loaded.
    pub(crate) fn is_plain(&self) -> bool {
        self.norm.is_none() && self.quantizer.is_none()
    }

    pub(crate) fn check(&self, pitch: usize) {
        assert!(self.norm.is_none_or(|norm| norm.scale.len() >= pitch && norm.shift.len() >= pitch));
    }

    /// The numbers for one vector of channels.
    ///
    /// # Safety
    /// `channel + LANES` is at most the pitch that was checked.
    #[inline(always)]
    pub(crate) unsafe fn at<V: Vector>(&self, channel: usize) -> LoadVector<V> {
        // SAFETY: the caller's channel lies in the checked range.
        unsafe {
            let (scale, shift) = match &self.norm {
                Some(n) => (V::load(n.scale.as_ptr().add(channel)), V::load(n.shift.as_ptr().add(channel))),
                None => (V::zero(), V::zero()),
            };
            LoadVector { scale, shift }
        }
    }

    /// One stored vector as it is loaded, before the quantizer.
    #[inline(always)]
    pub(crate) unsafe fn value<V: Vector>(&self, stored: V, numbers: &LoadVector<V>) -> V {
        let Some(norm) = &self.norm else { return stored };
        // SAFETY: the caller has the instructions of V.
        unsafe { norm.apply(stored, numbers.scale, numbers.shift).clamp(V::zero(), V::splat(norm.ceiling)) }
    }

    /// One stored vector as the convolution sees it.
    #[inline(always)]
    pub(crate) unsafe fn quantized<V: Vector>(&self, stored: V, numbers: &LoadVector<V>) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            let value = self.value(stored, numbers);
            match &self.quantizer {
                Some(quantizer) => quantizer.apply(value),
                None => value,
            }
        }
    }
}

/// Scale and shift of one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct LoadVector<V> {
    scale: V,
    shift: V,
}

/// Loads a block of rows into scratch.
pub(crate) struct LoadRows<'a> {
    /// How.
    pub load: Load<'a>,
    /// Rows of `pitch` stored values.
    pub input: &'a [f32],
    /// Channels with padding.
    pub pitch: usize,
    /// Written, rows `stride` apart.
    pub output: &'a mut [f32],
    /// Distance between output rows.
    pub stride: usize,
}

impl Kernel for LoadRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let rows = self.input.len() / self.pitch;
        self.load.check(self.pitch);
        assert!(
            self.stride >= self.pitch
                && rows.saturating_sub(1) * self.stride + self.pitch <= self.output.len()
        );
        let (from, to) = (self.input.as_ptr(), self.output.as_mut_ptr());
        for row in 0..rows {
            let mut channel = 0;
            while channel < self.pitch {
                // SAFETY: row and channel lie inside input and output, as asserted.
                unsafe {
                    let stored = V::load(from.add(row * self.pitch + channel));
                    let value = self.load.quantized(stored, &self.load.at(channel));
                    value.store(to.add(row * self.stride + channel));
                }
                channel += V::LANES;
            }
        }
    }
}

/// Subtracts a shift from rows, and sums the differences.
pub(crate) struct Centre<'a> {
    /// Rows.
    pub input: &'a [f32],
    /// Floats between them.
    pub row: usize,
    /// How many.
    pub rows: usize,
    /// Subtracted, one number per channel.
    pub shift: &'a [f32],
    /// Written, rows `stride` apart.
    pub output: &'a mut [f32],
    /// Floats between output rows.
    pub stride: usize,
    /// Written: Σ (x - shift) per channel.
    pub first: &'a mut [f32],
}

impl Kernel for Centre<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let pitch = self.shift.len();
        let last = self.rows.saturating_sub(1);
        assert!(last * self.row + pitch <= self.input.len() && pitch <= self.row);
        assert!(last * self.stride + pitch <= self.output.len() && pitch <= self.stride);
        assert!(self.first.len() >= pitch && pitch.is_multiple_of(LANE_BLOCK));
        for channel in (0..pitch).step_by(V::LANES) {
            // SAFETY: rows and channels lie inside all slices, as asserted.
            unsafe {
                let (shift, mut first) = (V::load(self.shift.as_ptr().add(channel)), V::zero());
                for row in 0..self.rows {
                    let value = V::load(self.input.as_ptr().add(row * self.row + channel)).sub(shift);
                    value.store(self.output.as_mut_ptr().add(row * self.stride + channel));
                    first = first.add(value);
                }
                first.store(self.first.as_mut_ptr().add(channel));
            }
        }
    }
}

/// A sum of numbers of steps, rounded where integer networks round it: in two multiplications and additions of what is
/// 128 above the numbers, as bytes are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addition {
    /// One step of the left side, in steps of the sum.
    left: f32,
    /// The same of the right side.
    right: f32,
    /// Makes the right side's real numbers steps.
    right_inverse: f32,
    /// What turns the sum of two bytes into a byte.
    fixed: f32,
}

/// What a byte is above the number that it stands for.
const BYTE: f32 = 128.0;

impl Addition {
    /// Of two sides in steps of their quantizers.
    pub(crate) fn new(left: Quantizer, right: Quantizer, sum: Quantizer) -> Self {
        let (right_inverse, left, right) = (right.inverse, left.step / sum.step, right.step / sum.step);
        Self { left, right, right_inverse, fixed: BYTE - (left * BYTE + right * BYTE) }
    }

    /// Steps of the sum, from steps of the left side and real numbers of the right one.
    #[inline(always)]
    unsafe fn apply<V: Vector>(&self, left: V, right: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            let byte = V::splat(BYTE);
            let right = right.mul(V::splat(self.right_inverse)).round().add(byte);
            let right = right.mul_add(V::splat(self.right), V::splat(self.fixed));
            left.add(byte).mul_add(V::splat(self.left), right).round().sub(byte)
        }
    }
}

/// Writes the finished output of a linear layer.
pub(crate) struct Finish<'a> {
    /// Convolution output.
    pub raw: &'a [f32],
    /// Its norm.
    pub norm: Norm<'a>,
    /// After the norm.
    pub output_quantizer: Option<Quantizer>,
    /// Added then.
    pub residual: Option<&'a [f32]>,
    /// How, where steps are added instead of real numbers.
    pub addition: Option<Addition>,
    /// After that.
    pub sum_quantizer: Option<Quantizer>,
    /// Channels with padding.
    pub pitch: usize,
    /// Written.
    pub output: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let length = self.output.len();
        assert!(self.raw.len() == length && length.is_multiple_of(self.pitch));
        assert!(self.norm.scale.len() >= self.pitch && self.norm.shift.len() >= self.pitch);
        assert!(self.residual.is_none_or(|residual| residual.len() == length));
        let mut channel = 0;
        for at in (0..length).step_by(V::LANES) {
            // SAFETY: `at` is a multiple of LANES below the length of every slice; the channel is below the pitch.
            unsafe {
                let scale = V::load(self.norm.scale.as_ptr().add(channel));
                let shift = V::load(self.norm.shift.as_ptr().add(channel));
                let mut value = self.norm.apply(V::load(self.raw.as_ptr().add(at)), scale, shift);
                if let Some(quantizer) = &self.output_quantizer {
                    value = quantizer.apply(value);
                }
                if let Some(residual) = self.residual {
                    let residual = V::load(residual.as_ptr().add(at));
                    value = match &self.addition {
                        Some(addition) => addition.apply(value, residual),
                        None => value.add(residual),
                    };
                }
                if let Some(quantizer) = &self.sum_quantizer {
                    value = quantizer.apply(value);
                }
                value.store(self.output.as_mut_ptr().add(at));
            }
            channel = if channel + V::LANES == self.pitch { 0 } else { channel + V::LANES };
        }
    }
}
