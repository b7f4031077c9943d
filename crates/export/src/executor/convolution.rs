//! # Integer convolution
//!
//! `sum[o] = bias[o] + (Σ x[tap, i] · w[tap, i, o] << bias_shift)` in int32, then rescaled and clamped. The sums of products
//! are the engine's ([`sartor_engine::integer`]), exact at every instruction set; here they become the next integers.

use std::mem;

use sartor_engine::integer::{Dense, Depthwise, Geometry, Sink};
use sartor_space::LayerKind;

use crate::graph::{Convolution, Tensor};
use crate::requantize::{Rescale, Style};

#[derive(Debug)]
enum Kernel {
    Dense(Dense),
    Depthwise(Depthwise),
}

/// A convolution with its weights packed and its factors computed.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    convolution: &'a Convolution,
    output: &'a Tensor,
    kernel: Kernel,
    rescales: Vec<Rescale>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(convolution: &'a Convolution, tensors: &'a [Tensor], style: Style) -> Self {
        let (input, output) = (&tensors[convolution.input], &tensors[convolution.output]);
        let rescale =
            |weight: f32| Rescale::new(style, input.quantizer.scale, weight, output.quantizer.scale);
        let rescales = convolution.weights.sum_scales().into_iter().map(rescale).collect();
        let (geometry, weights) = (geometry(convolution, input, output), &convolution.weights.values);
        let kernel = match convolution.kind {
            LayerKind::Depthwise => Kernel::Depthwise(Depthwise::new(geometry, weights)),
            _ => Kernel::Dense(Dense::new(geometry, weights)),
        };
        Self { convolution, output, kernel, rescales }
    }

    /// One image.
    pub(super) fn run(&self, values: &[i16]) -> Vec<i16> {
        let mut result = vec![0; self.output.len()];
        let mut store = Store { layer: self, rest: &mut result };
        match &self.kernel {
            Kernel::Dense(kernel) => kernel.run(values, &mut store),
            Kernel::Depthwise(kernel) => kernel.run(values, &mut store),
        }
        result
    }
}

fn geometry(convolution: &Convolution, input: &Tensor, output: &Tensor) -> Geometry {
    let Convolution { kernel, stride, padding, .. } = *convolution;
    let (output_size, output_channels) = (output.size, output.channels);
    Geometry {
        size: input.size,
        channels: input.channels,
        output_size,
        output_channels,
        kernel,
        stride,
        padding,
    }
}

/// Rescales sums as they come.
struct Store<'p, 'a> {
    layer: &'p Prepared<'a>,
    rest: &'p mut [i16],
}

impl Sink for Store<'_, '_> {
    #[inline(always)]
    fn take(&mut self, sums: &[i32]) {
        let Prepared { convolution, output, rescales, .. } = self.layer;
        let (low, high) = (output.quantizer.low, output.quantizer.high);
        let (bias, shift) = (&convolution.weights.bias, convolution.weights.bias_shift);
        let Some((next, rest)) = mem::take(&mut self.rest).split_at_mut_checked(sums.len()) else { return };
        // Plain loops: iterator adapters that are not inlined here would lose the kernel's instructions.
        let channels = output.channels;
        for (pixel, next) in sums.chunks_exact(channels).zip(next.chunks_exact_mut(channels)) {
            for (((value, &sum), &bias), rescale) in next.iter_mut().zip(pixel).zip(bias).zip(rescales) {
                *value = rescale.apply((sum << shift).wrapping_add(bias), low, high) as i16;
            }
        }
        self.rest = rest;
    }
}
