//! # Candidates: a subnet and, perhaps, a quantization policy
//!
//! Plain data. What is allowed is decided by a [`SearchSpace`](crate::SearchSpace), which also makes, checks
//! and lowers candidates.

/// One active inverted-bottleneck block: expand 1×1 → depthwise k×k → project 1×1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Block {
    /// Side of the depthwise kernel: 3, 5 or 7.
    pub kernel: usize,
    /// Channels after the expansion.
    pub width: usize,
}

/// An architecture without weights: one entry per searched block, `None` where the block is skipped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    /// Searched blocks in execution order.
    pub blocks: Vec<Option<Block>>,
}

/// Bit-widths of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockBits {
    /// Weights of both 1×1 convolutions.
    pub pointwise_weight: u8,
    /// Inputs of both 1×1 convolutions.
    pub pointwise_activation: u8,
    /// Weights of the depthwise convolution.
    pub depthwise_weight: u8,
    /// Input of the depthwise convolution.
    pub depthwise_activation: u8,
}

impl BlockBits {
    /// The same width for all four fields.
    pub fn uniform(bits: u8) -> Self {
        Self {
            pointwise_weight: bits,
            pointwise_activation: bits,
            depthwise_weight: bits,
            depthwise_activation: bits,
        }
    }

    /// The four widths in encoding order: pointwise weight, pointwise activation, depthwise weight, depthwise
    /// activation.
    pub fn fields(&self) -> [u8; 4] {
        [self.pointwise_weight, self.pointwise_activation, self.depthwise_weight, self.depthwise_activation]
    }

    /// Inverse of [`fields`](Self::fields).
    pub fn from_fields(fields: [u8; 4]) -> Self {
        let [pointwise_weight, pointwise_activation, depthwise_weight, depthwise_activation] = fields;
        Self { pointwise_weight, pointwise_activation, depthwise_weight, depthwise_activation }
    }
}

/// Bit-widths of every searched block; a skipped block carries the widest widths, so that equal networks are
/// equal values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuantPolicy {
    /// One entry per searched block.
    pub blocks: Vec<BlockBits>,
}

/// A subnet with its quantization policy; `None` means full precision (32-bit floats).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate {
    /// The architecture.
    pub subnet: Subnet,
    /// The bit-widths, or `None` for full precision.
    pub policy: Option<QuantPolicy>,
}

impl Subnet {
    /// Indices of the active blocks, in execution order.
    pub fn active(&self) -> impl Iterator<Item = (usize, Block)> + '_ {
        self.blocks.iter().enumerate().filter_map(|(index, block)| block.map(|block| (index, block)))
    }
}
