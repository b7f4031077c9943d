//! What an imported network computes, in float: the reference that quantization is measured against.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Activation, ImportedConvolution, ImportedNetwork, Shape, Step, ValueId, Work};
use crate::error::{ExportError, Result};

/// Input channels taken together in the inner loop.
const CHANNELS: usize = 4;
/// Images whose values are held at a time while they are observed.
const OBSERVED_TOGETHER: usize = 16;

/// Where numbers can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A step's sums, norm included, before its activation.
    Sum(usize),
    /// A value.
    Value(ValueId),
}

/// One image's values, and the sums before activations where there are any.
struct Trace {
    values: Vec<Vec<f32>>,
    sums: Vec<Vec<f32>>,
}

impl ImportedNetwork {
    /// `[images, classes]` of NHWC pixels.
    ///
    /// # Errors
    /// Pixels that are no whole images.
    pub fn logits(&self, pixels: &[u8]) -> Result<Vec<f32>> {
        let images = self.whole_images(pixels)?;
        let parts: Vec<Vec<f32>> =
            images.map(|image| self.trace(image, false).values.pop().unwrap_or_default()).collect();
        Ok(parts.concat())
    }

    /// Shows `visit` every sum and every value of every image, image by image in their order.
    ///
    /// # Errors
    /// Pixels that are no whole images.
    pub fn observe(&self, pixels: &[u8], visit: &mut dyn FnMut(Place, &[f32])) -> Result<()> {
        self.whole_images(pixels)?;
        for together in pixels.chunks(OBSERVED_TOGETHER * self.image().len()) {
            let traces: Vec<Trace> =
                together.par_chunks_exact(self.image().len()).map(|image| self.trace(image, true)).collect();
            for trace in &traces {
                for (index, sums) in trace.sums.iter().enumerate().filter(|(_, sums)| !sums.is_empty()) {
                    visit(Place::Sum(index), sums);
                }
                trace
                    .values
                    .iter()
                    .enumerate()
                    .for_each(|(value, numbers)| visit(Place::Value(value), numbers));
            }
        }
        Ok(())
    }

    fn whole_images<'p>(&self, pixels: &'p [u8]) -> Result<rayon::slice::ChunksExact<'p, u8>> {
        let length = self.image().len();
        if !pixels.len().is_multiple_of(length) {
            let expected = pixels.len().next_multiple_of(length);
            return Err(ExportError::Data { what: "bytes of pixels", got: pixels.len(), expected });
        }
        Ok(pixels.par_chunks_exact(length))
    }

    fn trace(&self, image: &[u8], keep_sums: bool) -> Trace {
        let real = |&pixel: &u8| (f32::from(pixel) - f32::from(self.zero_point)) * self.scale;
        let mut trace = Trace { values: vec![image.iter().map(real).collect()], sums: vec![] };
        for (index, step) in self.steps.iter().enumerate() {
            let mut out = self.sums(step, &trace.values, self.shapes[index + 1]);
            let activation = step.work.activation();
            trace.sums.push(if keep_sums && step.work.convolution().is_some() {
                out.clone()
            } else {
                vec![]
            });
            if activation != Activation::Linear {
                out.iter_mut().for_each(|value| *value = activation.apply(*value));
            }
            trace.values.push(out);
        }
        trace
    }

    fn sums(&self, step: &Step, values: &[Vec<f32>], to: Shape) -> Vec<f32> {
        let (input, from) = (&values[step.input], self.shapes[step.input]);
        match &step.work {
            Work::Convolution(layer) => {
                let mut result = vec![0.0; to.len()];
                pulp::Arch::new().dispatch(Sums { layer, input, from, to, result: &mut result });
                result
            }
            Work::Add { other, .. } => input.iter().zip(&values[*other]).map(|(a, b)| a + b).collect(),
            &Work::MaxPool { kernel, stride, padding, .. } => {
                largest(input, from, to, (kernel, stride, padding))
            }
            Work::GlobalPool => mean(input, from),
        }
    }
}

/// A convolution of one image with its norm.
struct Sums<'a> {
    layer: &'a ImportedConvolution,
    input: &'a [f32],
    from: Shape,
    to: Shape,
    result: &'a mut [f32],
}

impl WithSimd for Sums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Sums { layer, input, from, to, result } = self;
        let channels = from.channels;
        for (pixel, out) in result.chunks_exact_mut(to.channels).enumerate() {
            for (tap, place) in window(from.size, (pixel / to.size, pixel % to.size), geometry(layer)) {
                let source = &input[place * channels..][..channels];
                if layer.depthwise {
                    depthwise(source, &layer.weight[tap * channels..][..channels], out);
                } else {
                    let rows = channels * to.channels;
                    dense(source, &layer.weight[tap * rows..][..rows], out);
                }
            }
            for (sum, norm) in out.iter_mut().zip(&layer.norms) {
                let (factor, shift) = norm.factor_and_shift();
                *sum = sum.mul_add(factor as f32, shift as f32);
            }
        }
    }
}

#[inline(always)]
fn depthwise(pixel: &[f32], weights: &[f32], sums: &mut [f32]) {
    for ((sum, &value), &weight) in sums.iter_mut().zip(pixel).zip(weights) {
        *sum += value * weight;
    }
}

#[inline(always)]
fn dense(pixel: &[f32], weights: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let (groups, rest) = pixel.as_chunks::<CHANNELS>();
    let (head, tail) = weights.split_at(groups.len() * CHANNELS * width);
    for (group, rows) in groups.iter().zip(head.chunks_exact(CHANNELS * width)) {
        four_channels(group, rows, sums);
    }
    for (&value, row) in rest.iter().zip(tail.chunks_exact(width)) {
        one_channel(value, row, sums);
    }
}

#[inline(always)]
fn one_channel(value: f32, row: &[f32], sums: &mut [f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, &weight)| *sum += value * weight);
}

#[inline(always)]
fn four_channels(values: &[f32; CHANNELS], rows: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let (first, second) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (first.split_at(width), second.split_at(width));
    for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *sum = *sum + values[0] * a + values[1] * b + values[2] * c + values[3] * d;
    }
}

fn geometry(layer: &ImportedConvolution) -> (usize, usize, usize) {
    (layer.kernel, layer.stride, layer.padding)
}

/// Taps of a window that lie on the image, with the pixels under them.
pub(crate) fn window(
    size: usize,
    (y, x): (usize, usize),
    (kernel, stride, padding): (usize, usize, usize),
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel * kernel).filter_map(move |tap| {
        let row = (y * stride + tap / kernel).wrapping_sub(padding);
        let column = (x * stride + tap % kernel).wrapping_sub(padding);
        (row < size && column < size).then(|| (tap, row * size + column))
    })
}

fn largest(input: &[f32], from: Shape, to: Shape, geometry: (usize, usize, usize)) -> Vec<f32> {
    let mut result = vec![f32::NEG_INFINITY; to.len()];
    for (pixel, out) in result.chunks_exact_mut(to.channels).enumerate() {
        for (_, place) in window(from.size, (pixel / to.size, pixel % to.size), geometry) {
            let source = &input[place * from.channels..][..from.channels];
            out.iter_mut().zip(source).for_each(|(best, &value)| *best = best.max(value));
        }
    }
    result
}

fn mean(input: &[f32], from: Shape) -> Vec<f32> {
    let mut sums = vec![0.0f64; from.channels];
    for pixel in input.chunks_exact(from.channels) {
        sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let pixels = (from.size * from.size) as f64;
    sums.iter().map(|sum| (sum / pixels) as f32).collect()
}
