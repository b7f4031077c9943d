//! # Network description
//!
//! A network is a list of fused convolution layers and a head. Activations are NHWC `f32`, images are square.
//! One layer is
//!
//! ```text
//! x = input_quantizer(source)            source: the image, or the final output of an earlier layer
//! y = convolution(x, w)                  w = weight_quantizer(kernel_transform(stored weights))
//! z = gamma * (y - mean) / sqrt(variance + EPSILON) + beta
//! out = relu6(z)                                                         Activation::Relu6
//! out = sum_quantizer(output_quantizer(z) + residual)                    Activation::Linear
//! ```
//!
//! and the head is `logits = pooled_quantizer(mean over pixels of input_quantizer(out)) · weights + bias`.
//! Layers hold no numbers: they point into one flat parameter buffer.

use std::sync::Arc;

pub(crate) mod check;

/// Added to the variance before its square root is taken.
pub const EPSILON: f32 = 1e-5;
/// Smallest activation range; a trainable range below it acts as this value.
pub const MINIMUM_RANGE: f32 = 1e-4;

/// Where ReLU6 ends.
pub(crate) const RELU_CEILING: f32 = 6.0;

/// Where a weight matrix lies in the flat parameter buffer: row r, column c is at `offset + r * row_stride + c`.
///
/// Rows × columns: dense `[k*k*in] × [out]` (row = (kernel row, kernel column, channel)), pointwise `[in] × [out]`,
/// depthwise `[K*K] × [channels]` with the *stored* kernel K, linear `[in] × [out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightView {
    /// Index of row 0, column 0.
    pub offset: usize,
    /// Distance between the starts of two rows, at least the number of columns.
    pub row_stride: usize,
}

/// The kind of convolution; padding is `kernel / 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convolution {
    /// Every input channel to every output channel.
    Dense {
        /// Odd kernel size.
        kernel: usize,
        /// 1 or 2.
        stride: usize,
    },
    /// 1×1, stride 1.
    Pointwise,
    /// One filter per channel.
    Depthwise {
        /// Odd kernel size, after the kernel transform.
        kernel: usize,
        /// 1 or 2.
        stride: usize,
    },
}

impl Convolution {
    /// Kernel size.
    pub fn kernel(&self) -> usize {
        match *self {
            Self::Pointwise => 1,
            Self::Dense { kernel, .. } | Self::Depthwise { kernel, .. } => kernel,
        }
    }

    /// Stride.
    pub fn stride(&self) -> usize {
        match *self {
            Self::Pointwise => 1,
            Self::Dense { stride, .. } | Self::Depthwise { stride, .. } => stride,
        }
    }
}

/// Elastic kernel: the stored kernel is brought to the wanted size step by step (7 → 5 → 3).
///
/// Each step crops the centre, then multiplies by a learned matrix that all channels share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTransform {
    /// Size of the stored kernel.
    pub stored: usize,
    /// Steps, sizes strictly falling; the last one's size is the convolution's kernel.
    pub steps: Vec<TransformStep>,
}

/// One step of a [`KernelTransform`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformStep {
    /// Size n after this step.
    pub kernel: usize,
    /// Offset of the `[n*n] × [n*n]` row-major matrix M; new taps = M · old taps.
    pub matrix_offset: usize,
}

/// Symmetric weight quantizer: `scale = t / (2^(bits-1) - 1)`, `round_ties_even(w / scale)` clamped.
///
/// Straight-through gradient, zero where `|w| > t`.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightQuantizer {
    /// Width, 2 to 16.
    pub bits: u8,
    /// Threshold t per output channel, all above zero; may be longer than the layer is wide.
    pub thresholds: Arc<[f32]>,
}

impl WeightQuantizer {
    /// Largest integer level.
    pub fn levels(&self) -> f32 {
        ((1u32 << (self.bits - 1)) - 1) as f32
    }

    /// Distance between the levels of an output channel.
    pub(crate) fn step(&self, channel: usize) -> f32 {
        self.thresholds[channel] / self.levels()
    }
}

/// Activation quantizer with a trainable range v, which is a parameter.
///
/// Unsigned: `[0, v]`, scale `v / (2^bits - 1)`; signed: `[-v, v]`, scale `v / (2^(bits-1) - 1)`.
/// Straight-through gradient; the range gets the gradient of the saturated elements with their sign (clipped ReLU).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationQuantizer {
    /// Width, 2 to 16 (1 is allowed when unsigned).
    pub bits: u8,
    /// Whether negative values are kept.
    pub signed: bool,
    /// Where the range v lies in the parameters.
    pub range_offset: usize,
    /// Widths that this one competes with; only for a layer's input.
    pub rivals: Option<Rivals>,
}

/// Widths that compete for one quantization point, for searches by gradient.
///
/// Were the input `x = Σ yᵢ Qᵢ(value)`, with Qᵢ the quantizer of width i, then `dL/dyᵢ = Σ dL/dx · Qᵢ(value)`. The
/// backward pass adds these numbers to the gradients; the forward pass takes no notice of rivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rivals {
    /// How many there are, at most [`MAXIMUM_RIVALS`].
    pub count: usize,
    /// Their widths, the first `count` entries.
    pub bits: [u8; MAXIMUM_RIVALS],
    /// Where the first one's range lies in the parameters; the others' follow.
    pub range_offset: usize,
    /// Where dL/dy of the first is added in the gradients; the others' follow.
    pub gradient_offset: usize,
}

/// Most widths that can compete for one quantization point.
pub const MAXIMUM_RIVALS: usize = 4;

impl ActivationQuantizer {
    /// Largest integer level.
    pub fn levels(&self) -> f32 {
        ((1u32 << (self.bits - u8::from(self.signed))) - 1) as f32
    }
}

/// What follows the norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `min(max(z, 0), 6)`.
    Relu6,
    /// Nothing (a linear bottleneck).
    Linear,
}

/// Where a layer's input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The image; only the first layer.
    Image,
    /// The final output of this layer; the layer just before.
    Layer(usize),
}

/// One fused layer: convolution, batch norm, activation, quantizers, residual.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// For messages.
    pub name: String,
    /// Kind, kernel, stride.
    pub convolution: Convolution,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Height and width of the input.
    pub input_size: usize,
    /// The weights.
    pub weight: WeightView,
    /// Depthwise only: how a smaller kernel is made of the stored one.
    pub kernel_transform: Option<KernelTransform>,
    /// Fake quantization of the weights.
    pub weight_quantizer: Option<WeightQuantizer>,
    /// Offset of the batch-norm factors, one per output channel.
    pub gamma_offset: usize,
    /// Offset of the batch-norm shifts, one per output channel.
    pub beta_offset: usize,
    /// What follows the norm.
    pub activation: Activation,
    /// Where the input comes from.
    pub input: Source,
    /// Applied when this layer loads its input.
    pub input_quantizer: Option<ActivationQuantizer>,
    /// Linear layers only: after the norm, before the residual.
    pub output_quantizer: Option<ActivationQuantizer>,
    /// Linear layers only: the Linear layer whose final output is added.
    pub residual: Option<usize>,
    /// Linear layers only: after the residual (or after `output_quantizer` when there is none).
    pub sum_quantizer: Option<ActivationQuantizer>,
}

impl Layer {
    /// Height and width of the output: `ceil(input / stride)`.
    pub fn output_size(&self) -> usize {
        self.input_size.div_ceil(self.convolution.stride().max(1))
    }

    /// Kernel size of the stored weights.
    pub fn stored_kernel(&self) -> usize {
        self.kernel_transform.as_ref().map_or(self.convolution.kernel(), |transform| transform.stored)
    }

    /// Rows of the stored weight matrix.
    pub fn weight_rows(&self) -> usize {
        match self.convolution {
            Convolution::Dense { kernel, .. } => kernel * kernel * self.in_channels,
            Convolution::Pointwise => self.in_channels,
            Convolution::Depthwise { .. } => self.stored_kernel() * self.stored_kernel(),
        }
    }

    /// Multiply-accumulates for one image.
    pub fn multiply_accumulates(&self) -> usize {
        let taps = self.convolution.kernel().pow(2);
        let per_output = match self.convolution {
            Convolution::Depthwise { .. } => taps,
            _ => taps * self.in_channels,
        };
        self.output_size().pow(2) * self.out_channels * per_output
    }
}

/// Global average pool and linear classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Index of the last layer.
    pub input: usize,
    /// Its channels.
    pub features: usize,
    /// Classes.
    pub classes: usize,
    /// `[features] × [classes]`.
    pub weight: WeightView,
    /// Offset of the bias, one per class.
    pub bias_offset: usize,
    /// On the last layer's activations, before pooling.
    pub input_quantizer: Option<ActivationQuantizer>,
    /// On the pooled features.
    pub pooled_quantizer: Option<ActivationQuantizer>,
    /// On the weights; thresholds per class.
    pub weight_quantizer: Option<WeightQuantizer>,
}

/// A network: a chain of layers with residual connections, and a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Height and width of the images.
    pub image_size: usize,
    /// Channels of the images.
    pub image_channels: usize,
    /// The layers; layer i reads layer i-1, layer 0 the image.
    pub layers: Vec<Layer>,
    /// The head.
    pub head: Head,
}

impl Network {
    /// Elements of one image.
    pub fn image_length(&self) -> usize {
        self.image_size * self.image_size * self.image_channels
    }
}

/// Batch-norm statistics of one layer, one entry per output channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NormStatistics {
    /// Mean of the convolution output.
    pub mean: Vec<f32>,
    /// Biased (population) variance of the convolution output.
    pub variance: Vec<f32>,
}

/// A place where an activation quantizer can sit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tap {
    /// What layer i loads, before its input quantizer.
    Input(usize),
    /// Linear layer i after the norm, before its output quantizer.
    Output(usize),
    /// Linear layer i after the residual, before its sum quantizer.
    Sum(usize),
    /// What the head pools, before its input quantizer.
    HeadInput,
    /// The pooled features, before their quantizer.
    Pooled,
}
