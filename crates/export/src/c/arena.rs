//! # Arena: where activations lie
//!
//! A tensor lives from the operation that writes it to the last one that reads it. Largest first, each is put at the
//! lowest offset where it overlaps no tensor that lives at the same time (greedy by size: Pisarchyk & Lee, "Efficient
//! memory management for deep neural net inference", 2020, section 5).

use crate::graph::{Operation, QuantizedNetwork, TensorId};

/// Offsets of all tensors but the image, which is the caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arena {
    /// By tensor; none for the image.
    pub offsets: Vec<Option<usize>>,
    /// Size of the whole.
    pub bytes: usize,
}

/// First and last operation of a tensor's life.
type Life = (usize, usize);

impl Arena {
    pub fn plan(network: &QuantizedNetwork) -> Self {
        let lives = lives(network);
        let mut order: Vec<TensorId> = (1..network.tensors.len()).collect();
        order.sort_by_key(|&tensor| std::cmp::Reverse(network.tensors[tensor].len()));
        let mut arena = Self { offsets: vec![None; network.tensors.len()], bytes: 0 };
        for tensor in order {
            let offset = arena.lowest_gap(network, &lives, tensor);
            arena.offsets[tensor] = Some(offset);
            arena.bytes = arena.bytes.max(offset + network.tensors[tensor].len());
        }
        arena
    }

    fn lowest_gap(&self, network: &QuantizedNetwork, lives: &[Life], tensor: TensorId) -> usize {
        let overlaps = |other: usize| lives[other].0 <= lives[tensor].1 && lives[tensor].0 <= lives[other].1;
        let mut taken: Vec<(usize, usize)> = (1..self.offsets.len())
            .filter(|&other| overlaps(other))
            .filter_map(|other| Some((self.offsets[other]?, network.tensors[other].len())))
            .collect();
        taken.sort_unstable();
        let length = network.tensors[tensor].len();
        taken
            .into_iter()
            .fold((0, false), |(offset, found), (start, other)| {
                let found = found || offset + length <= start;
                (if found { offset } else { offset.max(start + other) }, found)
            })
            .0
    }
}

/// The classifier reads after all operations.
fn lives(network: &QuantizedNetwork) -> Vec<Life> {
    let mut lives = vec![(0, 0); network.tensors.len()];
    for (step, operation) in network.operations.iter().enumerate() {
        let (inputs, output) = ends(operation);
        inputs.into_iter().for_each(|input| lives[input].1 = step);
        lives[output] = (step, step);
    }
    lives[network.classifier.input].1 = network.operations.len();
    lives
}

fn ends(operation: &Operation) -> (Vec<TensorId>, TensorId) {
    match *operation {
        Operation::Convolution(ref layer) => (vec![layer.input], layer.output),
        Operation::Requantize { input, output, .. }
        | Operation::MaxPool { input, output, .. }
        | Operation::Pool { input, output, .. } => (vec![input], output),
        Operation::Add { left, right, output, .. } => (vec![left, right], output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn tensors_that_live_together_never_overlap_and_others_share() {
        for seed in 0..20 {
            let workload = samples::workload(seed);
            let network = QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap();
            let (arena, lives) = (Arena::plan(&network), lives(&network));
            let place = |tensor: usize| {
                let offset = arena.offsets[tensor].unwrap();
                (offset, offset + network.tensors[tensor].len())
            };
            for a in 1..network.tensors.len() {
                assert!(place(a).1 <= arena.bytes);
                for b in a + 1..network.tensors.len() {
                    let together = lives[a].0 <= lives[b].1 && lives[b].0 <= lives[a].1;
                    let apart = place(a).1 <= place(b).0 || place(b).1 <= place(a).0;
                    assert!(apart || !together, "seed {seed}: {a} and {b}");
                }
            }
            let all: usize = network.tensors[1..].iter().map(|tensor| tensor.len()).sum();
            assert!(arena.bytes < all / 2, "seed {seed}: {} of {all}", arena.bytes);
        }
    }
}
