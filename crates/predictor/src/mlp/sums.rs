//! # The first layer in fixed point: only what changed is added
//!
//! The first layer of a one-hot encoding is a sum of weight rows. Candidates of one batch are much alike (children of a few
//! parents), so each is summed from the nearest one before it: rows that fell away are subtracted, new ones added. With
//! floats the result would depend on the way there; as integers, in units of a power of two that leaves room for the sum of
//! all rows, it is exact, so how a batch is split changes nothing. The unit is about 2⁻²³ of the largest sum, what a float
//! of that size resolves.

use super::{Mlp, Shape};

/// Integer columns that are summed at a time, so that they stay in registers.
const COLUMNS: usize = 64;
/// The sum of all rows stays below two to this.
const HEADROOM: i32 = 30;
/// Features in a word of a set.
const WORD: usize = u64::BITS as usize;

/// The rows of both heads as integers. Sums of a candidate: `[architecture | policy]`, `hidden` each.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FixedRows {
    /// One row per feature, architecture first.
    rows: Vec<i32>,
    /// What the sums start from: the biases of both heads.
    start: Vec<i32>,
    architecture: usize,
    hidden: usize,
    unit: f32,
}

/// How the sums of each candidate of a batch come about.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    /// An earlier candidate of the batch, or nothing.
    base: Option<usize>,
    added: Vec<u32>,
    removed: Vec<u32>,
}

impl Steps {
    /// The fewest changes from nothing or from an earlier candidate; `features` is the number of features there are.
    pub fn new(batch: &[&[u32]], features: usize) -> Self {
        let words = features.div_ceil(WORD);
        let mut sets = vec![0u64; batch.len() * words];
        for (set, active) in sets.chunks_exact_mut(words.max(1)).zip(batch) {
            active.iter().for_each(|&feature| set[feature as usize / WORD] |= 1 << (feature as usize % WORD));
        }
        let set = |index: usize| &sets[index * words..][..words];
        let distance = |a: usize, b: usize| -> u32 {
            set(a).iter().zip(set(b)).map(|(a, b)| (a ^ b).count_ones()).sum()
        };
        let step = |index: usize| {
            let nearest = (0..index).map(|base| (distance(base, index), base)).min();
            match nearest.filter(|&(distance, _)| (distance as usize) < batch[index].len()) {
                Some((_, base)) => Step {
                    base: Some(base),
                    added: difference(set(index), set(base)),
                    removed: difference(set(base), set(index)),
                },
                None => Step { base: None, added: difference(set(index), &[]), removed: Vec::new() },
            }
        };
        Self { steps: (0..batch.len()).map(step).collect() }
    }
}

/// Members of the first set that are not in the second.
fn difference(first: &[u64], second: &[u64]) -> Vec<u32> {
    let left = |(index, word): (usize, &u64)| word & !second.get(index).copied().unwrap_or(0);
    let count: u32 = first.iter().enumerate().map(left).map(u64::count_ones).sum();
    let mut members = Vec::with_capacity(count as usize);
    for (index, word) in first.iter().enumerate() {
        let mut left = left((index, word));
        while left != 0 {
            members.push((index * WORD) as u32 + left.trailing_zeros());
            left &= left - 1;
        }
    }
    members
}

impl FixedRows {
    /// The first layer of a network.
    pub fn new(mlp: &Mlp) -> Self {
        let Shape { architecture, hidden, .. } = mlp.shape;
        let part = |range: std::ops::Range<usize>| &mlp.values[range];
        let rows = [part(mlp.shape.rows()), part(mlp.shape.policy_rows())].concat();
        let mut start = [part(mlp.shape.first_bias()), part(mlp.shape.policy_bias())].concat();
        start.resize(2 * hidden, 0.0);
        let most = |values: &[f32]| values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let bound: f32 = rows.chunks(hidden).chain([&start[..]]).map(most).sum();
        let exponent = HEADROOM - (bound.max(f32::MIN_POSITIVE).log2().ceil() as i32).clamp(-60, 60);
        let scale = 2.0f32.powi(exponent);
        let fixed =
            |values: Vec<f32>| values.into_iter().map(|value| (value * scale).round() as i32).collect();
        Self { rows: fixed(rows), start: fixed(start), architecture, hidden, unit: scale.recip() }
    }

    /// Features of both heads.
    pub fn features(&self) -> usize {
        self.rows.len() / self.hidden
    }

    /// What one unit of the sums is worth.
    pub fn unit(&self) -> f32 {
        self.unit
    }

    /// The sums of a batch, one after another.
    pub fn sums(&self, steps: &Steps, out: &mut Vec<i32>) {
        let length = 2 * self.hidden;
        out.resize(steps.steps.len() * length, 0);
        for (index, step) in steps.steps.iter().enumerate() {
            let (before, rest) = out.split_at_mut(index * length);
            let sum = &mut rest[..length];
            sum.copy_from_slice(step.base.map_or(&self.start[..], |base| &before[base * length..][..length]));
            let (architecture, policy) = sum.split_at_mut(self.hidden);
            let split = |features: &[u32]| {
                features.partition_point(|&feature| (feature as usize) < self.architecture)
            };
            let ((a, r), (added, removed)) =
                ((split(&step.added), split(&step.removed)), (&step.added, &step.removed));
            self.change(&added[..a], &removed[..r], architecture);
            self.change(&added[a..], &removed[r..], policy);
        }
    }

    /// Adds and subtracts rows, some columns at a time.
    fn change(&self, added: &[u32], removed: &[u32], sum: &mut [i32]) {
        let hidden = self.hidden;
        let row = |feature: u32| &self.rows[feature as usize * hidden..][..hidden];
        let (blocks, rest) = sum.as_chunks_mut::<COLUMNS>();
        for (index, block) in blocks.iter_mut().enumerate() {
            let columns = |feature: u32| &row(feature).as_chunks::<COLUMNS>().0[index];
            let mut sums = *block;
            for &feature in added {
                let columns = columns(feature);
                (0..COLUMNS).for_each(|column| sums[column] = sums[column].wrapping_add(columns[column]));
            }
            for &feature in removed {
                let columns = columns(feature);
                (0..COLUMNS).for_each(|column| sums[column] = sums[column].wrapping_sub(columns[column]));
            }
            *block = sums;
        }
        let tail = hidden - rest.len();
        for (column, sum) in rest.iter_mut().enumerate() {
            added.iter().for_each(|&feature| *sum = sum.wrapping_add(row(feature)[tail + column]));
            removed.iter().for_each(|&feature| *sum = sum.wrapping_sub(row(feature)[tail + column]));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::mlp::{Activations, HeadPlacement};

    /// Of an output near 1: the sums differ by less than a float of their size resolves, a hundred rows of it.
    const TOLERANCE: f32 = 1e-5;

    fn batch(features: u32, count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
        let mut all: Vec<Vec<u32>> = vec![(0..features).filter(|feature| feature % 5 == 0).collect()];
        while all.len() < count {
            let parent = all[rng.random_range(0..all.len())].clone();
            let kept = parent.into_iter().filter(|_| !rng.random_bool(0.1)).collect::<Vec<_>>();
            let fresh = (0..features).filter(|_| rng.random_bool(0.01)).collect::<Vec<_>>();
            let mut child = [kept, fresh].concat();
            child.sort_unstable();
            child.dedup();
            all.push(child);
        }
        all.push(Vec::new());
        all
    }

    #[test]
    fn sums_do_not_depend_on_the_batch_and_equal_the_float_layer() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for (policy, hidden, placement) in [
            (60, 400, HeadPlacement::AfterActivation),
            (60, 70, HeadPlacement::BeforeActivation),
            (0, 33, HeadPlacement::BeforeActivation),
        ] {
            let shape = Shape { architecture: 130, policy, hidden, placement };
            let mlp = Mlp::random(shape, 30, &mut rng);
            let all = batch(130 + policy as u32, 20, &mut rng);
            let all: Vec<&[u32]> = all.iter().map(Vec::as_slice).collect();
            let rows = FixedRows::new(&mlp);
            let outputs = |batch: &[&[u32]]| {
                let mut activations = Activations::default();
                mlp.infer(&rows, &Steps::new(batch, rows.features()), &mut activations).expect("fits");
                activations.output
            };
            let together = outputs(&all);
            let alone: Vec<f32> = all.iter().flat_map(|&one| outputs(&[one])).collect();
            assert_eq!(together, alone);
            let mut activations = Activations::default();
            mlp.forward(&all, &mut activations).expect("fits");
            for (fixed, float) in together.iter().zip(&activations.output) {
                assert!((fixed - float).abs() < TOLERANCE, "{fixed} {float}");
            }
        }
    }

    #[test]
    fn like_candidates_take_few_steps() {
        let (first, second, third) = ([0, 5, 9, 64], [0, 5, 10, 64], [100, 101]);
        let steps = Steps::new(&[&first, &second, &third], 120);
        let bases: Vec<_> = steps.steps.iter().map(|step| step.base).collect();
        assert_eq!(bases, [None, Some(0), None]);
        assert_eq!((&steps.steps[1].added[..], &steps.steps[1].removed[..]), (&[10u32][..], &[9u32][..]));
    }
}
