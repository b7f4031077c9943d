//! # A background class
//!
//! Some contests and label files count a class 0 that no image has (ImageNet's 1,001 classes). The network gets one
//! more output in front that never wins: no weights, and a bias far below anything that the others can say.

use crate::graph::{QuantizedNetwork, Weights};

/// Bias of the background class in steps: half of what an int32 bias may be.
const NEVER: i32 = -(1 << 29);

impl QuantizedNetwork {
    /// The same network with a class 0 that never wins; all other classes move up by one.
    pub fn with_background_class(mut self) -> Self {
        let weights = &mut self.classifier.weights;
        let classes = weights.scales.len();
        weights.values = weights.values.chunks_exact(classes).flat_map(with_zero).collect();
        put_first(weights, weights.scales.iter().copied().fold(f32::MIN_POSITIVE, f32::max));
        self
    }
}

fn with_zero(row: &[i8]) -> impl Iterator<Item = i8> + '_ {
    std::iter::once(0).chain(row.iter().copied())
}

fn put_first(weights: &mut Weights, scale: f32) {
    weights.scales.insert(0, scale);
    weights.bias.insert(0, NEVER);
    weights.thresholds.insert(0, weights.thresholds[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Executor, Style, samples};

    #[test]
    fn other_classes_keep_their_logits_and_the_background_never_wins() {
        for seed in 0..4 {
            let workload = samples::workload(seed);
            let network = QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap();
            let pixels = samples::pixels(&workload, 12, seed);
            let more = network.clone().with_background_class();
            for style in [Style::FloatTiesToEven, Style::FixedPoint, Style::FixedOnce] {
                let run = |network: &QuantizedNetwork| Executor::new(network, style).run(&pixels).unwrap();
                let (few, many) = (run(&network), run(&more));
                assert_eq!(many.classes, few.classes + 1);
                for (few, many) in few.logits.chunks(few.classes).zip(many.logits.chunks(many.classes)) {
                    assert_eq!(few, &many[1..]);
                    assert!(few.iter().all(|&logit| logit > 10.0 * many[0]), "{many:?}");
                }
                let int8 = many.fixed_logits(&more, style, &few.int8_quantizer());
                assert!(int8.chunks(many.classes).all(|logits| logits[0] == -128));
            }
        }
    }
}
