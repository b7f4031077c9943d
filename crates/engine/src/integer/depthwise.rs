//! # Depthwise convolution
//!
//! A block of channels at a time, its sums held in two registers; two taps are interleaved channel by channel, so that one
//! instruction adds both products. The last block overlaps the one before it; fewer channels than a block are summed one
//! by one.

use super::instructions::{Instructions, Kernel, Pairs, dispatch};
use super::{Geometry, Sink};

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

    /// One image of `[size, size, channels]` values.
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
            geometry.window(pixel, &mut taps);
            let block = 2 * P::LANES;
            if channels < block {
                few_channels(values, weights, &taps, &mut sums);
            }
            for first in (0..channels / block).map(|index| index * block) {
                // SAFETY: the caller has the instructions of `P`.
                unsafe { one_block::<P>(values, weights, &taps, first, &mut sums) }
            }
            if channels > block && channels % block > 0 {
                // SAFETY: as above.
                unsafe { one_block::<P>(values, weights, &taps, channels - block, &mut sums) }
            }
            sink.take(&sums);
        }
    }
}

/// Sums of `2 · P::LANES` channels from `first` on.
#[inline(always)]
unsafe fn one_block<P: Pairs>(
    values: &[i16],
    weights: &[i16],
    taps: &[(usize, usize)],
    first: usize,
    sums: &mut [i32],
) {
    // SAFETY: the caller has the instructions of `P`; every slice is as long as what is read or written.
    unsafe {
        let at = (first, sums.len());
        let (mut low, mut high) = (P::no_sums(), P::no_sums());
        for pair in taps.chunks(2) {
            let (value, weight) = under::<P>(values, weights, pair[0], at);
            let (other_value, other_weight) = match pair {
                [_, other] => under::<P>(values, weights, *other, at),
                _ => (P::zero(), P::zero()),
            };
            let (values_low, values_high) = value.interleave(other_value);
            let (weights_low, weights_high) = weight.interleave(other_weight);
            low = P::add_products(low, values_low, weights_low);
            high = P::add_products(high, values_high, weights_high);
        }
        P::store_interleaved(low, high, sums[first..][..2 * P::LANES].as_mut_ptr());
    }
}

/// Values and weights of a block under one tap.
#[inline(always)]
unsafe fn under<P: Pairs>(
    values: &[i16],
    weights: &[i16],
    (tap, place): (usize, usize),
    (first, channels): (usize, usize),
) -> (P, P) {
    let block = 2 * P::LANES;
    // SAFETY: the caller has the instructions of `P`; the slices are `block` long.
    unsafe {
        (
            P::load(values[place * channels + first..][..block].as_ptr()),
            P::load(weights[tap * channels + first..][..block].as_ptr()),
        )
    }
}

#[inline(always)]
fn few_channels(values: &[i16], weights: &[i16], taps: &[(usize, usize)], sums: &mut [i32]) {
    sums.fill(0);
    let count = sums.len();
    for &(tap, place) in taps {
        let (values, weights) = (&values[place * count..][..count], &weights[tap * count..][..count]);
        for ((sum, &value), &weight) in sums.iter_mut().zip(values).zip(weights) {
            *sum = sum.wrapping_add(i32::from(value) * i32::from(weight));
        }
    }
}
