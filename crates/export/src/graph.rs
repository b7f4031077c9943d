//! # Quantized network: the integer graph
//!
//! Tensors hold integers `q` with `real = (q - zero_point) * scale`, `low ≤ q ≤ high`; operations read and write
//! tensors by index, in execution order. Every exporter and the reference executor walk this one list, so what is
//! written to a file and what is simulated cannot drift apart.
//!
//! The only zero point that is not 0 is the image's: pixels are stored as they come.

use sartor_space::LayerKind;

/// How the integers of a tensor stand for real numbers.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quantizer {
    /// Nominal width; the range may be narrower (symmetric, or a ReLU6 that ends before the last level).
    pub bits: u8,
    /// Whether negative values are kept.
    pub signed: bool,
    /// Real value of one step.
    pub scale: f32,
    /// The integer that stands for 0.
    pub zero_point: i32,
    /// Smallest integer.
    pub low: i32,
    /// Largest integer.
    pub high: i32,
}

impl Quantizer {
    /// Pixels: 0 to 255 around a zero point.
    pub fn image(zero_point: u8, scale: f32) -> Self {
        Self { bits: 8, signed: false, scale, zero_point: zero_point.into(), low: 0, high: 255 }
    }

    /// `[0, range]` in `2^bits - 1` steps.
    pub fn unsigned(bits: u8, range: f32) -> Self {
        let high = (1 << bits) - 1;
        Self { bits, signed: false, scale: range / high as f32, zero_point: 0, low: 0, high }
    }

    /// `[0, range]`, cut at `ceiling` where the range reaches beyond it (ReLU6 after a range above 6).
    pub fn unsigned_below(bits: u8, range: f32, ceiling: f32) -> Self {
        Self::unsigned(bits, range).below(ceiling)
    }

    /// The same steps, none of them above `ceiling`.
    pub fn below(self, ceiling: f32) -> Self {
        let last = (ceiling / self.scale).round_ties_even();
        Self { high: self.high.min(last as i32).max(1), ..self }
    }

    /// `[-range, range]` in `2^(bits-1) - 1` steps on either side of 0.
    pub fn signed(bits: u8, range: f32) -> Self {
        let high = (1 << (bits - 1)) - 1;
        Self { bits, signed: true, scale: range / high as f32, zero_point: 0, low: -high, high }
    }

    /// All of int8 for `[-range, range]` and one step below.
    pub fn int8(range: f32) -> Self {
        Self { low: -128, ..Self::signed(8, range) }
    }

    /// Real value of an integer.
    pub fn dequantize(&self, integer: i32) -> f32 {
        (integer - self.zero_point) as f32 * self.scale
    }

    /// Whether the range is all that an 8-bit container holds, so that storing saturates as wanted.
    pub fn fills_container(&self) -> bool {
        let container = if self.signed { (-128, 127) } else { (0, 255) };
        (self.low, self.high) == container
    }
}

/// Index of a tensor in [`QuantizedNetwork::tensors`].
pub type TensorId = usize;

/// A stored activation: square, NHWC, one image.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Tensor {
    /// Unique; the layer that writes it and what it is, such as `stage1.block0.project/sum`.
    pub name: String,
    /// Height and width.
    pub size: usize,
    /// Channels.
    pub channels: usize,
    /// What its integers mean.
    pub quantizer: Quantizer,
}

impl Tensor {
    /// Number of elements of one image.
    pub fn len(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Integer weights with what scales and shifts their sums.
///
/// `sum = (Σ x·w << bias_shift) + bias`, `real = sum * (input scale * sum_scale(channel))`.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// Width they were quantized to; values are symmetric, at most `2^(bits-1) - 1`.
    pub bits: u8,
    /// Rows × output channels, row-major; rows are (kernel row, kernel column, input channel), without the last for
    /// a depthwise convolution.
    pub values: Vec<i8>,
    /// Per output channel, with batch norm folded in.
    pub scales: Vec<f32>,
    /// Sums of products are shifted left by this much before the bias is added: steps of narrow weights are too
    /// coarse for it.
    pub bias_shift: u32,
    /// Per output channel, in steps of `input scale * sum_scale(channel)`.
    pub bias: Vec<i32>,
    /// Threshold per output channel, before folding (for the record).
    pub thresholds: Vec<f32>,
}

impl Weights {
    /// Whether the values fit four bits.
    pub fn fit_nibbles(&self) -> bool {
        self.bits <= 4
    }

    fn make_bias_plain(&mut self) {
        if !self.fit_nibbles() {
            return;
        }
        let fineness = f64::from(1u32 << self.bias_shift);
        self.bias.iter_mut().for_each(|bias| *bias = (f64::from(*bias) / fineness).round_ties_even() as i32);
        self.bias_shift = 0;
    }

    /// Real value of one step of a channel's shifted sum, over the input's scale; exact, a power of two apart.
    pub fn sum_scale(&self, channel: usize) -> f32 {
        self.scales[channel] / (1u32 << self.bias_shift) as f32
    }

    /// [`sum_scale`](Self::sum_scale) of every channel.
    pub fn sum_scales(&self) -> Vec<f32> {
        (0..self.scales.len()).map(|channel| self.sum_scale(channel)).collect()
    }
}

/// A convolution with its requantization.
#[derive(Debug, Clone, PartialEq)]
pub struct Convolution {
    /// The layer's name.
    pub name: String,
    /// Dense, pointwise or depthwise.
    pub kind: LayerKind,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding on every side, with real 0.
    pub padding: usize,
    /// Its weights.
    pub weights: Weights,
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
}

/// The last layer: features to one sum per class, whose real values are the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    /// The layer's name.
    pub name: String,
    /// `[features, classes]`.
    pub weights: Weights,
    /// Read.
    pub input: TensorId,
}

/// One step of the network.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Convolution, bias, requantization and clamping (ReLU6 is a clamp).
    Convolution(Convolution),
    /// The same real numbers in another quantizer.
    Requantize {
        /// The consumer that needs it.
        name: String,
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
    },
    /// Element by element, requantized.
    Add {
        /// The layer that ends the residual.
        name: String,
        /// Read: the block's own output.
        left: TensorId,
        /// Read: the block's input.
        right: TensorId,
        /// Written.
        output: TensorId,
    },
    /// Largest integer of every window; input and output have one quantizer.
    MaxPool {
        /// Name of the step.
        name: String,
        /// Side of the window.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Padding above and on the left, which never wins.
        padding: usize,
        /// Padding below and on the right, which never wins either.
        padding_after: usize,
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
    },
    /// Mean over all pixels, requantized.
    Pool {
        /// Name of the step.
        name: String,
        /// Read.
        input: TensorId,
        /// Written.
        output: TensorId,
    },
}

impl Operation {
    /// The layer it belongs to.
    pub fn name(&self) -> &str {
        match self {
            Self::Convolution(convolution) => &convolution.name,
            Self::Requantize { name, .. }
            | Self::Add { name, .. }
            | Self::MaxPool { name, .. }
            | Self::Pool { name, .. } => name,
        }
    }
}

/// A checked integer network: uint8 pixels in, one int32 sum per class out.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedNetwork {
    /// Tensor 0 is the image.
    pub tensors: Vec<Tensor>,
    /// In execution order.
    pub operations: Vec<Operation>,
    /// What follows the last operation.
    pub classifier: Classifier,
}

impl QuantizedNetwork {
    /// The image: size, channels, pixel quantizer.
    pub fn image(&self) -> &Tensor {
        &self.tensors[0]
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classifier.weights.scales.len()
    }

    /// Real value of one step of each class's sum.
    pub fn logit_steps(&self) -> impl Iterator<Item = f32> + '_ {
        let input = self.tensors[self.classifier.input].quantizer.scale;
        self.classifier.weights.sum_scales().into_iter().map(move |scale| input * scale)
    }

    /// The same network with the biases of layers of up to 4-bit weights in whole steps of their products, as formats
    /// need that store such weights truly: their bias has the step of the products and nothing finer.
    pub fn with_plain_biases(&self) -> Self {
        let mut network = self.clone();
        for operation in &mut network.operations {
            if let Operation::Convolution(layer) = operation {
                layer.weights.make_bias_plain();
            }
        }
        network.classifier.weights.make_bias_plain();
        network
    }

    /// The convolutions in order.
    pub fn convolutions(&self) -> impl Iterator<Item = &Convolution> {
        self.operations.iter().filter_map(|operation| match operation {
            Operation::Convolution(convolution) => Some(convolution),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizers_have_the_papers_levels() {
        struct Case {
            quantizer: Quantizer,
            low: i32,
            high: i32,
            scale: f32,
        }
        for case in [
            Case { quantizer: Quantizer::unsigned(8, 5.1), low: 0, high: 255, scale: 5.1 / 255.0 },
            Case { quantizer: Quantizer::unsigned(2, 6.0), low: 0, high: 3, scale: 2.0 },
            Case { quantizer: Quantizer::signed(8, 12.7), low: -127, high: 127, scale: 12.7 / 127.0 },
            Case { quantizer: Quantizer::signed(4, 7.0), low: -7, high: 7, scale: 1.0 },
            Case { quantizer: Quantizer::signed(2, 3.0), low: -1, high: 1, scale: 3.0 },
            Case { quantizer: Quantizer::unsigned_below(4, 7.5, 6.0), low: 0, high: 12, scale: 0.5 },
            Case { quantizer: Quantizer::unsigned_below(4, 6.0, 6.0), low: 0, high: 15, scale: 0.4 },
        ] {
            let got = case.quantizer;
            assert_eq!((got.low, got.high, got.scale), (case.low, case.high, case.scale), "{got:?}");
        }
    }

    #[test]
    fn only_full_eight_bit_ranges_fill_a_container() {
        assert!(Quantizer::unsigned(8, 6.0).fills_container());
        assert!(!Quantizer::unsigned(6, 6.0).fills_container());
        assert!(!Quantizer::signed(8, 6.0).fills_container());
    }
}
