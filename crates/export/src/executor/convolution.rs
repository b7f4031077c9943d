//! # Integer convolution
//!
//! `sum[o] = bias[o] + (Σ x[tap, i] · w[tap, i, o] << bias_shift)` in int32, then rescaled and clamped. One output pixel at a time,
//! all its channels together; a 1×1 convolution and a dense one differ only in the number of taps.
//!
//! Plain loops, compiled for the CPU's vector instructions. Where no sum of products can leave ±2^24 they run on
//! `f32` numbers, which hold all such integers exactly, because vector units multiply floats several times faster
//! than 32-bit integers; elsewhere on `i32`. Either way the sums are the exact integers.

use pulp::{Simd, WithSimd};
use sartor_space::LayerKind;

use crate::graph::{Convolution, Tensor};
use crate::requantize::{Rescale, Style};

/// Input channels taken together in the inner loop.
const CHANNELS: usize = 4;
/// `f32` holds every integer up to here.
const EXACT_FLOATS: u64 = 1 << 24;

/// A number that holds a layer's sums of products exactly.
pub(crate) trait Lane: Copy + Default {
    fn new(value: i16) -> Self;
    fn plus_product(self, a: Self, b: Self) -> Self;
    fn integer(self) -> i32;
}

impl Lane for f32 {
    #[inline(always)]
    fn new(value: i16) -> Self {
        value.into()
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }

    #[inline(always)]
    fn integer(self) -> i32 {
        self as i32
    }
}

impl Lane for i32 {
    #[inline(always)]
    fn new(value: i16) -> Self {
        value.into()
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }

    #[inline(always)]
    fn integer(self) -> i32 {
        self
    }
}

#[derive(Debug)]
enum Lanes {
    Float(Vec<f32>),
    Integer(Vec<i32>),
}

/// A convolution with its weights widened and its factors computed.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    convolution: &'a Convolution,
    input: &'a Tensor,
    output: &'a Tensor,
    weights: Lanes,
    rescales: Vec<Rescale>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(convolution: &'a Convolution, tensors: &'a [Tensor], style: Style) -> Self {
        let (input, output) = (&tensors[convolution.input], &tensors[convolution.output]);
        let rescale =
            |weight: f32| Rescale::new(style, input.quantizer.scale, weight, output.quantizer.scale);
        let rescales = convolution.weights.sum_scales().into_iter().map(rescale).collect();
        let exact = largest_sum(convolution, input) <= EXACT_FLOATS;
        let weights =
            if exact { Lanes::Float(widen(convolution)) } else { Lanes::Integer(widen(convolution)) };
        Self { convolution, input, output, weights, rescales }
    }

    /// One image.
    pub(super) fn run(&self, values: &[i16]) -> Vec<i16> {
        let mut result = vec![0; self.output.len()];
        match &self.weights {
            Lanes::Float(weights) => self.dispatch(weights, values, &mut result),
            Lanes::Integer(weights) => self.dispatch(weights, values, &mut result),
        }
        result
    }

    fn dispatch<L: Lane>(&self, weights: &[L], values: &[i16], result: &mut [i16]) {
        let values: Vec<L> = values.iter().map(|&value| L::new(value)).collect();
        pulp::Arch::new().dispatch(Image { layer: self, weights, values: &values, result });
    }
}

/// Bound on the magnitude of any sum of products, without bias.
fn largest_sum(convolution: &Convolution, input: &Tensor) -> u64 {
    let quantizer = input.quantizer;
    let magnitude = (quantizer.high - quantizer.zero_point).max(quantizer.zero_point - quantizer.low);
    let channels = convolution.weights.scales.len();
    let column = |channel: usize| -> u64 {
        let column = convolution.weights.values.iter().skip(channel).step_by(channels);
        column.map(|value| u64::from(value.unsigned_abs())).sum()
    };
    (0..channels).map(column).max().unwrap_or(0) * u64::from(magnitude.unsigned_abs())
}

fn widen<L: Lane>(convolution: &Convolution) -> Vec<L> {
    convolution.weights.values.iter().map(|&value| L::new(value.into())).collect()
}

/// One image on its way through a convolution.
struct Image<'a, L> {
    layer: &'a Prepared<'a>,
    weights: &'a [L],
    values: &'a [L],
    result: &'a mut [i16],
}

impl<L: Lane> WithSimd for Image<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Image { layer, weights, values, result } = self;
        let (channels, size) = (layer.output.channels, layer.output.size);
        let mut sums = vec![L::default(); channels];
        for (pixel, out) in result.chunks_exact_mut(channels).enumerate() {
            sums.fill(L::default());
            accumulate(layer, weights, values, (pixel / size, pixel % size), &mut sums);
            store(layer, &sums, out);
        }
    }
}

#[inline(always)]
fn accumulate<L: Lane>(
    layer: &Prepared<'_>,
    weights: &[L],
    values: &[L],
    (y, x): (usize, usize),
    sums: &mut [L],
) {
    let Convolution { kernel, stride, padding, kind, .. } = *layer.convolution;
    let (size, channels) = (layer.input.size, layer.input.channels);
    for tap in 0..kernel * kernel {
        let row = (y * stride + tap / kernel).wrapping_sub(padding);
        let column = (x * stride + tap % kernel).wrapping_sub(padding);
        if row >= size || column >= size {
            continue;
        }
        let pixel = &values[(row * size + column) * channels..][..channels];
        match kind {
            LayerKind::Depthwise => depthwise(pixel, &weights[tap * channels..][..channels], sums),
            _ => dense(pixel, &weights[tap * channels * sums.len()..][..channels * sums.len()], sums),
        }
    }
}

#[inline(always)]
fn store<L: Lane>(layer: &Prepared<'_>, sums: &[L], out: &mut [i16]) {
    let (low, high) = (layer.output.quantizer.low, layer.output.quantizer.high);
    let (bias, shift) = (&layer.convolution.weights.bias, layer.convolution.weights.bias_shift);
    for (((value, &sum), &bias), rescale) in out.iter_mut().zip(sums).zip(bias).zip(&layer.rescales) {
        *value = rescale.apply((sum.integer() << shift) + bias, low, high) as i16;
    }
}

#[inline(always)]
pub(crate) fn depthwise<L: Lane>(pixel: &[L], weights: &[L], sums: &mut [L]) {
    for ((sum, &value), &weight) in sums.iter_mut().zip(pixel).zip(weights) {
        *sum = sum.plus_product(value, weight);
    }
}

#[inline(always)]
pub(crate) fn dense<L: Lane>(pixel: &[L], weights: &[L], sums: &mut [L]) {
    let width = sums.len();
    let (groups, rest) = pixel.as_chunks::<CHANNELS>();
    let (head, tail) = weights.split_at(groups.len() * CHANNELS * width);
    for (group, rows) in groups.iter().zip(head.chunks_exact(CHANNELS * width)) {
        four_channels(group, rows, sums);
    }
    for (&value, row) in rest.iter().zip(tail.chunks_exact(width)) {
        for (sum, &weight) in sums.iter_mut().zip(row) {
            *sum = sum.plus_product(value, weight);
        }
    }
}

#[inline(always)]
fn four_channels<L: Lane>(values: &[L; CHANNELS], rows: &[L], sums: &mut [L]) {
    let width = sums.len();
    let (first, second) = rows.split_at(2 * width);
    let ((a, b), (c, d)) = (first.split_at(width), second.split_at(width));
    for ((((sum, &a), &b), &c), &d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let half = sum.plus_product(values[0], a).plus_product(values[1], b);
        *sum = half.plus_product(values[2], c).plus_product(values[3], d);
    }
}
