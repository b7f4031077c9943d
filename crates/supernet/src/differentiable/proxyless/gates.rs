//! Path binarisation: two paths of every block, one of them active, and the gradients of their gates.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sartor_space::Subnet;

use crate::differentiable::choices::{Choice, Choices};

/// Two options of a choice: the one that is active, and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub active: usize,
    pub other: usize,
}

/// The smallest network that holds both options of every pair.
pub(super) fn hull(choices: &Choices, pairs: &[Pair]) -> Subnet {
    let shapes = |which: fn(&Pair) -> usize| {
        let chosen: Vec<usize> = pairs.iter().map(which).collect();
        choices.shapes(&choices.coefficients_of(&choices.one_hot(&chosen)))
    };
    let (active, other) = (shapes(|pair| pair.active), shapes(|pair| pair.other));
    let blocks = active.into_iter().zip(other).map(|pair| match pair {
        (Some(a), Some(b)) => Some(choices.covering(a, b)),
        (one, two) => one.or(two),
    });
    Subnet { blocks: blocks.collect() }
}

/// The coefficients of the active options. Where a block's active option is none of its operations, the other one's
/// shape stands in and its presence is zero; `idle` are the coefficients of shapes that stand in.
pub(super) fn gates(choices: &Choices, pairs: &[Pair]) -> (Vec<f32>, Vec<usize>) {
    let chosen: Vec<usize> = pairs.iter().map(|pair| pair.active).collect();
    let mut coefficients = choices.coefficients_of(&choices.one_hot(&chosen));
    let mut idle = vec![];
    for (choice, pair) in choices.all().iter().zip(pairs) {
        let sets = |option: usize| choices.sets(choice.range.start + option);
        let Some(places) = choice.block.and_then(|block| choices.block(block)) else { continue };
        if sets(pair.active).is_empty() {
            for &place in sets(pair.other).iter().filter(|&&place| place != places.active) {
                coefficients[place] = 1.0;
                idle.push(place);
            }
        }
    }
    (coefficients, idle)
}

/// Two different options by their probabilities, and which of the two is active by theirs again.
pub(super) fn draw(p: &[f32], choice: &Choice, rng: &mut ChaCha8Rng) -> Pair {
    let weights: Vec<f64> = p[choice.range.clone()].iter().map(|&p| f64::from(p)).collect();
    let first = pick(&weights, None, rng);
    let second = pick(&weights, Some(first), rng);
    let share = weights[first] / (weights[first] + weights[second]).max(f64::MIN_POSITIVE);
    match rng.random::<f64>() < share {
        true => Pair { active: first, other: second },
        false => Pair { active: second, other: first },
    }
}

fn pick(weights: &[f64], without: Option<usize>, rng: &mut ChaCha8Rng) -> usize {
    let weight = |index: usize| if Some(index) == without { 0.0 } else { weights[index].max(1e-12) };
    let total: f64 = (0..weights.len()).map(weight).sum();
    let mut left = rng.random::<f64>() * total;
    for index in (0..weights.len()).filter(|&index| Some(index) != without) {
        left -= weight(index);
        if left < 0.0 {
            return index;
        }
    }
    (0..weights.len()).rev().find(|&index| Some(index) != without).unwrap_or(0)
}

/// ∂L/∂α of the two options that were drawn, with their probabilities among the two.
pub(super) fn add_gates(
    choice: &Choice,
    pair: &Pair,
    p: &[f32],
    gates: &[f32],
    scale: f32,
    gradient: &mut [f32],
) {
    let (i, j) = (choice.range.start + pair.active, choice.range.start + pair.other);
    let share = p[i] / (p[i] + p[j]).max(f32::MIN_POSITIVE);
    let slope = scale * share * (1.0 - share) * (gates[i] - gates[j]);
    gradient[i] += slope;
    gradient[j] -= slope;
}
