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

    /// The smallest subnet among those that are open: as few blocks as may be, each as narrow and with as small a kernel.
    pub fn smallest_subnet(&self, space: &SearchSpace) -> Subnet {
        let mut blocks = vec![None; space.blocks().len()];
        for stage in space.stages() {
            for (index, active) in stage.range().zip(self.least_activity(space, stage)) {
                blocks[index] = active.then(|| self.smallest_block(space, index));
            }
        }
        Subnet { blocks }
    }

    fn least_activity(&self, space: &SearchSpace, stage: &Stage) -> Vec<bool> {
        match &stage.depth {
            Depth::Prefix(depths) => prefix(stage, self.open_depths(depths).first()),
            Depth::AnyBlock => self.without(stage, |index| space.blocks()[index].skippable),
        }
    }

    fn smallest_block(&self, space: &SearchSpace, index: usize) -> Block {
        let open = self.open_blocks(space, index);
        let least = open.iter().min_by_key(|block| (block.width, block.kernel));
        least.copied().unwrap_or_else(|| space.blocks()[index].options.largest())
    }

    fn random_activity(&self, space: &SearchSpace, stage: &Stage, rng: &mut ChaCha8Rng) -> Vec<bool> {
        match &stage.depth {
            Depth::Prefix(depths) => prefix(stage, self.open_depths(depths).choose(rng)),
            Depth::AnyBlock => self.without(stage, |index| may_skip(space, index, rng)),
        }
    }

    /// Ascending, like all of them.
    fn open_depths<'d>(&self, depths: &'d [usize]) -> &'d [usize] {
        &depths[depths.len().saturating_sub(self.depths)..]
    }

    /// All blocks but those that `skip` wants gone, as many as may go.
    fn without(&self, stage: &Stage, mut skip: impl FnMut(usize) -> bool) -> Vec<bool> {
        let mut left = self.depths - 1;
        let mut keep = |index| {
            let skip = left > 0 && skip(index);
            left -= usize::from(skip);
            !skip
        };
        stage.range().map(&mut keep).collect()
    }

    fn random_block(&self, space: &SearchSpace, index: usize, rng: &mut ChaCha8Rng) -> Block {
        let options = &space.blocks()[index].options;
        if let Options::Grid { .. } = options {
            let (kernels, widths) = (block_kernels(space, index), widths(space, index));
            return grid_block(first(&kernels, self.kernels), first(&widths, self.widths), rng);
        }
        self.open_blocks(space, index).choose(rng).copied().unwrap_or_else(|| options.largest())
    }

    fn open_blocks(&self, space: &SearchSpace, index: usize) -> Vec<Block> {
        let (kernels, widths) = (block_kernels(space, index), widths(space, index));
        let (kernels, widths) = (first(&kernels, self.kernels), first(&widths, self.widths));
        let is_open = |block: &Block| kernels.contains(&block.kernel) && widths.contains(&block.width);
        space.blocks()[index].options.all().into_iter().filter(is_open).collect()
    }
}

fn prefix(stage: &Stage, depth: Option<&usize>) -> Vec<bool> {
    let depth = depth.copied().unwrap_or(stage.blocks);
    (0..stage.blocks).map(|position| position < depth).collect()
}

fn first(values: &[usize], count: usize) -> &[usize] {
    &values[..count.min(values.len())]
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
