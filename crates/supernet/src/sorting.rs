//! # Channel sorting
//!
//! Once-for-all, section 3.3: before widths open, a block's expanded channels are sorted by importance, the L1 norm
//! of their weights in the projection, so that a narrower block keeps the channels that matter most. The network's
//! function does not change: expansion columns, both norms, depthwise columns and projection rows move together.
//! When some widths are open already, only the channels inside the narrowest open one move, so that every open
//! subnet keeps its function, too.

use sartor_space::{Candidate, Layer, Role, SearchSpace};

use crate::error::Result;
use crate::parameters::{LayerSlot, Layout, widths};

/// Sorts every block's channels; `open` is the number of widths open so far (1 = only the widest).
pub fn sort_channels(space: &SearchSpace, layout: &Layout, values: &mut [f32], open: usize) -> Result<()> {
    let largest = Candidate { subnet: space.largest(), policy: None };
    let layers = space.lower(&largest).layers;
    for triple in layers.windows(3) {
        if let Role::Expand { block } = triple[0].role {
            let widths = widths(space, block);
            let movable = widths[open.clamp(1, widths.len()) - 1];
            sort_block(layout, triple, values, movable)?;
        }
    }
    Ok(())
}

fn sort_block(layout: &Layout, layers: &[Layer], values: &mut [f32], movable: usize) -> Result<()> {
    let project = layout.slot(&layers[2].name)?;
    let order = by_importance(project, values, movable);
    for layer in &layers[..2] {
        let slot = layout.slot(&layer.name)?;
        for row in 0..slot.rows {
            permute(&mut values[slot.weight.offset + row * slot.weight.row_stride..], &order, 1);
        }
        permute(&mut values[slot.gamma..], &order, 1);
        permute(&mut values[slot.beta..], &order, 1);
    }
    permute(&mut values[project.weight.offset..], &order, project.weight.row_stride);
    Ok(())
}

/// The first `movable` channels, most important first; ties keep their order.
fn by_importance(project: &LayerSlot, values: &[f32], movable: usize) -> Vec<usize> {
    let row = |channel: usize| &values[project.weight.offset + channel * project.weight.row_stride..];
    let norm = |channel: usize| row(channel)[..project.columns].iter().map(|w| f64::from(w.abs())).sum();
    let norms: Vec<f64> = (0..movable).map(norm).collect();
    let mut order: Vec<usize> = (0..movable).collect();
    order.sort_by(|&a, &b| norms[b].total_cmp(&norms[a]));
    order
}

/// Chunk i of the result is chunk `order[i]` of the old values.
fn permute(values: &mut [f32], order: &[usize], chunk: usize) {
    let old = values[..order.len() * chunk].to_vec();
    for (new, &from) in values.chunks_exact_mut(chunk).zip(order) {
        new.copy_from_slice(&old[from * chunk..][..chunk]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instantiate::network;
    use crate::parameters::initialise;
    use sartor_engine::Executor;

    /// Sums run in another order after sorting.
    const FUNCTION_TOLERANCE: f32 = 1e-3;

    fn logits(space: &SearchSpace, candidate: &Candidate, layout: &Layout, values: &[f32]) -> Vec<f32> {
        let network = network(layout, &space.lower(candidate)).unwrap();
        let images: Vec<f32> = (0..4 * network.image_length()).map(|i| (i as f32 * 0.7).sin()).collect();
        Executor::new().forward_train(&network, values, &images, 4).unwrap().to_vec()
    }

    fn difference(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn sorting_keeps_the_function_of_every_open_subnet() {
        let space = crate::fixtures::space();
        let layout = Layout::elastic(&space);
        let mut narrower = space.largest();
        for (index, block) in narrower.blocks.iter_mut().enumerate() {
            block.as_mut().unwrap().width = widths(&space, index)[1];
        }
        for (subnet, open) in [(space.largest(), 1), (space.largest(), 2), (narrower, 2)] {
            let candidate = Candidate { subnet, policy: None };
            let mut values = initialise(&layout, 9);
            let before = logits(&space, &candidate, &layout, &values);
            let old = values.clone();
            sort_channels(&space, &layout, &mut values, open).unwrap();
            assert_ne!(values, old);
            let after = logits(&space, &candidate, &layout, &values);
            assert!(difference(&before, &after) < FUNCTION_TOLERANCE, "open {open}");
        }
    }

    #[test]
    fn sorted_channels_fall_in_importance() {
        let space = SearchSpace::preset("quickstart").unwrap();
        let layout = Layout::elastic(&space);
        let mut values = initialise(&layout, 2);
        sort_channels(&space, &layout, &mut values, 1).unwrap();
        let slot = layout.slot("stage0.block0.project").unwrap();
        let order = by_importance(slot, &values, slot.rows);
        assert_eq!(order, (0..slot.rows).collect::<Vec<_>>());
    }
}
