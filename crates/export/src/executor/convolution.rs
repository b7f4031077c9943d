//! # Integer convolution
//!
//! `sum[o] = bias[o] + Σ x[tap, i] · w[tap, i, o]` in int32, then rescaled and clamped. One output pixel at a time,
//! all its channels together; a 1×1 convolution and a dense one differ only in the number of taps.
//!
//! Plain loops, compiled for several instruction sets; integer sums make every one of them give the same bits.

use sartor_space::LayerKind;

use crate::graph::{Convolution, Tensor};
use crate::requantize::{Rescale, Style};

/// Input channels taken together in the inner loop.
const CHANNELS: usize = 4;

/// A convolution with its weights widened and its factors computed.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    convolution: &'a Convolution,
    input: &'a Tensor,
    output: &'a Tensor,
    weights: Vec<i16>,
    rescales: Vec<Rescale>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(convolution: &'a Convolution, tensors: &'a [Tensor], style: Style) -> Self {
        let (input, output) = (&tensors[convolution.input], &tensors[convolution.output]);
        let rescale =
            |&weight: &f32| Rescale::new(style, input.quantizer.scale, weight, output.quantizer.scale);
        let rescales = convolution.weights.scales.iter().map(rescale).collect();
        let weights = convolution.weights.values.iter().map(|&value| value.into()).collect();
        Self { convolution, input, output, weights, rescales }
    }

    /// One image.
    pub(super) fn run(&self, values: &[i16]) -> Vec<i16> {
        let mut result = vec![0; self.output.len()];
        pulp::Arch::new().dispatch(|| self.fill(values, &mut result));
        result
    }

    #[inline(always)]
    fn fill(&self, values: &[i16], result: &mut [i16]) {
        let (channels, size) = (self.output.channels, self.output.size);
        let mut sums = vec![0i32; channels];
        for (pixel, out) in result.chunks_exact_mut(channels).enumerate() {
            sums.copy_from_slice(&self.convolution.weights.bias);
            self.accumulate(values, (pixel / size, pixel % size), &mut sums);
            self.store(&sums, out);
        }
    }

    #[inline(always)]
    fn accumulate(&self, values: &[i16], (y, x): (usize, usize), sums: &mut [i32]) {
        let Convolution { kernel, stride, padding, kind, .. } = *self.convolution;
        let (size, channels) = (self.input.size, self.input.channels);
        for tap in 0..kernel * kernel {
            let row = (y * stride + tap / kernel).wrapping_sub(padding);
            let column = (x * stride + tap % kernel).wrapping_sub(padding);
            if row >= size || column >= size {
                continue;
            }
            let pixel = &values[(row * size + column) * channels..][..channels];
            match kind {
                LayerKind::Depthwise => depthwise(pixel, &self.weights[tap * channels..][..channels], sums),
                _ => {
                    dense(pixel, &self.weights[tap * channels * sums.len()..][..channels * sums.len()], sums)
                }
            }
        }
    }

    #[inline(always)]
    fn store(&self, sums: &[i32], out: &mut [i16]) {
        let (low, high) = (self.output.quantizer.low, self.output.quantizer.high);
        for ((value, &sum), rescale) in out.iter_mut().zip(sums).zip(&self.rescales) {
            *value = rescale.apply(sum, low, high) as i16;
        }
    }
}

#[inline(always)]
fn depthwise(pixel: &[i16], weights: &[i16], sums: &mut [i32]) {
    for ((sum, &value), &weight) in sums.iter_mut().zip(pixel).zip(weights) {
        *sum += i32::from(value) * i32::from(weight);
    }
}

#[inline(always)]
fn dense(pixel: &[i16], weights: &[i16], sums: &mut [i32]) {
    let width = sums.len();
    let (groups, rest) = pixel.as_chunks::<CHANNELS>();
    let (head, tail) = weights.split_at(groups.len() * CHANNELS * width);
    for (group, rows) in groups.iter().zip(head.chunks_exact(CHANNELS * width)) {
        four_channels(group.map(i32::from), rows, sums);
    }
    for (&value, row) in rest.iter().zip(tail.chunks_exact(width)) {
        let value = i32::from(value);
        sums.iter_mut().zip(row).for_each(|(sum, &weight)| *sum += value * i32::from(weight));
    }
}

#[inline(always)]
fn four_channels(values: [i32; CHANNELS], rows: &[i16], sums: &mut [i32]) {
    let width = sums.len();
    let (first, second) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (first.split_at(width), second.split_at(width));
    for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let left = values[0] * i32::from(a) + values[1] * i32::from(b);
        *sum += left + values[2] * i32::from(c) + values[3] * i32::from(d);
    }
}
