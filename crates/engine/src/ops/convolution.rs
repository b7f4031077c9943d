//! What the three convolutions have in common: their arguments, and which one runs.

use super::expansion::Expansion;
use super::{dense, depthwise, pointwise};
use crate::kernels::elementwise::{Epilogue, Load, NormGradient, RangeGradients};
use crate::network::{Convolution, Layer};
use crate::plan::LayerPlan;
use crate::simd::Level;
use crate::sums::ChannelSums;

/// Forward pass of a convolution, on the images of a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Forward<'a> {
    pub layer: &'a Layer,
    pub plan: &'a LayerPlan,
    pub level: Level,
    /// How the input is read.
    pub load: Load<'a>,
    /// Packed weights.
    pub weight: &'a [f32],
    /// Depthwise: the layer before, when its output is not stored; then the input is that layer's.
    pub expansion: Option<Expansion<'a>>,
}

impl Forward<'_> {
    /// From whole input images to whole output images.
    pub(crate) fn run(
        &self,
        input: &[f32],
        output: &mut [f32],
        sums: Option<&mut ChannelSums>,
        scratch: &mut [f32],
    ) {
        match self.layer.convolution {
            Convolution::Pointwise => pointwise::forward(self, input, output, sums, scratch),
            Convolution::Dense { .. } => dense::forward(self, input, output, sums, scratch),
            Convolution::Depthwise { .. } => depthwise::forward(self, input, output, sums, scratch),
        }
    }
}

/// Backward pass of a convolution, on the images of a chunk.
pub(crate) struct Backward<'a> {
    pub layer: &'a Layer,
    pub plan: &'a LayerPlan,
    pub level: Level,
    /// How the input is read.
    pub load: Load<'a>,
    /// Packed weights.
    pub weight: &'a [f32],
    /// Their transpose; empty for depthwise convolutions and the first layer.
    pub transposed: &'a [f32],
    /// From kept gradient to gradient of the convolution output.
    pub gradient: NormGradient<'a>,
    /// Input, whole images.
    pub input: &'a [f32],
    /// Kept gradient, whole images.
    pub kept: &'a [f32],
    /// Convolution output, whole images.
    pub raw: &'a [f32],
    /// Depthwise: the layer before, when its output is not stored; then the input is that layer's.
    pub expansion: Option<Expansion<'a>>,
}

/// What a backward pass writes.
pub(crate) struct Outputs<'a> {
    /// Packed weight gradient (depth × pitch), added to; that of the expansion behind it.
    pub weight: &'a mut [f32],
    /// The producer's part, unless the input is the image.
    pub input: Option<InputOutputs<'a>>,
}

/// What a backward pass writes for the producer of its input. With an expansion: the sums are the expansion's, `kept`
/// is for its input and not finished, see [`super::expansion`].
pub(crate) struct InputOutputs<'a> {
    /// From gradient of the input to kept gradient.
    pub epilogue: Epilogue<'a>,
    /// Kept gradient, whole images.
    pub kept: &'a mut [f32],
    /// Σ g per channel, added to.
    pub first: &'a mut [f64],
    /// Σ g (y - mean) per channel, added to.
    pub second: &'a mut [f64],
}

impl Backward<'_> {
    /// Returns the gradients of the quantizer ranges.
    pub(crate) fn run(&self, outputs: Outputs, scratch: &mut [f32]) -> RangeGradients {
        match self.layer.convolution {
            Convolution::Pointwise => pointwise::backward(self, outputs, scratch),
            Convolution::Dense { .. } => dense::backward(self, outputs, scratch),
            Convolution::Depthwise { .. } => depthwise::backward(self, outputs, scratch),
        }
    }
}
