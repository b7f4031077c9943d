//! # Convolutions of a graph
//!
//! Dense ones are matrix products over blocks of output pixels, as in [`crate::ops::dense`]: `Y = X · W` with the pixels
//! under the window side by side, `dW += Xᵀ · dY`, `dX = dY · Wᵀ` added back to where it came from. A full layer is one
//! whose window is the whole image: the block then runs over images. Depthwise ones are plain loops,
//! `y[p] = Σ x[p + t] · w[t]`, compiled once per instruction set.

use std::ops::Range;

use super::{Filters, Shape};
use crate::kernels::elementwise::{Load, LoadRows, Quantizer};
use crate::kernels::product::multiply;
use crate::kernels::vector::Vector;
use crate::kernels::{Kernel, dispatch, pitch, scratch_stride};
use crate::ops::columns::{Columns, Gather};
use crate::ops::weights::quantize_row;
use crate::plan::ROW_BLOCK;
use crate::simd::Level;

/// Weights as the loops read them.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// Rows of `row` floats.
    weight: Vec<f32>,
    row: usize,
    /// Dense only: one row per output channel.
    transposed: Vec<f32>,
    transposed_row: usize,
}

impl Packed {
    /// Quantizes and packs.
    pub(super) fn prepare(&mut self, filters: &Filters, depth: usize, parameters: &[f32]) {
        let channels = filters.channels;
        self.row = if filters.depthwise { pitch(channels) } else { scratch_stride(pitch(channels)) };
        self.weight.clear();
        self.weight.resize(depth * self.row, 0.0);
        let raw = parameters[filters.weight_offset..].chunks_exact(channels);
        for (to, raw) in self.weight.chunks_exact_mut(self.row).zip(raw) {
            quantize_row(filters.weight_quantizer.as_ref(), raw, to);
        }
        if filters.depthwise {
            return;
        }
        self.transposed_row = scratch_stride(pitch(depth));
        self.transposed.clear();
        self.transposed.resize(channels * self.transposed_row, 0.0);
        for (r, row) in self.weight.chunks_exact(self.row).enumerate() {
            let column = self.transposed.iter_mut().skip(r).step_by(self.transposed_row);
            column.zip(row).for_each(|(to, &weight)| *to = weight);
        }
    }
}

/// Memory for one chunk, kept by a thread.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    loaded: Vec<f32>,
    padded: Vec<f32>,
    columns: Vec<f32>,
    column_gradient: Vec<f32>,
    /// Gradient of what was loaded.
    pub gradient: Vec<f32>,
}

/// One convolution, on the images of a chunk.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    pub depthwise: bool,
    pub window: Columns,
    pub to: Shape,
    pub level: Level,
    /// Applied to what is read.
    pub quantizer: Option<Quantizer>,
    pub packed: &'a Packed,
}

impl Operation<'_> {
    /// Rows of the weight matrix.
    pub(super) fn depth(&self) -> usize {
        let inputs = if self.depthwise { 1 } else { self.window.channels };
        self.window.kernel * self.window.kernel * inputs
    }

    /// Whether what is read is the matrix already.
    fn is_direct(&self) -> bool {
        let Columns { kernel, stride, padding, .. } = self.window;
        (kernel, stride, padding) == (1, 1, 0)
    }

    /// From whole images to whole images.
    pub(super) fn forward(&self, input: &[f32], output: &mut [f32], scratch: &mut Scratch) {
        let Scratch { loaded, padded, columns, .. } = scratch;
        let x = self.load(input, loaded);
        let pitch = pitch(self.to.channels);
        if self.depthwise {
            let (input, output) = (self.images(x), output.chunks_exact_mut(self.to.pixels() * pitch));
            let (window, weight) = (self.window, &self.packed.weight[..]);
            input.zip(output).for_each(|(input, output)| {
                dispatch(self.level, Depthwise { window, weight, input, output });
            });
            return;
        }
        self.pad(x, padded);
        for (block, output) in output.chunks_mut(ROW_BLOCK * pitch).enumerate() {
            let rows = output.len() / pitch;
            let start = block * ROW_BLOCK;
            let (a, a_row) = self.matrix(x, padded, start..start + rows, columns);
            let (weight, row) = (&self.packed.weight, self.packed.row);
            multiply(
                self.level,
                [rows, self.to.channels, self.depth()],
                (a, a_row, 1),
                (weight, row),
                (output, pitch),
                false,
            );
        }
    }

    /// Adds to the packed weight gradient (`depth × pitch`), and leaves the gradient of what was loaded in the
    /// scratch if it is wanted.
    pub(super) fn backward(
        &self,
        input: &[f32],
        gradient: &[f32],
        weight: &mut [f32],
        wanted: bool,
        scratch: &mut Scratch,
    ) {
        let Scratch { loaded, padded, columns, column_gradient, gradient: into } = scratch;
        let x = self.load(input, loaded);
        into.clear();
        into.resize(if wanted { input.len() } else { 0 }, 0.0);
        let pitch = pitch(self.to.channels);
        if self.depthwise {
            return self.depthwise_backward(x, gradient, weight, into);
        }
        self.pad(x, padded);
        for (block, dy) in gradient.chunks(ROW_BLOCK * pitch).enumerate() {
            let rows = block * ROW_BLOCK..block * ROW_BLOCK + dy.len() / pitch;
            let (a, a_row) = self.matrix(x, padded, rows.clone(), columns);
            let sizes = [self.depth(), self.to.channels, rows.len()];
            multiply(self.level, sizes, (a, 1, a_row), (dy, pitch), (weight, pitch), true);
            if wanted {
                self.input_gradient(rows, dy, column_gradient, into);
            }
        }
    }

    fn input_gradient(&self, rows: Range<usize>, dy: &[f32], columns: &mut Vec<f32>, into: &mut [f32]) {
        let (pitch, count) = (pitch(self.to.channels), rows.len());
        let (b, a) = ((&self.packed.transposed[..], self.packed.transposed_row), (dy, pitch, 1));
        if self.is_direct() {
            let width = self.window.pitch;
            let to = &mut into[rows.start * width..rows.end * width];
            return multiply(
                self.level,
                [count, self.window.channels, self.to.channels],
                a,
                b,
                (to, width),
                false,
            );
        }
        let width = crate::kernels::pitch(self.depth());
        columns.resize(columns.len().max(count * width), 0.0);
        multiply(self.level, [count, self.depth(), self.to.channels], a, b, (columns, width), false);
        let (unit, pixels) = (self.input_unit(), self.to.pixels());
        for (row, from) in rows.zip(columns.chunks_exact(width)) {
            self.window.scatter(from, row % pixels, &mut into[row / pixels * unit..][..unit]);
        }
    }

    fn depthwise_backward(&self, x: &[f32], gradient: &[f32], weight: &mut [f32], into: &mut [f32]) {
        let unit = self.to.pixels() * pitch(self.to.channels);
        for (image, (input, gradient)) in self.images(x).zip(gradient.chunks_exact(unit)).enumerate() {
            let (window, weights, length) = (self.window, &self.packed.weight[..], input.len());
            let (gradients, weight) = ((gradient, input), &mut *weight);
            let into = if into.is_empty() { &mut [][..] } else { &mut into[image * length..][..length] };
            dispatch(self.level, DepthwiseGradient { window, weights, gradients, weight, into });
        }
    }

    /// Floats of an input image.
    fn input_unit(&self) -> usize {
        self.window.size * self.window.size * self.window.pitch
    }

    fn images<'x>(&self, x: &'x [f32]) -> std::slice::ChunksExact<'x, f32> {
        x.chunks_exact(self.input_unit())
    }

    fn load<'x>(&self, input: &'x [f32], loaded: &'x mut Vec<f32>) -> &'x [f32] {
        if self.quantizer.is_none() {
            return input;
        }
        loaded.resize(input.len(), 0.0);
        let load = Load { norm: None, quantizer: self.quantizer };
        let pitch = self.window.pitch;
        dispatch(self.level, LoadRows { load, input, pitch, output: loaded, stride: pitch });
        loaded
    }

    /// Every image of the chunk with its border, unless what is read is the matrix already.
    fn pad(&self, x: &[f32], padded: &mut Vec<f32>) {
        if self.is_direct() {
            return;
        }
        let length = self.window.padded_length();
        padded.resize(self.images(x).len() * length, 0.0);
        self.images(x).zip(padded.chunks_exact_mut(length)).for_each(|(x, to)| self.window.pad(x, to));
    }

    /// The pixels under the windows of some output pixels of the chunk, and the distance between rows.
    fn matrix<'x>(
        &self,
        x: &'x [f32],
        padded: &[f32],
        rows: Range<usize>,
        to: &'x mut Vec<f32>,
    ) -> (&'x [f32], usize) {
        if self.is_direct() {
            return (&x[rows.start * self.window.pitch..], self.window.pitch);
        }
        let row = scratch_stride(pitch(self.depth()));
        to.resize(to.len().max(rows.len() * row), 0.0);
        let (window, length, pixels) = (self.window, self.window.padded_length(), self.to.pixels());
        let (mut start, mut to_rows) = (rows.start, &mut to[..]);
        while start < rows.end {
            let image = start / pixels;
            let end = rows.end.min((image + 1) * pixels);
            let padded = &padded[image * length..][..length];
            let pixels = start - image * pixels..end - image * pixels;
            dispatch(self.level, Gather { window, padded, pixels, to: to_rows, row });
            to_rows = &mut to_rows[(end - start) * row..];
            start = end;
        }
        (to, row)
    }
}

/// One image, forward.
struct Depthwise<'a> {
    window: Columns,
    weight: &'a [f32],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl Kernel for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (window, pitch) = (self.window, self.window.pitch);
        for (pixel, to) in self.output.chunks_exact_mut(pitch).enumerate() {
            to.fill(0.0);
            let [rows, columns] = window.inside(pixel);
            for row in rows {
                for column in columns.clone() {
                    let x = &self.input[window.under(pixel, row, column) * pitch..][..pitch];
                    let w = &self.weight[(row * window.kernel + column) * pitch..][..pitch];
                    for ((to, x), w) in to.iter_mut().zip(x).zip(w) {
                        *to += x * w;
                    }
                }
            }
        }
    }
}

/// One image, backward.
struct DepthwiseGradient<'a> {
    window: Columns,
    weights: &'a [f32],
    /// Of the output, and the input itself.
    gradients: (&'a [f32], &'a [f32]),
    /// Added to.
    weight: &'a mut [f32],
    /// Added to, unless it is empty.
    into: &'a mut [f32],
}

impl Kernel for DepthwiseGradient<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (window, pitch, (gradient, input)) = (self.window, self.window.pitch, self.gradients);
        for (pixel, dy) in gradient.chunks_exact(pitch).enumerate() {
            let [rows, columns] = window.inside(pixel);
            for row in rows {
                for column in columns.clone() {
                    let tap = (row * window.kernel + column) * pitch;
                    let at = window.under(pixel, row, column) * pitch;
                    let to = &mut self.weight[tap..][..pitch];
                    for ((to, x), dy) in to.iter_mut().zip(&input[at..][..pitch]).zip(dy) {
                        *to += x * dy;
                    }
                    if !self.into.is_empty() {
                        let to = &mut self.into[at..][..pitch];
                        for ((to, w), dy) in to.iter_mut().zip(&self.weights[tap..][..pitch]).zip(dy) {
                            *to += w * dy;
                        }
                    }
                }
            }
        }
    }
}
