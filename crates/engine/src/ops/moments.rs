//! # Moments of a layer's input
//!
//! Mean m and centred square `S = Σ (x - m)ᵀ (x - m)` of the loaded input of a pointwise layer, from which the
//! statistics of its output follow without computing it: `mean = m W`, `n variance_c = w_cᵀ S w_c`.
//!
//! Chunks sum `x - s` and `(x - s)ᵀ (x - s)` over blocks of rows in `f32`, blocks and chunks are added in `f64`; the
//! shift s, close to m, is the mean of a few pixels. Then `m = s + F / n`, `S = C - F Fᵀ / n`.

use super::expansion::Expansion;
use super::norm::Arrays;
use super::pointwise::load_block;
use crate::kernels::elementwise::Centre;
use crate::kernels::product::{Ahead, Product};
use crate::kernels::{Kernel, Vector, dispatch, scratch_stride};
use crate::network::NormStatistics;
use crate::plan::LayerPlan;
use crate::simd::Level;

/// Rows whose sums are added up in `f32`.
const BLOCK_ROWS: usize = 256;
/// Pixels whose mean is the shift.
const SAMPLES: usize = 32;

/// Moments of one layer, kept from forward to backward.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    shift: Vec<f32>,
    /// m, per input channel, padded.
    pub mean: Vec<f64>,
    /// S, `[in] × [input pitch]`.
    square: Vec<f64>,
    /// S W, `[in] × [pitch]`.
    pub product: Vec<f64>,
}

/// Numbers that a chunk sums up: F and C.
pub(crate) fn sums_length(plan: &LayerPlan, channels: usize) -> usize {
    plan.input_pitch * (1 + channels)
}

/// Floats of scratch for a chunk.
pub(crate) fn scratch_length(plan: &LayerPlan) -> usize {
    2 * BLOCK_ROWS * scratch_stride(plan.input_pitch) + plan.input_pitch * (1 + plan.input_pitch)
}

impl Moments {
    /// Chooses the shift from pixels spread over the batch.
    pub(crate) fn prime(&mut self, expansion: &Expansion, level: Level, input: &[f32], scratch: &mut [f32]) {
        let pitch = expansion.plan.input_pitch;
        let rows = input.len() / pitch;
        let step = rows.div_ceil(SAMPLES).max(1);
        let count = rows.div_ceil(step) as f32;
        self.shift.clear();
        self.shift.resize(pitch, 0.0);
        for row in (0..rows).step_by(step) {
            let stored = &input[row * pitch..(row + 1) * pitch];
            let (x, _) = load_block(level, expansion.load, stored, pitch, scratch);
            self.shift.iter_mut().zip(x).for_each(|(s, v)| *s += v / count);
        }
    }

    /// Adds up a chunk of the input.
    pub(crate) fn chunk(
        &self,
        expansion: &Expansion,
        level: Level,
        input: &[f32],
        sums: &mut [f64],
        scratch: &mut [f32],
    ) {
        let (pitch, channels) = (expansion.plan.input_pitch, expansion.layer.in_channels);
        let stride = scratch_stride(pitch);
        let (loaded, scratch) = scratch.split_at_mut(BLOCK_ROWS * stride);
        let (centred, scratch) = scratch.split_at_mut(BLOCK_ROWS * stride);
        let block = &mut scratch[..sums.len()];
        for input in input.chunks(BLOCK_ROWS * pitch) {
            let (x, x_row) = load_block(level, expansion.load, input, pitch, loaded);
            let rows = input.len() / pitch;
            let (first, square) = block.split_at_mut(pitch);
            let shift = &self.shift;
            dispatch(level, Centre { input: x, row: x_row, rows, shift, output: centred, stride, first });
            let product = Product {
                rows: channels,
                columns: channels,
                depth: rows,
                a: centred,
                a_row: 1,
                a_depth: stride,
                b: centred,
                b_row: stride,
                c: square,
                c_row: pitch,
                accumulate: false,
                sums: None,
                ahead: Ahead::after([input, &[], &[]]),
            };
            dispatch(level, product);
            sums.iter_mut().zip(block.iter()).for_each(|(s, &v)| *s += f64::from(v));
        }
    }

    /// Adds up the chunks of `count` pixels.
    pub(crate) fn finish(&mut self, chunks: &[f64], length: usize, count: usize) {
        let (pitch, count) = (self.shift.len(), count as f64);
        let total = |to: &mut Vec<f64>, from: usize, length_of: usize| {
            to.clear();
            to.resize(length_of, 0.0);
            for chunk in chunks.chunks_exact(length) {
                to.iter_mut().zip(&chunk[from..]).for_each(|(t, v)| *t += v);
            }
        };
        total(&mut self.mean, 0, pitch);
        total(&mut self.square, pitch, length - pitch);
        for (j, row) in self.square.chunks_exact_mut(pitch).enumerate() {
            let factor = self.mean[j] / count;
            row.iter_mut().zip(&self.mean).for_each(|(s, f)| *s -= factor * f);
        }
        self.mean.iter_mut().zip(&self.shift).for_each(|(m, &s)| *m = f64::from(s) + *m / count);
    }

    /// Statistics of the layer's output; whether they are finite.
    pub(crate) fn statistics(
        &mut self,
        expansion: &Expansion,
        level: Level,
        count: usize,
        statistics: &mut NormStatistics,
    ) -> bool {
        let Expansion { layer, plan, weight, .. } = *expansion;
        let (rows, pitch, count) = (layer.in_channels, plan.pitch, count as f64);
        self.product.clear();
        self.product.resize(rows * pitch, 0.0);
        let (weights, square, row) =
            (Weights { weight, row: plan.weight_row }, &self.square, plan.input_pitch);
        dispatch(level, Multiply { weights, square, row, rows, to: &mut self.product });
        let (mean, variance) = (&mut statistics.mean, &mut statistics.variance);
        mean.clear();
        variance.clear();
        for c in 0..layer.out_channels {
            let w = |j: usize| f64::from(weight[j * plan.weight_row + c]);
            mean.push((0..rows).map(|j| self.mean[j] * w(j)).sum::<f64>() as f32);
            let square: f64 = (0..rows).map(|j| w(j) * self.product[j * pitch + c]).sum();
            variance.push((square.max(0.0) / count) as f32);
        }
        mean.iter().chain(variance.iter()).all(|v| v.is_finite()) && self.square.iter().all(|v| v.is_finite())
    }
}

impl Moments {
    /// Puts right a weight gradient that was summed with `scale g`, over `count` pixels.
    pub(crate) fn correct(&self, norm: &Arrays, count: usize, gradient: &mut [f32]) {
        let pitch = norm.scale.len();
        let rows = gradient.chunks_exact_mut(pitch).zip(self.product.chunks_exact(pitch));
        for ((to, product), mean) in rows.zip(&self.mean) {
            let sum = mean * count as f64;
            for c in 0..pitch {
                let lost = sum * f64::from(norm.scale[c]) * f64::from(norm.gradient_mean[c]);
                to[c] += (f64::from(norm.slope[c]) * product[c] - lost) as f32;
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Weights<'a> {
    weight: &'a [f32],
    row: usize,
}

/// `to = square · weights` in `f64`; a kernel only to be compiled for the instruction set.
struct Multiply<'a> {
    weights: Weights<'a>,
    square: &'a [f64],
    row: usize,
    rows: usize,
    to: &'a mut [f64],
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let pitch = self.to.len() / self.rows;
        for j in 0..self.rows {
            let to = &mut self.to[j * pitch..(j + 1) * pitch];
            for k in 0..self.rows {
                let (factor, from) =
                    (self.square[j * self.row + k], &self.weights.weight[k * self.weights.row..]);
                for c in 0..pitch {
                    to[c] += factor * f64::from(from[c]);
                }
            }
        }
    }
}
