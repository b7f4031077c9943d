//! # Workload: the concrete layers a candidate lowers to
//!
//! Shapes and bit-widths only; cost models, the supernet and the exporter all read the same list.
//!
//! BitOps are MACs × weight bits × activation bits (EMS, section 5: MobileNetV2 at 8 bits is 19.2 G).
//! Size is weights at their bit-width plus, per output channel, a 32-bit scale and a 32-bit bias.
//! Peak activation memory is the largest sum of live tensors (input, output and a waiting residual) under the
//! execution order.

/// What a layer is for; `block` is the index of the searched block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// First dense convolution on the image.
    Stem,
    /// Depthwise convolution of the fixed separable block after the stem.
    StemDepthwise,
    /// Linear 1×1 convolution of the fixed separable block.
    StemProject,
    /// 1×1 convolution that widens a block's input.
    Expand {
        /// Searched block index.
        block: usize,
    },
    /// Depthwise convolution of a block.
    Depthwise {
        /// Searched block index.
        block: usize,
    },
    /// Linear 1×1 convolution that narrows back.
    Project {
        /// Searched block index.
        block: usize,
    },
    /// Last 1×1 convolution before the pool.
    Head,
    /// Fully connected layer on the pooled features.
    Classifier,
    /// A layer of a fixed network that is not built from searched blocks.
    Other,
}

/// The arithmetic of a layer, as cost models tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerKind {
    /// k×k convolution over all channels.
    Dense,
    /// 1×1 convolution.
    Pointwise,
    /// One filter per channel.
    Depthwise,
    /// Fully connected.
    Linear,
}

/// One layer: shapes, bits and what surrounds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layer {
    /// Unique within a workload: `stem`, `stem.depthwise`, `stage2.block1.expand`, `head`, `classifier`, …
    pub name: String,
    /// What the layer is for.
    pub role: Role,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the square input, in pixels.
    pub input_size: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
    /// Channel groups; equal to `in_channels` for a depthwise convolution.
    pub groups: usize,
    /// Bits of a weight; 32 is floating point.
    pub weight_bits: u8,
    /// Bits of an input activation; 32 is floating point.
    pub activation_bits: u8,
    /// Whether the input can be negative (it comes from a linear layer).
    pub signed_input: bool,
    /// Whether ReLU6 follows.
    pub relu: bool,
    /// Whether the block's input is added to the output.
    pub residual: bool,
    /// Whether this is the network's input layer.
    pub first: bool,
}

impl Layer {
    /// The kind of arithmetic.
    pub fn kind(&self) -> LayerKind {
        match (self.role, self.groups, self.kernel) {
            (Role::Classifier, ..) => LayerKind::Linear,
            (_, groups, _) if groups > 1 && groups == self.in_channels => LayerKind::Depthwise,
            (_, 1, 1) => LayerKind::Pointwise,
            _ => LayerKind::Dense,
        }
    }

    /// Side of the square output, in pixels.
    pub fn output_size(&self) -> usize {
        (self.input_size + 2 * self.padding).saturating_sub(self.kernel) / self.stride.max(1) + 1
    }

    /// Multiply-accumulates for one image.
    pub fn macs(&self) -> u64 {
        self.weights() * (self.output_size() * self.output_size()) as u64
    }

    /// Number of weights, without normalisation or bias.
    pub fn weights(&self) -> u64 {
        (self.out_channels * self.in_channels / self.groups.max(1)) as u64
            * (self.kernel * self.kernel) as u64
    }

    /// Weights plus what is left of normalisation after folding: one bias per output channel.
    pub fn parameters(&self) -> u64 {
        self.weights() + self.out_channels as u64
    }

    /// MACs × weight bits × activation bits.
    pub fn bitops(&self) -> u64 {
        self.macs() * u64::from(self.weight_bits) * u64::from(self.activation_bits)
    }

    /// Stored size: weights at their bit-width, a 32-bit bias per channel and, when quantized, a 32-bit scale.
    pub fn size_bits(&self) -> u64 {
        let per_channel = if self.weight_bits < 32 { 64 } else { 32 };
        self.weights() * u64::from(self.weight_bits) + self.out_channels as u64 * per_channel
    }

    /// Elements of the input tensor of one image.
    pub fn input_elements(&self) -> u64 {
        (self.in_channels * self.input_size * self.input_size) as u64
    }

    /// Elements of the output tensor of one image.
    pub fn output_elements(&self) -> u64 {
        (self.out_channels * self.output_size() * self.output_size()) as u64
    }
}

/// The layers of a candidate in execution order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Workload {
    /// Execution order.
    pub layers: Vec<Layer>,
}

impl Workload {
    /// Multiply-accumulates for one image.
    pub fn macs(&self) -> u64 {
        self.layers.iter().map(Layer::macs).sum()
    }

    /// Weights and biases.
    pub fn parameters(&self) -> u64 {
        self.layers.iter().map(Layer::parameters).sum()
    }

    /// Σ MACs × weight bits × activation bits.
    pub fn bitops(&self) -> u64 {
        self.layers.iter().map(Layer::bitops).sum()
    }

    /// Stored size in bytes, rounded up per layer.
    pub fn size_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size_bits().div_ceil(8)).sum()
    }

    /// Largest sum of live activation tensors in bytes, batch 1.
    ///
    /// A tensor is stored at the width its consumer reads, the stream between blocks at 8 bits (32 in full
    /// precision) because residual additions read it too.
    pub fn peak_activation_bytes(&self) -> u64 {
        let mut waiting = 0;
        let mut peak = 0;
        for (index, layer) in self.layers.iter().enumerate() {
            if let Role::Expand { block } = layer.role {
                waiting = if self.has_residual(block) { self.input_bytes(index) } else { 0 };
            }
            let held = if matches!(layer.role, Role::Expand { .. }) { 0 } else { waiting };
            peak = peak.max(self.input_bytes(index) + self.output_bytes(index) + held);
            if matches!(layer.role, Role::Project { .. }) {
                waiting = 0;
            }
        }
        peak
    }

    fn has_residual(&self, block: usize) -> bool {
        self.layers.iter().any(|layer| layer.role == (Role::Project { block }) && layer.residual)
    }

    fn input_bytes(&self, index: usize) -> u64 {
        let layer = &self.layers[index];
        let bits = if layer.signed_input { layer.activation_bits.max(8) } else { layer.activation_bits };
        (layer.input_elements() * u64::from(bits)).div_ceil(8)
    }

    fn output_bytes(&self, index: usize) -> u64 {
        let layer = &self.layers[index];
        let bits = match self.layers.get(index + 1) {
            Some(next) if layer.relu => next.activation_bits,
            _ if layer.weight_bits == 32 => 32,
            _ => 8,
        };
        (layer.output_elements() * u64::from(bits)).div_ceil(8)
    }
}
