//! # Describing a candidate by numbers
//!
//! The one-hot encoding says nothing about likeness: that 5×5 lies between 3×3 and 7×7, that two half-skipped stages
//! may be the same network, that what matters may be the sum. With few pairs a model has to be told. Groups of numbers
//! that a kernel can weigh one against the other (all read from the space and the lowered layers, none from data):
//!
//! 1. the one-hot architecture;
//! 2. per block: active, log expansion, kernel;
//! 3. per stage and slot: the i-th and the i-th last *active* shape-keeping block (a skipped block with a residual is
//!    the identity, so networks that differ only in which of two like blocks is skipped are the same network);
//! 4. totals: log MACs, log parameters, and per stage depth, log MACs, sum of log widths, sum of kernels;
//! 5. the one-hot bits; 6. bits in numbers: per block and field 2^(−bits), and their means per stage and field;
//! 7. what a full-precision predictor says about the architecture, if there is one;
//! 8. for spaces of few blocks, group 2 once more, a group per block, so that a kernel can learn which blocks matter.

use std::ops::Range;

use sartor_space::{Block, Candidate, Role, SearchSpace, Workload};

/// Most blocks that get a group of their own: each brings four constants to be learnt from the pairs.
const SINGLED_OUT: usize = 12;

/// Numbers of a candidate, in groups.
pub(crate) fn describe(space: &SearchSpace, candidate: &Candidate, base: Option<f64>) -> Vec<Vec<f64>> {
    let mut groups = vec![
        one_hot(space, candidate),
        numbers(space, candidate),
        slots(space, candidate),
        totals(space, candidate),
    ];
    if candidate.policy.is_some() {
        groups.push(one_hot_bits(space, candidate));
        groups.push(bit_numbers(space, candidate));
    }
    groups.extend(base.map(|accuracy| vec![accuracy]));
    if candidate.subnet.blocks.len() <= SINGLED_OUT {
        let blocks = candidate.subnet.blocks.iter().enumerate();
        groups.extend(blocks.map(|(index, &block)| block_numbers(space, index, block).to_vec()));
    }
    groups
}

/// Ranges of the groups when laid end to end.
pub(crate) fn ranges(groups: &[Vec<f64>]) -> Vec<Range<usize>> {
    let mut start = 0;
    let range = |group: &Vec<f64>| {
        let range = start..start + group.len();
        start = range.end;
        range
    };
    groups.iter().map(range).collect()
}

fn one_hot(space: &SearchSpace, candidate: &Candidate) -> Vec<f64> {
    let mut out = vec![0.0f32; space.encoding().architecture_len()];
    space.encoding().encode_subnet(&candidate.subnet, &mut out);
    out.into_iter().map(f64::from).collect()
}

fn one_hot_bits(space: &SearchSpace, candidate: &Candidate) -> Vec<f64> {
    let mut out = vec![0.0f32; space.encoding().policy_len()];
    if let Some(policy) = &candidate.policy {
        space.encoding().encode_policy(&candidate.subnet, policy, &mut out);
    }
    out.into_iter().map(f64::from).collect()
}

/// Active, log expansion, kernel.
fn block_numbers(space: &SearchSpace, index: usize, block: Option<Block>) -> [f64; 3] {
    let in_channels = space.blocks()[index].in_channels as f64;
    block.map_or([0.0; 3], |block| [1.0, (block.width as f64 / in_channels).ln(), block.kernel as f64])
}

fn numbers(space: &SearchSpace, candidate: &Candidate) -> Vec<f64> {
    let blocks = candidate.subnet.blocks.iter().enumerate();
    blocks.flat_map(|(index, &block)| block_numbers(space, index, block)).collect()
}

fn slots(space: &SearchSpace, candidate: &Candidate) -> Vec<f64> {
    let mut out = Vec::new();
    for stage in space.stages() {
        let keeping: Vec<usize> = stage.range().filter(|&index| space.blocks()[index].residual()).collect();
        let active: Vec<[f64; 3]> = keeping
            .iter()
            .filter_map(|&index| {
                candidate.subnet.blocks[index].map(|block| block_numbers(space, index, Some(block)))
            })
            .collect();
        for slot in 0..keeping.len() {
            out.extend(active.get(slot).copied().unwrap_or_default());
            out.extend(active.iter().rev().nth(slot).copied().unwrap_or_default());
        }
        for index in stage.range().filter(|&index| !space.blocks()[index].residual()) {
            out.extend(block_numbers(space, index, candidate.subnet.blocks[index]));
        }
    }
    out
}

fn totals(space: &SearchSpace, candidate: &Candidate) -> Vec<f64> {
    let workload = space.lower(candidate);
    let mut out = vec![(workload.macs() as f64).ln(), (workload.parameters() as f64).ln()];
    for stage in space.stages() {
        let active: Vec<Block> = stage.range().filter_map(|index| candidate.subnet.blocks[index]).collect();
        out.push(active.len() as f64);
        out.push((1.0 + macs_of(&workload, stage.range())).ln());
        out.push(active.iter().map(|block| (block.width as f64).ln()).sum());
        out.push(active.iter().map(|block| block.kernel as f64).sum());
    }
    out
}

fn macs_of(workload: &Workload, blocks: Range<usize>) -> f64 {
    let inside = |role: Role| match role {
        Role::Expand { block } | Role::Depthwise { block } | Role::Project { block } => {
            blocks.contains(&block)
        }
        _ => false,
    };
    workload.layers.iter().filter(|layer| inside(layer.role)).map(|layer| layer.macs() as f64).sum()
}

fn bit_numbers(space: &SearchSpace, candidate: &Candidate) -> Vec<f64> {
    let Some(policy) = &candidate.policy else { return Vec::new() };
    let step = |index: usize, field: usize| match candidate.subnet.blocks[index] {
        Some(_) => (-f64::from(policy.blocks[index].fields()[field])).exp2(),
        None => 0.0,
    };
    let blocks = 0..candidate.subnet.blocks.len();
    let mut out: Vec<f64> =
        blocks.clone().flat_map(|index| (0..4).map(move |field| step(index, field))).collect();
    let parts = space.stages().iter().map(sartor_space::Stage::range).chain([blocks]);
    for part in parts {
        out.extend((0..4).map(|field| part.clone().map(|index| step(index, field)).sum::<f64>()));
    }
    out
}
