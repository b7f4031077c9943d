//! # What a block may choose
//!
//! Every choice is listed once, here; encoding, sampling, counting and cost tables all read these lists.

use crate::candidate::{Block, BlockBits};
use crate::specification::{BitsSpecification, Forbid, Group};

/// The architectures one searched block may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Options {
    /// Every kernel with every width.
    Grid {
        /// Kernel sides, ascending.
        kernels: Vec<usize>,
        /// Expanded channels, ascending.
        widths: Vec<usize>,
    },
    /// An explicit list.
    List(Vec<Block>),
}

impl Options {
    /// All blocks, kernels slowest.
    pub fn all(&self) -> Vec<Block> {
        match self {
            Self::Grid { kernels, widths } => kernels
                .iter()
                .flat_map(|&kernel| widths.iter().map(move |&width| Block { kernel, width }))
                .collect(),
            Self::List(blocks) => blocks.clone(),
        }
    }

    /// Number of distinct blocks.
    pub fn len(&self) -> usize {
        match self {
            Self::Grid { kernels, widths } => kernels.len() * widths.len(),
            Self::List(blocks) => blocks.len(),
        }
    }

    /// Whether nothing can be chosen; never true in a checked space.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The block at `index` in the order of [`all`](Self::all).
    pub fn get(&self, index: usize) -> Option<Block> {
        match self {
            Self::Grid { kernels, widths } => {
                let kernel = *kernels.get(index / widths.len())?;
                Some(Block { kernel, width: widths[index % widths.len()] })
            }
            Self::List(blocks) => blocks.get(index).copied(),
        }
    }

    /// Position of `block` in the order of [`all`](Self::all).
    pub fn position(&self, block: Block) -> Option<usize> {
        match self {
            Self::Grid { kernels, widths } => {
                let kernel = kernels.iter().position(|&kernel| kernel == block.kernel)?;
                let width = widths.iter().position(|&width| width == block.width)?;
                Some(kernel * widths.len() + width)
            }
            Self::List(blocks) => blocks.iter().position(|&other| other == block),
        }
    }

    /// The widest block with the largest kernel among the widest.
    pub fn largest(&self) -> Block {
        self.all().into_iter().max_by_key(|block| (block.width, block.kernel)).unwrap_or(NO_BLOCK)
    }

    /// The narrowest block with the smallest kernel among the narrowest.
    pub fn smallest(&self) -> Block {
        self.all().into_iter().min_by_key(|block| (block.width, block.kernel)).unwrap_or(NO_BLOCK)
    }

    /// The largest kernel on offer.
    pub fn max_kernel(&self) -> usize {
        self.all().iter().map(|block| block.kernel).max().unwrap_or(0)
    }

    /// The largest width on offer.
    pub fn max_width(&self) -> usize {
        self.all().iter().map(|block| block.width).max().unwrap_or(0)
    }
}

const NO_BLOCK: Block = Block { kernel: 0, width: 0 };

/// How many blocks of a stage are active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depth {
    /// The first `d` blocks, `d` from this ascending list.
    Prefix(Vec<usize>),
    /// Any block marked `skippable` may be skipped on its own.
    AnyBlock,
}

/// A run of blocks with one output width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Index of its first searched block.
    pub first_block: usize,
    /// Number of searched blocks.
    pub blocks: usize,
    /// Which of them may be inactive.
    pub depth: Depth,
}

impl Stage {
    /// Indices of the stage's searched blocks.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.first_block..self.first_block + self.blocks
    }
}

/// One searched block: its place and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChoices {
    /// Index of the stage.
    pub stage: usize,
    /// Position within the stage.
    pub position: usize,
    /// Input channels, the papers' B.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// Side of the input tensor in pixels.
    pub input_size: usize,
    /// What it may be.
    pub options: Options,
    /// Whether it may be skipped.
    pub skippable: bool,
}

impl BlockChoices {
    /// Whether the block's input is added to its output.
    pub fn residual(&self) -> bool {
        self.stride == 1 && self.in_channels == self.out_channels
    }
}

/// One bit-width choice and the fields of [`BlockBits`] that it sets (positions in
/// [`BlockBits::fields`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitSlot {
    /// Positions in [`BlockBits::fields`].
    pub fields: Vec<usize>,
    /// Widths on offer, ascending.
    pub choices: Vec<u8>,
}

/// The bit-widths on offer in every block.
#[derive(Debug, Clone)]
pub struct BitChoices {
    slots: Vec<BitSlot>,
    forbid: Vec<Forbid>,
    legal: Vec<(usize, Vec<BlockBits>)>,
}

impl BitChoices {
    pub(crate) fn new(specification: &BitsSpecification, kernels: &[usize]) -> Self {
        let mut choices =
            Self { slots: slots(specification), forbid: specification.forbid.clone(), legal: vec![] };
        let all = choices.combinations();
        choices.legal = kernels
            .iter()
            .map(|&kernel| {
                (kernel, all.iter().copied().filter(|bits| !choices.forbidden(kernel, bits)).collect())
            })
            .collect();
        choices
    }

    /// The independent choices of a block.
    pub fn slots(&self) -> &[BitSlot] {
        &self.slots
    }

    /// Every allowed combination for a block with this kernel.
    pub fn legal(&self, kernel: usize) -> &[BlockBits] {
        self.legal.iter().find(|(other, _)| *other == kernel).map_or(&[], |(_, legal)| legal)
    }

    /// The widest of everything: what a skipped block carries.
    pub fn widest(&self) -> BlockBits {
        let mut fields = [0; 4];
        for slot in &self.slots {
            slot.fields.iter().for_each(|&field| fields[field] = *slot.choices.last().unwrap_or(&8));
        }
        BlockBits::from_fields(fields)
    }

    /// The allowed combination nearest to `wanted` (sum of absolute differences, wider first on a tie).
    pub fn nearest(&self, kernel: usize, wanted: BlockBits) -> Option<BlockBits> {
        let distance = |bits: &BlockBits| -> (u32, std::cmp::Reverse<u32>) {
            let pairs = bits.fields().into_iter().zip(wanted.fields());
            let sum = bits.fields().iter().map(|&bits| u32::from(bits)).sum();
            (pairs.map(|(a, b)| u32::from(a.abs_diff(b))).sum(), std::cmp::Reverse(sum))
        };
        self.legal(kernel).iter().copied().min_by_key(distance)
    }

    fn combinations(&self) -> Vec<BlockBits> {
        let mut all = vec![[0u8; 4]];
        for slot in &self.slots {
            let widen = |fields: &[u8; 4], &bits: &u8| {
                let mut fields = *fields;
                slot.fields.iter().for_each(|&field| fields[field] = bits);
                fields
            };
            all = all
                .iter()
                .flat_map(|fields| slot.choices.iter().map(move |bits| widen(fields, bits)))
                .collect();
        }
        all.into_iter().map(BlockBits::from_fields).collect()
    }

    fn forbidden(&self, kernel: usize, bits: &BlockBits) -> bool {
        self.forbid.iter().any(|rule| {
            let matches = |wanted: Option<u8>, got: u8| wanted.is_none_or(|wanted| wanted == got);
            rule.kernel.is_none_or(|wanted| wanted == kernel)
                && matches(rule.pointwise_weight_bits, bits.pointwise_weight)
                && matches(rule.pointwise_activation_bits, bits.pointwise_activation)
                && matches(rule.depthwise_weight_bits, bits.depthwise_weight)
                && matches(rule.depthwise_activation_bits, bits.depthwise_activation)
        })
    }
}

/// Field positions (see [`BlockBits::fields`]) that share one choice, by grouping and tying.
fn slots(specification: &BitsSpecification) -> Vec<BitSlot> {
    let weights = || specification.weights.clone();
    let activations = || specification.activations.clone();
    let slot = |fields: &[usize], choices| BitSlot { fields: fields.to_vec(), choices };
    match (specification.groups.contains(&Group::All), specification.tied) {
        (false, false) => vec![
            slot(&[0], weights()),
            slot(&[1], activations()),
            slot(&[2], weights()),
            slot(&[3], activations()),
        ],
        (false, true) => vec![slot(&[0, 1], weights()), slot(&[2, 3], weights())],
        (true, false) => vec![slot(&[0, 2], weights()), slot(&[1, 3], activations())],
        (true, true) => vec![slot(&[0, 1, 2, 3], weights())],
    }
}
