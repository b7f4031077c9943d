//! # Integer convolution
//!
//! `sum[o] = bias[o] + (Σ x[tap, i] · w[tap, i, o] << bias_shift)` in int32, then rescaled and clamped. The sums of products
//! are the engine's ([`sartor_engine::integer`]), exact at every instruction set; here they become the next integers.

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
        let mut store = Store { layer: self, result: Vec::with_capacity(self.output.len()) };
        match &self.kernel {
            Kernel::Dense(kernel) => kernel.run(values, &mut store),
            Kernel::Depthwise(kernel) => kernel.run(values, &mut store),
        }
        store.result
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
    result: Vec<i16>,
}

impl Sink for Store<'_, '_> {
    #[inline(always)]
    fn take(&mut self, sums: &[i32]) {
        let Prepared { convolution, output, rescales, .. } = self.layer;
        let (low, high) = (output.quantizer.low, output.quantizer.high);
        let (bias, shift) = (&convolution.weights.bias, convolution.weights.bias_shift);
        for pixel in sums.chunks_exact(output.channels) {
            let scaled = pixel.iter().zip(bias).zip(rescales).map(|((&sum, &bias), rescale)| {
                rescale.apply((sum << shift).wrapping_add(bias), low, high) as i16
            });
            self.result.extend(scaled);
        }
    }
}
