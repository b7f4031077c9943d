//! # Freedom: which values are open, and random subnets among them

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use sartor_space::{Block, Depth, Options, SearchSpace, Stage, Subnet};

use super::{Open, Phase};
use crate::parameters::{block_kernels, widths};

/// How many of each dimension's values are open, counted from the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freedom {
    /// Kernels of a block.
    pub kernels: usize,
    /// Depths of a stage.
    pub depths: usize,
    /// Widths of a block.
    pub widths: usize,
}

impl Default for Freedom {
    fn default() -> Self {
        Self { kernels: 1, depths: 1, widths: 1 }
    }
}

impl Freedom {
    pub(super) fn after(mut self, phase: &Phase) -> Self {
        let values = phase.values.unwrap_or(usize::MAX);
        match phase.open {
            Open::Largest => {}
            Open::Kernel => self.kernels = self.kernels.max(values),
            Open::Depth => self.depths = self.depths.max(values),
            Open::Width => self.widths = self.widths.max(values),
        }
        self
    }

    /// A random subnet among those that are open.
    pub fn random_subnet(&self, space: &SearchSpace, rng: &mut ChaCha8Rng) -> Subnet {
        let mut blocks = vec![None; space.blocks().len()];
        for stage in space.stages() {
            for (index, active) in stage.range().zip(self.random_activity(space, stage, rng)) {
                blocks[index] = active.then(|| self.random_block(space, index, rng));
            }
        }
        Subnet { blocks }
    }

    fn random_activity(&self, space: &SearchSpace, stage: &Stage, rng: &mut ChaCha8Rng) -> Vec<bool> {
        match &stage.depth {
            Depth::Prefix(depths) => {
                let open = &depths[depths.len().saturating_sub(self.depths)..];
                let depth = open.choose(rng).copied().unwrap_or(stage.blocks);
                (0..stage.blocks).map(|position| position < depth).collect()
            }
            Depth::AnyBlock => {
                let mut left = self.depths - 1;
                let mut keep = |index| {
                    let skip = left > 0 && may_skip(space, index, rng);
                    left -= usize::from(skip);
                    !skip
                };
                stage.range().map(&mut keep).collect()
            }
        }
    }

    fn random_block(&self, space: &SearchSpace, index: usize, rng: &mut ChaCha8Rng) -> Block {
        let options = &space.blocks()[index].options;
        let (kernels, widths) = (block_kernels(space, index), widths(space, index));
        let open_kernels = &kernels[..self.kernels.min(kernels.len())];
        let open_widths = &widths[..self.widths.min(widths.len())];
        let is_open =
            |block: &Block| open_kernels.contains(&block.kernel) && open_widths.contains(&block.width);
        let open: Vec<Block> = match options {
            Options::Grid { .. } => return grid_block(open_kernels, open_widths, rng),
            Options::List(blocks) => blocks.iter().copied().filter(is_open).collect(),
        };
        open.choose(rng).copied().unwrap_or_else(|| options.largest())
    }
}

fn grid_block(kernels: &[usize], widths: &[usize], rng: &mut ChaCha8Rng) -> Block {
    let draw = |values: &[usize], rng: &mut ChaCha8Rng| values[rng.random_range(0..values.len())];
    Block { kernel: draw(kernels, rng), width: draw(widths, rng) }
}

/// Skipping counts as one option beside the block's others.
fn may_skip(space: &SearchSpace, index: usize, rng: &mut ChaCha8Rng) -> bool {
    let block = &space.blocks()[index];
    block.skippable && rng.random_range(0..=block.options.len()) == 0
}
