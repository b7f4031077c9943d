//! # Depthwise convolution
//!
//! Channels inside, taps outside, a block of channels held in registers. A product of a value of at most 255 and an int8
//! weight is at most 32,640, so it is made in 16 bits; the sums have 32. Safe code, compiled for each instruction set.

use super::instructions::{Instructions, Kernel, Pairs, dispatch};
use super::{Geometry, Sink};

/// Channels whose sums are held together.
const CHANNELS: usize = 32;

/// A convolution of each channel by itself, its weights widened.
#[derive(Clone, Debug)]
pub struct Depthwise {
    geometry: Geometry,
    weights: Vec<i16>,
}

impl Depthwise {
    /// Takes `weights`, `[kernel², channels]`.
    ///
    /// # Panics
    /// If there are more or fewer weights than that, or input and output differ in channels.
    pub fn new(geometry: Geometry, weights: &[i8]) -> Self {
        assert_eq!(geometry.channels, geometry.output_channels, "channels of a depthwise convolution");
        assert_eq!(weights.len(), geometry.taps() * geometry.channels, "weights of a depthwise convolution");
        Self { geometry, weights: weights.iter().map(|&weight| weight.into()).collect() }
    }

    /// One image of `[size, size, channels]` values, each at most [`super::LARGEST_VALUE`] in magnitude.
    ///
    /// # Panics
    /// If there are more or fewer values than that.
    pub fn run(&self, values: &[i16], sink: &mut impl Sink) {
        self.run_with(Instructions::chosen(), values, sink);
    }

    pub(super) fn run_with(&self, instructions: Instructions, values: &[i16], sink: &mut impl Sink) {
        assert_eq!(values.len(), self.geometry.input_len(), "values of a depthwise convolution");
        dispatch(instructions, Run { layer: self, values, sink });
    }
}

struct Run<'a, S> {
    layer: &'a Depthwise,
    values: &'a [i16],
    sink: &'a mut S,
}

impl<S: Sink> Kernel for Run<'_, S> {
    #[inline(always)]
    unsafe fn run<P: Pairs>(self) {
        let Run { layer: Depthwise { geometry, weights }, values, sink } = self;
        let channels = geometry.channels;
        let mut sums = vec![0; channels];
        let mut taps = Vec::with_capacity(geometry.taps());
        for pixel in 0..geometry.pixels() {
            taps.clear();
            let under = |tap| geometry.under(pixel, tap).map(|place| (place * channels, tap * channels));
            taps.extend((0..geometry.taps()).filter_map(under));
            let (blocks, rest) = sums.as_chunks_mut::<CHANNELS>();
            for (index, block) in blocks.iter_mut().enumerate() {
                whole_block(values, weights, &taps, index * CHANNELS, block);
            }
            partial_block(values, weights, &taps, channels - rest.len(), rest);
            sink.take(&sums);
        }
    }
}

#[inline(always)]
fn whole_block(
    values: &[i16],
    weights: &[i16],
    taps: &[(usize, usize)],
    first: usize,
    out: &mut [i32; CHANNELS],
) {
    let mut sums = [0; CHANNELS];
    for &(value, weight) in taps {
        let (values, weights) =
            (&values[value + first..][..CHANNELS], &weights[weight + first..][..CHANNELS]);
        for ((sum, &value), &weight) in sums.iter_mut().zip(values).zip(weights) {
            *sum += product(value, weight);
        }
    }
    *out = sums;
}

#[inline(always)]
fn partial_block(values: &[i16], weights: &[i16], taps: &[(usize, usize)], first: usize, sums: &mut [i32]) {
    sums.fill(0);
    let count = sums.len();
    for &(value, weight) in taps {
        let (values, weights) = (&values[value + first..][..count], &weights[weight + first..][..count]);
        for ((sum, &value), &weight) in sums.iter_mut().zip(values).zip(weights) {
            *sum += product(value, weight);
        }
    }
}

#[inline(always)]
fn product(value: i16, weight: i16) -> i32 {
    value.wrapping_mul(weight).into()
}
