//! # A family of fixed networks: one multiplier for everything
//!
//! The papers compare with networks that people designed and scaled by a single number (MobileNetV2's width
//! multiplier, Sandler and others 2018, section 5). In a space of its own size that family is: at 0 the smallest
//! network, at 1 the largest, in between every stage's depth and every block's kernel and width at the same share of
//! their lists. Nothing is searched but the multiplier.

use sartor_space::{Block, Depth, Options, SearchSpace, Subnet};

/// Networks in the family.
pub const RUNGS: usize = 25;

/// The networks of the family, the largest first; equal neighbours once.
pub fn ladder(space: &SearchSpace) -> Vec<Subnet> {
    let mut rungs: Vec<Subnet> =
        (0..RUNGS).rev().map(|rung| scaled(space, rung as f64 / (RUNGS - 1) as f64)).collect();
    rungs.dedup();
    rungs
}

/// The network at a multiplier from 0 to 1.
pub fn scaled(space: &SearchSpace, multiplier: f64) -> Subnet {
    let mut blocks = vec![None; space.blocks().len()];
    for stage in space.stages() {
        let range = stage.range();
        for index in range.clone() {
            let choices = &space.blocks()[index];
            let active = match &stage.depth {
                Depth::Prefix(depths) => index - range.start < *at(depths, multiplier),
                Depth::AnyBlock => !choices.skippable || kept(index - range.start, stage.blocks, multiplier),
            };
            blocks[index] = active.then(|| block(&choices.options, multiplier));
        }
    }
    Subnet { blocks }
}

/// Whether a skippable block at this position is kept: those in front first.
fn kept(position: usize, count: usize, multiplier: f64) -> bool {
    (position as f64) < (multiplier * count as f64).round()
}

/// The block at a share of its options.
fn block(options: &Options, multiplier: f64) -> Block {
    match options {
        Options::Grid { kernels, widths } => {
            Block { kernel: *at(kernels, multiplier), width: *at(widths, multiplier) }
        }
        Options::List(blocks) => {
            let mut ordered = blocks.clone();
            ordered.sort_by_key(|block| (block.width, block.kernel));
            *at(&ordered, multiplier)
        }
    }
}

/// The entry of an ascending, non-empty list at a share of its length.
fn at<T>(list: &[T], share: f64) -> &T {
    &list[(share.clamp(0.0, 1.0) * (list.len() - 1) as f64).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use sartor_space::Candidate;

    #[test]
    fn the_family_runs_from_the_largest_to_the_smallest_and_stays_in_the_space() {
        for preset in SearchSpace::presets() {
            let space = SearchSpace::preset(preset).expect("a preset");
            let rungs = ladder(&space);
            assert_eq!(rungs.first(), Some(&space.largest()), "{preset}");
            assert_eq!(rungs.last(), Some(&space.smallest()), "{preset}");
            let macs =
                |subnet: &Subnet| space.lower(&Candidate { subnet: subnet.clone(), policy: None }).macs();
            for pair in rungs.windows(2) {
                space.contains_subnet(&pair[1]).expect(preset);
                assert!(macs(&pair[0]) >= macs(&pair[1]), "{preset}");
            }
        }
    }
}
