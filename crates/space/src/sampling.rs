//! # Random candidates, mutation and crossover
//!
//! APQ section 4 and FACTS of its release: every block is redrawn whole with the mutation probability, children
//! take each block from either parent. Unlike the release, depth mutates and crosses over as well, and bits are
//! drawn among the allowed combinations, so no child ever leaves the space.

use rand::{Rng, RngExt, seq::IndexedRandom};

use crate::candidate::{Block, BlockBits, Candidate, QuantPolicy, Subnet};
use crate::choices::{Depth, Stage};
use crate::search_space::SearchSpace;

impl SearchSpace {
    /// Depths uniform per stage, blocks uniform among their options.
    pub fn random_subnet(&self, rng: &mut impl Rng) -> Subnet {
        let mut blocks = vec![None; self.blocks().len()];
        for stage in self.stages() {
            for (index, active) in stage.range().zip(self.random_activity(stage, rng)) {
                blocks[index] = active.then(|| self.random_block(index, rng));
            }
        }
        Subnet { blocks }
    }

    /// Bits uniform among the allowed combinations of each active block.
    ///
    /// A full-precision space gives the empty policy of 32-bit blocks.
    pub fn random_policy(&self, subnet: &Subnet, rng: &mut impl Rng) -> QuantPolicy {
        QuantPolicy { blocks: subnet.blocks.iter().map(|block| self.random_bits(*block, rng)).collect() }
    }

    /// As [`random_policy`](Self::random_policy), among the combinations with no width below `floor`; a block
    /// without such a combination draws from all of its own.
    pub fn random_policy_from(&self, subnet: &Subnet, floor: u8, rng: &mut impl Rng) -> QuantPolicy {
        let bits = |block: &Option<Block>, rng: &mut _| {
            let legal = block.and_then(|block| Some(self.bits()?.legal(block.kernel))).unwrap_or(&[]);
            let wide: Vec<BlockBits> = legal
                .iter()
                .copied()
                .filter(|bits| bits.fields().iter().all(|&width| width >= floor))
                .collect();
            wide.choose(rng).copied().unwrap_or_else(|| self.random_bits(*block, rng))
        };
        QuantPolicy { blocks: subnet.blocks.iter().map(|block| bits(block, rng)).collect() }
    }

    /// A random subnet with, where the space has bits, a random policy.
    pub fn random_candidate(&self, rng: &mut impl Rng) -> Candidate {
        let subnet = self.random_subnet(rng);
        let policy = self.bits().map(|_| self.random_policy(&subnet, rng));
        Candidate { subnet, policy }
    }

    /// A copy in which every block's choices (and every stage's depth) are redrawn with `probability`.
    pub fn mutate(&self, parent: &Candidate, probability: f64, rng: &mut impl Rng) -> Candidate {
        let probability = probability.clamp(0.0, 1.0);
        let mut child = parent.clone();
        for stage in self.stages() {
            self.mutate_activity(stage, &mut child, probability, rng);
            for index in stage.range() {
                if child.subnet.blocks[index].is_some() && rng.random_bool(probability) {
                    self.redraw(index, true, &mut child, rng);
                }
            }
        }
        child
    }

    /// A child that takes every block, with its bits, from either parent; depth per stage likewise.
    ///
    /// The child has a policy if both parents have one.
    pub fn crossover(&self, first: &Candidate, second: &Candidate, rng: &mut impl Rng) -> Candidate {
        let mut child = first.clone();
        if second.policy.is_none() {
            child.policy = None;
        }
        for stage in self.stages() {
            let depth_parent = if rng.random_bool(0.5) { first } else { second };
            for index in stage.range() {
                let (mut giver, other) = if rng.random_bool(0.5) { (first, second) } else { (second, first) };
                let active = match stage.depth {
                    Depth::Prefix(_) => depth_parent.subnet.blocks[index].is_some(),
                    Depth::AnyBlock => giver.subnet.blocks[index].is_some(),
                };
                if active && giver.subnet.blocks[index].is_none() {
                    giver = other;
                }
                self.inherit(index, active, giver, &mut child);
            }
        }
        child
    }

    fn inherit(&self, index: usize, active: bool, giver: &Candidate, child: &mut Candidate) {
        child.subnet.blocks[index] = giver.subnet.blocks[index].filter(|_| active);
        if let (Some(policy), Some(from)) = (&mut child.policy, &giver.policy) {
            policy.blocks[index] = if active { from.blocks[index] } else { self.idle_bits() };
        }
    }

    fn mutate_activity(&self, stage: &Stage, child: &mut Candidate, probability: f64, rng: &mut impl Rng) {
        match &stage.depth {
            Depth::Prefix(_) if rng.random_bool(probability) => {
                let activity = self.random_activity(stage, rng);
                for (index, active) in stage.range().zip(activity) {
                    self.set_active(index, active, child, rng);
                }
            }
            Depth::Prefix(_) => {}
            Depth::AnyBlock => {
                for index in stage.range().filter(|&index| self.blocks()[index].skippable) {
                    if rng.random_bool(probability) {
                        let active = rng.random_bool(0.5);
                        self.set_active(index, active, child, rng);
                    }
                }
            }
        }
    }

    fn set_active(&self, index: usize, active: bool, child: &mut Candidate, rng: &mut impl Rng) {
        if active != child.subnet.blocks[index].is_some() {
            self.redraw(index, active, child, rng);
        }
    }

    fn redraw(&self, index: usize, active: bool, child: &mut Candidate, rng: &mut impl Rng) {
        let block = active.then(|| self.random_block(index, rng));
        child.subnet.blocks[index] = block;
        if let Some(policy) = &mut child.policy {
            policy.blocks[index] = self.random_bits(block, rng);
        }
    }

    fn random_activity(&self, stage: &Stage, rng: &mut impl Rng) -> Vec<bool> {
        match &stage.depth {
            Depth::Prefix(depths) => {
                let depth = depths.choose(rng).copied().unwrap_or(stage.blocks);
                (0..stage.blocks).map(|position| position < depth).collect()
            }
            Depth::AnyBlock => {
                stage.range().map(|index| !self.blocks()[index].skippable || self.keep(index, rng)).collect()
            }
        }
    }

    /// Skipping counts as one option beside the block's others.
    fn keep(&self, index: usize, rng: &mut impl Rng) -> bool {
        rng.random_range(0..=self.blocks()[index].options.len()) > 0
    }

    fn random_block(&self, index: usize, rng: &mut impl Rng) -> Block {
        let options = &self.blocks()[index].options;
        let position = rng.random_range(0..options.len().max(1));
        options.get(position).unwrap_or_else(|| options.largest())
    }

    fn random_bits(&self, block: Option<Block>, rng: &mut impl Rng) -> BlockBits {
        let legal = block.and_then(|block| Some(self.bits()?.legal(block.kernel)));
        legal.and_then(|legal| legal.choose(rng)).copied().unwrap_or_else(|| self.idle_bits())
    }

    /// What a skipped block carries.
    pub(crate) fn idle_bits(&self) -> BlockBits {
        self.bits().map_or(BlockBits::uniform(32), |bits| bits.widest())
    }
}
