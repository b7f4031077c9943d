//! # Shared rows: the same choice in another block is not a stranger
//!
//! A one-hot encoding lets 5×5 in block 3 and 5×5 in block 4 be learned apart, which needs many pairs. While training,
//! the first-layer row of a choice is its own row plus a row shared by the like choices of all blocks (the same
//! kernel, the same expansion, the same width of the same bit field), plus one per block for being active at all.
//! Afterwards the sums are written back into plain rows: the fitted network is the papers' network, only its
//! training knows that blocks are alike. A difference from the papers; it matters most when pairs are few.

use std::collections::BTreeMap;

use sartor_space::{Block, SearchSpace};

use crate::mlp::{Mlp, Shape};

/// For every feature, the shared rows it adds; architecture and policy counted apart.
#[derive(Debug, Clone)]
pub(crate) struct Sharing {
    architecture: Vec<Vec<u32>>,
    policy: Vec<Vec<u32>>,
    shared_architecture: usize,
    shared_policy: usize,
}

/// What like choices have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    Active {
        block: usize,
    },
    Kernel(usize),
    /// Expansion in sixteenths, so that unequal input widths compare.
    Expansion(usize),
    Bits {
        field: usize,
        bits: u8,
    },
}

/// Numbers the likenesses in the order they come.
#[derive(Default)]
struct Numbering(BTreeMap<Likeness, u32>);

impl Numbering {
    fn of(&mut self, likeness: Likeness) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(likeness).or_insert(next)
    }
}

impl Sharing {
    /// The likenesses of a space; `policy` false leaves the bits out.
    pub fn new(space: &SearchSpace, policy: bool) -> Self {
        let (architecture, shared_architecture) = architecture_likenesses(space);
        let (policy, shared_policy) = if policy { policy_likenesses(space) } else { (Vec::new(), 0) };
        Self { architecture, policy, shared_architecture, shared_policy }
    }

    /// No likenesses: every row its own.
    pub fn none(space: &SearchSpace, policy: bool) -> Self {
        let encoding = space.encoding();
        let policies = if policy { encoding.policy_len() } else { 0 };
        Self {
            architecture: vec![Vec::new(); encoding.architecture_len()],
            policy: vec![Vec::new(); policies],
            shared_architecture: 0,
            shared_policy: 0,
        }
    }

    /// The likenesses, or none, as the settings say.
    pub fn as_set(space: &SearchSpace, policy: bool, shared: bool) -> Self {
        if shared { Self::new(space, policy) } else { Self::none(space, policy) }
    }

    /// The shape of the network while it is trained.
    pub fn widened(&self, shape: Shape) -> Shape {
        Shape {
            architecture: shape.architecture + self.shared_architecture,
            policy: if shape.policy > 0 { shape.policy + self.shared_policy } else { 0 },
            ..shape
        }
    }

    /// Active features with their shared rows: architecture, shared architecture, policy, shared policy.
    pub fn widen_features(&self, features: &[u32]) -> Vec<u32> {
        let own = self.architecture.len() as u32;
        let (first, second): (Vec<u32>, Vec<u32>) = features.iter().partition(|&&feature| feature < own);
        let shared =
            first.iter().flat_map(|&feature| &self.architecture[feature as usize]).map(|row| own + row);
        let shift = own + self.shared_architecture as u32;
        let policies = second.iter().map(|feature| feature - own);
        let bits_own = self.policy.len() as u32;
        let shared_bits = policies.clone().flat_map(|feature| &self.policy[feature as usize]);
        let mut all = first.clone();
        all.extend(shared);
        all.extend(policies.map(|feature| feature + shift));
        all.extend(shared_bits.map(|row| row + bits_own + shift));
        all
    }

    /// The network with shared rows added, all zero, so that it computes the same.
    pub fn widen(&self, mlp: &Mlp) -> Mlp {
        let (from, to) = (mlp.shape, self.widened(mlp.shape));
        let mut values = vec![0.0; to.len()];
        values[to.rows()][..from.rows().len()].copy_from_slice(&mlp.values[from.rows()]);
        values[to.first_bias().start..to.output_bias().end]
            .copy_from_slice(&mlp.values[from.first_bias().start..from.output_bias().end]);
        values[to.policy_rows()][..from.policy_rows().len()].copy_from_slice(&mlp.values[from.policy_rows()]);
        values[to.policy_bias()].copy_from_slice(&mlp.values[from.policy_bias()]);
        Mlp { shape: to, values, ..*mlp }
    }

    /// The plain network: every row with its shared rows added in.
    pub fn fold(&self, mlp: &Mlp, shape: Shape) -> Mlp {
        let from = mlp.shape;
        let mut values = vec![0.0; shape.len()];
        let hidden = shape.hidden;
        fold_rows(&mlp.values[from.rows()], &self.architecture, hidden, &mut values[shape.rows()]);
        values[shape.first_bias().start..shape.output_bias().end]
            .copy_from_slice(&mlp.values[from.first_bias().start..from.output_bias().end]);
        fold_rows(&mlp.values[from.policy_rows()], &self.policy, hidden, &mut values[shape.policy_rows()]);
        values[shape.policy_bias()].copy_from_slice(&mlp.values[from.policy_bias()]);
        Mlp { shape, values, ..*mlp }
    }
}

fn fold_rows(rows: &[f32], shared: &[Vec<u32>], hidden: usize, out: &mut [f32]) {
    for (feature, target) in out.chunks_exact_mut(hidden).enumerate() {
        let parts =
            std::iter::once(feature).chain(shared[feature].iter().map(|&row| shared.len() + row as usize));
        for part in parts {
            let row = &rows[part * hidden..(part + 1) * hidden];
            target.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}

fn architecture_likenesses(space: &SearchSpace) -> (Vec<Vec<u32>>, usize) {
    let encoding = space.encoding();
    let mut likenesses = vec![Vec::new(); encoding.architecture_len()];
    let mut numbering = Numbering::default();
    for (index, choices) in space.blocks().iter().enumerate() {
        for block in choices.options.all() {
            let features: Vec<u32> = encoding.block_features(index, block).collect();
            let common = common_parts(index, block, choices.in_channels, features.len());
            for (feature, parts) in features.into_iter().zip(common) {
                likenesses[feature as usize] = parts.into_iter().map(|part| numbering.of(part)).collect();
            }
        }
    }
    (likenesses, numbering.0.len())
}

/// Of a grid block the kernel feature and the width feature, of a listed block its one feature.
fn common_parts(index: usize, block: Block, in_channels: usize, features: usize) -> Vec<Vec<Likeness>> {
    let active = Likeness::Active { block: index };
    let kernel = Likeness::Kernel(block.kernel);
    let expansion = Likeness::Expansion(16 * block.width / in_channels.max(1));
    if features == 2 {
        vec![vec![active, kernel], vec![expansion]]
    } else {
        vec![vec![active, kernel, expansion]]
    }
}

fn policy_likenesses(space: &SearchSpace) -> (Vec<Vec<u32>>, usize) {
    let encoding = space.encoding();
    let mut likenesses = vec![Vec::new(); encoding.policy_len()];
    let mut numbering = Numbering::default();
    let slots = space.bits().map_or(&[][..], |bits| bits.slots());
    for index in 0..space.blocks().len() {
        let mut feature = encoding.policy_range(index).start;
        for (field, slot) in slots.iter().enumerate() {
            for &bits in &slot.choices {
                likenesses[feature] = vec![numbering.of(Likeness::Bits { field, bits })];
                feature += 1;
            }
        }
    }
    (likenesses, numbering.0.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mlp::{Activations, HeadPlacement};
    use crate::predictor::features;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const ROUNDING: f32 = 1e-4;

    #[test]
    fn folding_changes_nothing_but_the_layout() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (name, policy) in [("quickstart", true), ("apq", true), ("apq", false)] {
            let space = SearchSpace::preset(name).expect("preset");
            let sharing = Sharing::new(&space, policy);
            let encoding = space.encoding();
            let policies = if policy { encoding.policy_len() } else { 0 };
            let placement = HeadPlacement::AfterActivation;
            let shape =
                Shape { architecture: encoding.architecture_len(), policy: policies, hidden: 16, placement };
            let mut wide = sharing.widen(&Mlp::random(shape, 20, &mut rng));
            wide.values.iter_mut().for_each(|value| *value += rng.random_range(-0.1..0.1));
            let folded = sharing.fold(&wide, shape);
            let candidates: Vec<_> = (0..10).map(|_| space.random_candidate(&mut rng)).collect();
            let plain = features(&space, &candidates, policy);
            let widened: Vec<_> = plain.iter().map(|features| sharing.widen_features(features)).collect();
            let run = |mlp: &Mlp, features: &[Vec<u32>]| {
                let mut activations = Activations::default();
                let batch: Vec<&[u32]> = features.iter().map(Vec::as_slice).collect();
                mlp.forward(&batch, &mut activations).expect("fits");
                activations.output
            };
            for (a, b) in run(&wide, &widened).iter().zip(run(&folded, &plain)) {
                assert!((a - b).abs() < ROUNDING, "{name}: {a} {b}");
            }
        }
    }
}
