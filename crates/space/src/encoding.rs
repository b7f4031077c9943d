//! # One-hot encoding
//!
//! EMS/APQ, section 4: per block one-hot kernel and width (an explicit option list: one-hot option), then per
//! block and bit choice a one-hot width. A skipped block is all zeros. Space `apq` has 520 architecture features
//! and 252 policy features, 772 together.

use crate::candidate::{Block, BlockBits, Candidate, QuantPolicy, Subnet};
use crate::choices::{BitChoices, BitSlot, BlockChoices, Options};

/// Where each choice of each block stands in the feature vector.
#[derive(Debug, Clone)]
pub struct Encoding {
    options: Vec<Options>,
    offsets: Vec<usize>,
    architecture_len: usize,
    slots: Vec<BitSlot>,
    widest: BlockBits,
}

impl Encoding {
    pub(crate) fn new(blocks: &[BlockChoices], bits: Option<&BitChoices>) -> Self {
        let options: Vec<Options> = blocks.iter().map(|block| block.options.clone()).collect();
        let mut offsets = vec![];
        let mut architecture_len = 0;
        for option in &options {
            offsets.push(architecture_len);
            architecture_len += features(option);
        }
        let slots = bits.map_or(vec![], |bits| bits.slots().to_vec());
        let widest = bits.map_or(BlockBits::uniform(32), BitChoices::widest);
        Self { options, offsets, architecture_len, slots, widest }
    }

    /// Number of architecture features.
    pub fn architecture_len(&self) -> usize {
        self.architecture_len
    }

    /// Number of policy features; 0 if the space is full precision only.
    pub fn policy_len(&self) -> usize {
        self.policy_block_len() * self.options.len()
    }

    /// Number of searched blocks.
    pub fn blocks(&self) -> usize {
        self.options.len()
    }

    /// Range of the architecture features of one block.
    pub fn block_range(&self, block: usize) -> std::ops::Range<usize> {
        self.offsets[block]..self.offsets[block] + features(&self.options[block])
    }

    /// Range of the policy features of one block, counted from the end of the architecture features.
    pub fn policy_range(&self, block: usize) -> std::ops::Range<usize> {
        let len = self.policy_block_len();
        block * len..(block + 1) * len
    }

    fn policy_block_len(&self) -> usize {
        self.slots.iter().map(|slot| slot.choices.len()).sum()
    }

    /// Positions of the ones of one block's architecture.
    pub fn block_features(&self, block: usize, choice: Block) -> impl Iterator<Item = u32> {
        let offset = self.offsets[block];
        let (first, second) = match &self.options[block] {
            Options::Grid { kernels, widths } => (
                kernels.iter().position(|&kernel| kernel == choice.kernel),
                widths.iter().position(|&width| width == choice.width).map(|p| p + kernels.len()),
            ),
            list @ Options::List(_) => (list.position(choice), None),
        };
        first.into_iter().chain(second).map(move |position| (offset + position) as u32)
    }

    /// Positions of the ones of one block's bits, counted from the end of the architecture features.
    pub fn bit_features(&self, block: usize, bits: BlockBits) -> impl Iterator<Item = u32> + '_ {
        let mut offset = self.policy_range(block).start;
        self.slots.iter().filter_map(move |slot| {
            let start = offset;
            offset += slot.choices.len();
            let width = bits.fields()[slot.fields[0]];
            slot.choices.iter().position(|&choice| choice == width).map(|position| (start + position) as u32)
        })
    }

    /// Positions of all ones: architecture first, then policy (shifted by
    /// [`architecture_len`](Self::architecture_len)).
    pub fn active_features(&self, candidate: &Candidate) -> Vec<u32> {
        // Two for kernel and width, one for each bit-width.
        let mut active = Vec::with_capacity((2 + self.slots.len()) * candidate.subnet.blocks.len());
        for (index, block) in candidate.subnet.active() {
            active.extend(self.block_features(index, block));
        }
        if let Some(policy) = &candidate.policy {
            let shift = self.architecture_len as u32;
            for (index, _) in candidate.subnet.active() {
                active.extend(self.bit_features(index, policy.blocks[index]).map(|feature| feature + shift));
            }
        }
        active
    }

    /// Writes the architecture features; `out` has [`architecture_len`](Self::architecture_len) elements.
    pub fn encode_subnet(&self, subnet: &Subnet, out: &mut [f32]) {
        out.fill(0.0);
        for (index, block) in subnet.active() {
            self.block_features(index, block).for_each(|feature| out[feature as usize] = 1.0);
        }
    }

    /// Writes the policy features; `out` has [`policy_len`](Self::policy_len) elements.
    pub fn encode_policy(&self, subnet: &Subnet, policy: &QuantPolicy, out: &mut [f32]) {
        out.fill(0.0);
        for (index, _) in subnet.active() {
            self.bit_features(index, policy.blocks[index]).for_each(|feature| out[feature as usize] = 1.0);
        }
    }

    /// Reads back what [`encode_subnet`](Self::encode_subnet) and [`encode_policy`](Self::encode_policy) wrote;
    /// `None` if a block is not one-hot.
    pub fn decode(&self, architecture: &[f32], policy: Option<&[f32]>) -> Option<Candidate> {
        let blocks = (0..self.options.len()).map(|index| self.decode_block(index, architecture));
        let subnet = Subnet { blocks: blocks.collect::<Option<_>>()? };
        let bits = |policy: &[f32]| -> Option<QuantPolicy> {
            let bits = subnet.blocks.iter().enumerate().map(|(index, block)| match block {
                Some(_) => self.decode_bits(&policy[self.policy_range(index)]),
                None => Some(self.widest),
            });
            Some(QuantPolicy { blocks: bits.collect::<Option<_>>()? })
        };
        let policy = match policy {
            Some(policy) => Some(bits(policy)?),
            None => None,
        };
        Some(Candidate { subnet, policy })
    }

    fn decode_block(&self, index: usize, architecture: &[f32]) -> Option<Option<Block>> {
        let features = &architecture[self.block_range(index)];
        if features.iter().all(|&feature| feature == 0.0) {
            return Some(None);
        }
        match &self.options[index] {
            Options::Grid { kernels, widths } => {
                let (kernel, width) = features.split_at(kernels.len());
                Some(Some(Block { kernel: kernels[one_hot(kernel)?], width: widths[one_hot(width)?] }))
            }
            Options::List(blocks) => Some(Some(blocks[one_hot(features)?])),
        }
    }

    fn decode_bits(&self, features: &[f32]) -> Option<BlockBits> {
        let mut fields = [0; 4];
        let mut rest = features;
        for slot in &self.slots {
            let (mine, others) = rest.split_at(slot.choices.len());
            let width = slot.choices[one_hot(mine)?];
            slot.fields.iter().for_each(|&field| fields[field] = width);
            rest = others;
        }
        Some(BlockBits::from_fields(fields))
    }
}

fn features(options: &Options) -> usize {
    match options {
        Options::Grid { kernels, widths } => kernels.len() + widths.len(),
        Options::List(blocks) => blocks.len(),
    }
}

fn one_hot(features: &[f32]) -> Option<usize> {
    let mut ones = features.iter().enumerate().filter(|(_, feature)| **feature != 0.0);
    let (position, _) = ones.next()?;
    ones.next().is_none().then_some(position)
}
