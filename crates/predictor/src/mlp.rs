//! # The predictor's network
//!
//! EMS/APQ, section 3.2 and figure 2: one-hot encoding → 400 → 400 → 400 → 1, ReLU after each hidden layer. The
//! encoding is given as the positions of its ones, so the first layer is a sum of weight rows. A second input
//! head for the bits (rows and a bias of its own) joins the first hidden layer, see [`HeadPlacement`].
//!
//! With x the sum of architecture rows + b₁ and p the sum of policy rows + b_p:
//! `h₁ = relu(x + p)` (text) or `relu(x) + p` (release); `h₂ = relu(h₁W₂ + b₂)`; `h₃ = relu(h₂W₃ + b₃)`;
//! `output = h₃·w₄ + b₄`. Accuracy = mean + scale · output, mean and scale being those of the training
//! accuracies, so that the output starts at the mean accuracy whatever its unit.

use std::ops::Range;

use rand::{Rng, RngExt};
use sartor_engine::gemm::{Matrix, MatrixMut, gemm};

use crate::error::PredictorError;
use crate::mlp::sums::{FixedRows, Steps};

pub(crate) mod sums;
pub(crate) mod train;

/// Where the policy head joins the first hidden layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadPlacement {
    /// Added before the first ReLU, as the papers' text and figure have it.
    BeforeActivation,
    /// Added after the first ReLU, as the authors' release has it.
    #[default]
    AfterActivation,
}

/// Sizes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Architecture features.
    pub architecture: usize,
    /// Policy features; 0 for a full-precision predictor.
    pub policy: usize,
    /// Width of every hidden layer.
    pub hidden: usize,
    /// Where the policy head joins.
    pub placement: HeadPlacement,
}

impl Shape {
    pub fn rows(&self) -> Range<usize> {
        0..self.architecture * self.hidden
    }

    pub fn first_bias(&self) -> Range<usize> {
        after(self.rows(), self.hidden)
    }

    pub fn second(&self) -> Range<usize> {
        after(self.first_bias(), self.hidden * self.hidden)
    }

    pub fn second_bias(&self) -> Range<usize> {
        after(self.second(), self.hidden)
    }

    pub fn third(&self) -> Range<usize> {
        after(self.second_bias(), self.hidden * self.hidden)
    }

    pub fn third_bias(&self) -> Range<usize> {
        after(self.third(), self.hidden)
    }

    pub fn output(&self) -> Range<usize> {
        after(self.third_bias(), self.hidden)
    }

    pub fn output_bias(&self) -> Range<usize> {
        after(self.output(), 1)
    }

    pub fn policy_rows(&self) -> Range<usize> {
        after(self.output_bias(), self.policy * self.hidden)
    }

    pub fn policy_bias(&self) -> Range<usize> {
        after(self.policy_rows(), if self.policy > 0 { self.hidden } else { 0 })
    }

    /// Number of weights.
    pub fn len(&self) -> usize {
        self.policy_bias().end
    }
}

/// Columns of the first layer that are summed at a time: eight vectors of the narrowest instruction set.
const COLUMNS: usize = 32;

fn after(range: Range<usize>, length: usize) -> Range<usize> {
    range.end..range.end + length
}

/// One network: all weights in one flat buffer, laid out as [`Shape`] says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mlp {
    pub shape: Shape,
    pub values: Vec<f32>,
    pub mean: f64,
    pub scale: f64,
}

/// The hidden activations of a batch, `[batch × hidden]` each.
#[derive(Debug, Default)]
pub(crate) struct Activations {
    /// First layer before its ReLU.
    pub first: Vec<f32>,
    /// What the second layer reads.
    pub joined: Vec<f32>,
    pub second: Vec<f32>,
    pub third: Vec<f32>,
    pub output: Vec<f32>,
    sums: Vec<i32>,
}

impl Mlp {
    /// Random weights, uniform within ±1/√(inputs) (for the first layer: active inputs), as PyTorch starts linear
    /// layers; the output bias is zero, which stands for the mean accuracy.
    pub fn random(shape: Shape, active: usize, rng: &mut impl Rng) -> Self {
        let mut mlp = Self { shape, values: vec![0.0; shape.len()], mean: 0.0, scale: 1.0 };
        let hidden = 1.0 / (shape.hidden as f32).sqrt();
        let first = 1.0 / (active.max(1) as f32).sqrt();
        let layers = [(shape.second(), hidden), (shape.second_bias(), hidden), (shape.third(), hidden)];
        let rest = [(shape.third_bias(), hidden), (shape.output(), hidden), (shape.policy_rows(), first)];
        for (range, bound) in
            [(shape.rows(), first), (shape.first_bias(), first)].into_iter().chain(layers).chain(rest)
        {
            mlp.values[range].iter_mut().for_each(|value| *value = rng.random_range(-bound..=bound));
        }
        mlp
    }

    /// The same network with a fresh policy head: rows uniform within ±`bound`, bias zero.
    pub fn with_policy_head(
        &self,
        policy: usize,
        placement: HeadPlacement,
        bound: f32,
        rng: &mut impl Rng,
    ) -> Self {
        let shape = Shape { policy, placement, ..self.shape };
        let mut values = self.values[..shape.output_bias().end].to_vec();
        values.resize(shape.len(), 0.0);
        if bound > 0.0 {
            values[shape.policy_rows()]
                .iter_mut()
                .for_each(|value| *value = rng.random_range(-bound..=bound));
        }
        Self { shape, values, ..*self }
    }

    /// The same network with every output multiplied by `gain`.
    pub fn amplified(mut self, gain: f32) -> Self {
        let range = self.shape.output().start..self.shape.output_bias().end;
        self.values[range].iter_mut().for_each(|value| *value *= gain);
        self
    }

    /// Outputs (before mean and scale) of candidates given by their active features: architecture positions first,
    /// policy positions shifted by the number of architecture features.
    pub fn forward(&self, batch: &[&[u32]], activations: &mut Activations) -> Result<(), PredictorError> {
        self.first_layer(batch, activations);
        self.hidden_layers(activations)
    }

    /// The same without what training needs, the first layer by `rows`, which are this network's: quicker where the
    /// candidates of a batch are alike, and independent of how they are batched.
    pub fn infer(
        &self,
        rows: &FixedRows,
        steps: &Steps,
        activations: &mut Activations,
    ) -> Result<(), PredictorError> {
        rows.sums(steps, &mut activations.sums);
        let (hidden, unit) = (self.shape.hidden, rows.unit());
        activations.joined.resize(activations.sums.len() / 2, 0.0);
        let sums = activations.sums.chunks_exact(2 * hidden).map(|sums| sums.split_at(hidden));
        for (joined, (first, policy)) in activations.joined.chunks_exact_mut(hidden).zip(sums) {
            let terms = joined.iter_mut().zip(first.iter().zip(policy));
            match self.shape.placement {
                HeadPlacement::BeforeActivation => {
                    terms.for_each(|(out, (&a, &b))| *out = a.wrapping_add(b).max(0) as f32 * unit);
                }
                HeadPlacement::AfterActivation => {
                    terms.for_each(|(out, (&a, &b))| *out = a.max(0).wrapping_add(b) as f32 * unit);
                }
            }
        }
        self.hidden_layers(activations)
    }

    fn hidden_layers(&self, activations: &mut Activations) -> Result<(), PredictorError> {
        let (shape, hidden) = (self.shape, self.shape.hidden);
        linear(
            &activations.joined,
            &self.values[shape.second()],
            &self.values[shape.second_bias()],
            hidden,
            &mut activations.second,
        )?;
        relu(&mut activations.second);
        linear(
            &activations.second,
            &self.values[shape.third()],
            &self.values[shape.third_bias()],
            hidden,
            &mut activations.third,
        )?;
        relu(&mut activations.third);
        let bias = self.values[shape.output_bias().start];
        let weights = &self.values[shape.output()];
        activations.output.clear();
        activations.output.extend(activations.third.chunks_exact(hidden).map(|row| dot(row, weights) + bias));
        Ok(())
    }

    fn first_layer(&self, batch: &[&[u32]], activations: &mut Activations) {
        let (shape, hidden) = (self.shape, self.shape.hidden);
        activations.first.resize(batch.len() * hidden, 0.0);
        activations.joined.resize(batch.len() * hidden, 0.0);
        let rows =
            activations.first.chunks_exact_mut(hidden).zip(activations.joined.chunks_exact_mut(hidden));
        for ((first, joined), features) in rows.zip(batch) {
            let split = features.partition_point(|&feature| (feature as usize) < shape.architecture);
            first.copy_from_slice(&self.values[shape.first_bias()]);
            self.add_rows(shape.rows(), &features[..split], 0, first);
            if shape.placement == HeadPlacement::BeforeActivation {
                self.add_policy(&features[split..], first);
            }
            joined.iter_mut().zip(first.iter()).for_each(|(out, &value)| *out = value.max(0.0));
            if shape.placement == HeadPlacement::AfterActivation {
                self.add_policy(&features[split..], joined);
            }
        }
    }

    fn add_policy(&self, features: &[u32], sum: &mut [f32]) {
        if self.shape.policy > 0 {
            add(sum, &self.values[self.shape.policy_bias()]);
            self.add_rows(self.shape.policy_rows(), features, self.shape.architecture, sum);
        }
    }

    /// Adds the rows of all features, some columns at a time, so that their sums stay in registers.
    fn add_rows(&self, rows: Range<usize>, features: &[u32], shift: usize, sum: &mut [f32]) {
        let hidden = self.shape.hidden;
        let row = |feature: u32| &self.values[rows.start + (feature as usize - shift) * hidden..][..hidden];
        let (blocks, rest) = sum.as_chunks_mut::<COLUMNS>();
        for (index, block) in blocks.iter_mut().enumerate() {
            let mut sums = *block;
            for &feature in features {
                let columns = &row(feature).as_chunks::<COLUMNS>().0[index];
                (0..COLUMNS).for_each(|column| sums[column] += columns[column]);
            }
            *block = sums;
        }
        for &feature in features {
            add(rest, &row(feature)[hidden - rest.len()..]);
        }
    }

    /// Accuracy that an output stands for.
    pub fn accuracy(&self, output: f32) -> f64 {
        self.mean + self.scale * f64::from(output)
    }
}

fn add(sum: &mut [f32], row: &[f32]) {
    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
}

fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = value.max(0.0));
}

/// Eight partial sums, so that the order is fixed and the loop can be vectorised.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    for (x, y) in a.chunks(8).zip(b.chunks(8)) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum()
}

/// `out = input · weights + bias`, all row-major, `weights` square.
fn linear(
    input: &[f32],
    weights: &[f32],
    bias: &[f32],
    hidden: usize,
    out: &mut Vec<f32>,
) -> Result<(), PredictorError> {
    let batch = input.len() / hidden;
    out.resize(batch * hidden, 0.0);
    out.chunks_exact_mut(hidden).for_each(|row| row.copy_from_slice(bias));
    let (a, b) = (Matrix::dense(input, batch, hidden), Matrix::dense(weights, hidden, hidden));
    Ok(gemm(a, b, MatrixMut::dense(out, batch, hidden), true)?)
}
