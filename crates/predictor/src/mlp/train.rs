//! # Training the predictor's network
//!
//! Adam 1e-3, weight decay 1e-4 (what a maintainer of the sister project names; the papers give no settings), the
//! rate falling to zero on a cosine. Loss per batch of size B on standardised accuracies t and outputs s:
//!
//! `(1/B) Σ (s_i − t_i)² + r · mean over pairs with t_i > t_j of log(1 + exp(s_j − s_i))`
//!
//! The second term (RankNet, Burges et al. 2005) asks for the order itself; `r` = 0 gives the papers' regression.
//! Everything is single-threaded and sums in a fixed order: members of an ensemble are trained side by side
//! instead.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use sartor_engine::gemm::{Matrix, MatrixMut, gemm};
use sartor_engine::optimizer::{Adam, cosine};

use super::{Activations, HeadPlacement, Mlp};
use crate::error::PredictorError;
use crate::pairs::shuffled;

/// How a network is trained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MlpSettings {
    /// Width of the three hidden layers.
    pub hidden: usize,
    /// Passes over the pairs; more if there are few of them, see `steps`.
    pub epochs: usize,
    /// At least so many optimiser steps, whatever the number of pairs.
    pub steps: usize,
    /// Pairs per step.
    pub batch: usize,
    /// Adam's rate at the start.
    pub learning_rate: f64,
    /// Weight decay, not on biases.
    pub weight_decay: f64,
    /// Weight `r` of the ranking term.
    pub ranking: f64,
    /// Whether like choices of different blocks share rows while training.
    pub sharing: bool,
}

/// Pairs up to which narrow networks do as well, and their width and steps.
const FEW_PAIRS: usize = 1000;
const NARROW: (usize, usize) = (128, 300);

impl Default for MlpSettings {
    fn default() -> Self {
        Self {
            hidden: 400,
            epochs: 40,
            steps: 500,
            batch: 64,
            learning_rate: 1e-3,
            weight_decay: 1e-4,
            ranking: 1.0,
            sharing: true,
        }
    }
}

impl MlpSettings {
    /// Settings for so many pairs: up to 1,000 of them, networks 128 wide, which order as well as the papers' 400 (in the
    /// mean with a process better) and are fitted in a fifteenth of the time.
    pub fn suited_to(pairs: usize) -> Self {
        let (hidden, steps) = NARROW;
        if pairs <= FEW_PAIRS { Self { hidden, steps, ..Self::default() } } else { Self::default() }
    }

    /// One network as in the papers' text: 400 wide, plain regression, every row its own.
    pub fn of_the_papers() -> Self {
        Self { ranking: 0.0, sharing: false, ..Self::default() }
    }
}

/// What to learn from: active features and standardised accuracies.
pub(crate) struct Examples<'a> {
    pub features: Vec<&'a [u32]>,
    pub targets: Vec<f32>,
}

/// Ranges of weights that stay as they are.
pub(crate) type Frozen = Vec<Range<usize>>;

/// Trains in place.
pub(crate) fn train(
    mlp: &mut Mlp,
    examples: &Examples<'_>,
    settings: &MlpSettings,
    frozen: &Frozen,
    rng: &mut ChaCha8Rng,
) -> Result<(), PredictorError> {
    let mut trainer = Trainer::new(mlp, settings);
    let batch = settings.batch.clamp(1, examples.targets.len());
    let per_epoch = examples.targets.len().div_ceil(batch);
    let epochs = settings.epochs.max(settings.steps.div_ceil(per_epoch)).max(1);
    for epoch in 0..epochs {
        let order = shuffled(examples.targets.len(), rng);
        let mut loss = 0.0;
        for chosen in order.chunks(batch) {
            let rate = cosine(settings.learning_rate, trainer.time, (epochs * per_epoch) as u64);
            loss += trainer.step(mlp, examples, chosen, frozen, rate)?;
        }
        if !loss.is_finite() {
            return Err(PredictorError::Diverged { epoch: epoch + 1, loss });
        }
    }
    Ok(())
}

/// Buffers of the optimiser and of one step.
struct Trainer {
    adam: Adam,
    ranking: f32,
    gradients: Vec<f32>,
    first_moment: Vec<f32>,
    second_moment: Vec<f32>,
    decays: Vec<bool>,
    time: u64,
    activations: Activations,
    output_gradient: Vec<f32>,
    third_gradient: Vec<f32>,
    second_gradient: Vec<f32>,
    joined_gradient: Vec<f32>,
}

impl Trainer {
    fn new(mlp: &Mlp, settings: &MlpSettings) -> Self {
        let (shape, length) = (mlp.shape, mlp.values.len());
        let mut decays = vec![true; length];
        let biases = [
            shape.first_bias(),
            shape.second_bias(),
            shape.third_bias(),
            shape.output_bias(),
            shape.policy_bias(),
        ];
        biases.into_iter().for_each(|range| decays[range].fill(false));
        Self {
            adam: Adam { weight_decay: settings.weight_decay as f32, ..Adam::default() },
            ranking: settings.ranking as f32,
            gradients: vec![0.0; length],
            first_moment: vec![0.0; length],
            second_moment: vec![0.0; length],
            decays,
            time: 0,
            activations: Activations::default(),
            output_gradient: Vec::new(),
            third_gradient: Vec::new(),
            second_gradient: Vec::new(),
            joined_gradient: Vec::new(),
        }
    }

    fn step(
        &mut self,
        mlp: &mut Mlp,
        examples: &Examples<'_>,
        chosen: &[usize],
        frozen: &Frozen,
        rate: f64,
    ) -> Result<f64, PredictorError> {
        let batch: Vec<&[u32]> = chosen.iter().map(|&index| examples.features[index]).collect();
        let targets: Vec<f32> = chosen.iter().map(|&index| examples.targets[index]).collect();
        mlp.forward(&batch, &mut self.activations)?;
        let loss = loss(&self.activations.output, &targets, self.ranking, &mut self.output_gradient);
        self.backward(mlp, &batch)?;
        frozen.iter().for_each(|range| self.gradients[range.clone()].fill(0.0));
        self.time += 1;
        let (values, first, second) = (&mut mlp.values, &mut self.first_moment, &mut self.second_moment);
        self.adam.step(values, &self.gradients, first, second, self.time, rate as f32, &self.decays)?;
        Ok(loss)
    }

    /// Gradients of all weights, from the gradient of the outputs; layers in reverse.
    fn backward(&mut self, mlp: &Mlp, batch: &[&[u32]]) -> Result<(), PredictorError> {
        let shape = mlp.shape;
        self.gradients.fill(0.0);
        self.output_backward(mlp);
        let (gradients, activations) = (&mut self.gradients, &self.activations);
        masked(&mut self.third_gradient, &activations.third);
        linear_backward(
            &activations.second,
            &mlp.values[shape.third()],
            &self.third_gradient,
            shape.hidden,
            gradients_of(gradients, shape.third(), shape.third_bias()),
            &mut self.second_gradient,
        )?;
        masked(&mut self.second_gradient, &activations.second);
        linear_backward(
            &activations.joined,
            &mlp.values[shape.second()],
            &self.second_gradient,
            shape.hidden,
            gradients_of(gradients, shape.second(), shape.second_bias()),
            &mut self.joined_gradient,
        )?;
        self.first_backward(mlp, batch);
        Ok(())
    }

    fn output_backward(&mut self, mlp: &Mlp) {
        let (shape, hidden) = (mlp.shape, mlp.shape.hidden);
        self.third_gradient.clear();
        for (row, &gradient) in self.activations.third.chunks_exact(hidden).zip(&self.output_gradient) {
            self.third_gradient.extend(mlp.values[shape.output()].iter().map(|weight| weight * gradient));
            let weights = self.gradients[shape.output()].iter_mut().zip(row);
            weights.for_each(|(sum, value)| *sum += value * gradient);
            self.gradients[shape.output_bias().start] += gradient;
        }
    }

    fn first_backward(&mut self, mlp: &Mlp, batch: &[&[u32]]) {
        let (shape, hidden) = (mlp.shape, mlp.shape.hidden);
        if shape.placement == HeadPlacement::AfterActivation {
            self.policy_backward(mlp, batch);
        }
        masked(&mut self.joined_gradient, &self.activations.first);
        if shape.placement == HeadPlacement::BeforeActivation {
            self.policy_backward(mlp, batch);
        }
        for (gradient, features) in self.joined_gradient.chunks_exact(hidden).zip(batch) {
            super::add(&mut self.gradients[shape.first_bias()], gradient);
            for &feature in features.iter().take_while(|&&feature| (feature as usize) < shape.architecture) {
                let start = shape.rows().start + feature as usize * hidden;
                super::add(&mut self.gradients[start..start + hidden], gradient);
            }
        }
    }

    fn policy_backward(&mut self, mlp: &Mlp, batch: &[&[u32]]) {
        let (shape, hidden) = (mlp.shape, mlp.shape.hidden);
        if shape.policy == 0 {
            return;
        }
        for (gradient, features) in self.joined_gradient.chunks_exact(hidden).zip(batch) {
            super::add(&mut self.gradients[shape.policy_bias()], gradient);
            for &feature in features.iter().skip_while(|&&feature| (feature as usize) < shape.architecture) {
                let start = shape.policy_rows().start + (feature as usize - shape.architecture) * hidden;
                super::add(&mut self.gradients[start..start + hidden], gradient);
            }
        }
    }
}

/// The weight and bias parts of the gradient, which lie one after the other.
fn gradients_of(
    gradients: &mut [f32],
    weights: Range<usize>,
    bias: Range<usize>,
) -> (&mut [f32], &mut [f32]) {
    gradients[weights.start..bias.end].split_at_mut(weights.len())
}

/// Mean loss; writes its gradient with respect to the outputs.
fn loss(outputs: &[f32], targets: &[f32], ranking: f32, gradient: &mut Vec<f32>) -> f64 {
    let count = outputs.len() as f32;
    gradient.clear();
    gradient.extend(outputs.iter().zip(targets).map(|(s, t)| 2.0 * (s - t) / count));
    let squares: f64 = outputs.iter().zip(targets).map(|(s, t)| f64::from((s - t).powi(2))).sum();
    let ranked = if ranking > 0.0 { ranking_loss(outputs, targets, ranking, gradient) } else { 0.0 };
    squares / f64::from(count) + ranked
}

fn ranking_loss(outputs: &[f32], targets: &[f32], ranking: f32, gradient: &mut [f32]) -> f64 {
    let ordered = |i: usize, j: usize| targets[i] > targets[j];
    let count = outputs.len();
    let pairs = (0..count).map(|i| (0..count).filter(|&j| ordered(i, j)).count()).sum::<usize>();
    let weight = ranking / pairs.max(1) as f32;
    let mut sum = 0.0;
    for i in 0..count {
        for j in (0..count).filter(|&j| ordered(i, j)) {
            let margin = outputs[j] - outputs[i];
            let slope = weight / (1.0 + (-margin).exp());
            gradient[i] -= slope;
            gradient[j] += slope;
            sum += f64::from(weight * (margin.max(0.0) + (-margin.abs()).exp().ln_1p()));
        }
    }
    sum
}

/// Zeroes the gradient where the ReLU was off.
fn masked(gradient: &mut [f32], activation: &[f32]) {
    gradient.iter_mut().zip(activation).for_each(|(gradient, &value)| {
        *gradient = if value > 0.0 { *gradient } else { 0.0 };
    });
}

/// Adds `inputᵀ · gradient` and the column sums to the parts; writes `gradient · weightsᵀ`.
fn linear_backward(
    input: &[f32],
    weights: &[f32],
    gradient: &[f32],
    hidden: usize,
    parts: (&mut [f32], &mut [f32]),
    input_gradient: &mut Vec<f32>,
) -> Result<(), PredictorError> {
    let batch = gradient.len() / hidden;
    let gradient_matrix = Matrix::dense(gradient, batch, hidden);
    let inputs = Matrix::dense(input, batch, hidden).transposed();
    gemm(inputs, gradient_matrix, MatrixMut::dense(parts.0, hidden, hidden), true)?;
    gradient.chunks_exact(hidden).for_each(|row| super::add(parts.1, row));
    input_gradient.resize(batch * hidden, 0.0);
    let transposed = Matrix::dense(weights, hidden, hidden).transposed();
    Ok(gemm(gradient_matrix, transposed, MatrixMut::dense(input_gradient, batch, hidden), false)?)
}

#[cfg(test)]
mod tests {
    use super::super::Shape;
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// Central differences in f32 with this step are good to about three digits.
    const STEP: f32 = 2e-3;
    const RELATIVE: f32 = 2e-2;

    fn example_network(placement: HeadPlacement) -> (Mlp, Vec<Vec<u32>>, Vec<f32>) {
        let shape = Shape { architecture: 6, policy: 4, hidden: 8, placement };
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut mlp = Mlp::random(shape, 4, &mut rng);
        mlp.values[shape.policy_bias()].iter_mut().for_each(|value| *value = rng.random_range(0.0..0.5));
        let features = vec![vec![0, 2, 6, 8], vec![1, 3, 7, 9], vec![0, 4, 6], vec![5, 7, 8], vec![2, 9]];
        (mlp, features, vec![0.3, -1.0, 0.8, 1.2, -0.4])
    }

    fn loss_of(mlp: &Mlp, features: &[&[u32]], targets: &[f32]) -> f64 {
        let mut activations = Activations::default();
        mlp.forward(features, &mut activations).expect("fits");
        loss(&activations.output, targets, 0.7, &mut Vec::new())
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for placement in [HeadPlacement::BeforeActivation, HeadPlacement::AfterActivation] {
            let (mut mlp, features, targets) = example_network(placement);
            let features: Vec<&[u32]> = features.iter().map(Vec::as_slice).collect();
            let mut trainer = Trainer::new(&mlp, &MlpSettings { ranking: 0.7, ..MlpSettings::default() });
            mlp.forward(&features, &mut trainer.activations).expect("fits");
            loss(&trainer.activations.output, &targets, 0.7, &mut trainer.output_gradient);
            trainer.backward(&mlp, &features).expect("fits");
            let mut checked = 0;
            for index in 0..mlp.values.len() {
                let value = mlp.values[index];
                let mut at = |v: f32| {
                    mlp.values[index] = v;
                    loss_of(&mlp, &features, &targets) as f32
                };
                let (up, down, middle) = (at(value + STEP), at(value - STEP), at(value));
                let kink = (up + down - 2.0 * middle).abs() > 0.1 * (up - down).abs().max(1e-4);
                let difference = (up - down) / (2.0 * STEP);
                let close =
                    (difference - trainer.gradients[index]).abs() <= RELATIVE * difference.abs().max(0.02);
                assert!(close || kink, "{placement:?} {index}: {difference} {}", trainer.gradients[index]);
                checked += usize::from(!kink);
            }
            assert!(checked * 2 > mlp.values.len(), "most weights must be away from kinks: {checked}");
        }
    }

    #[test]
    fn frozen_weights_do_not_move() {
        let (mut mlp, features, targets) = example_network(HeadPlacement::BeforeActivation);
        let before = mlp.clone();
        let examples = Examples { features: features.iter().map(Vec::as_slice).collect(), targets };
        let settings = MlpSettings { steps: 20, weight_decay: 0.0, ..MlpSettings::default() };
        let frozen = vec![mlp.shape.rows()];
        train(&mut mlp, &examples, &settings, &frozen, &mut ChaCha8Rng::seed_from_u64(0)).expect("trains");
        assert_eq!(mlp.values[mlp.shape.rows()], before.values[mlp.shape.rows()]);
        assert_ne!(mlp.values[mlp.shape.second()], before.values[mlp.shape.second()]);
    }

    #[test]
    fn learns_what_it_is_shown() {
        let (mut mlp, features, targets) = example_network(HeadPlacement::AfterActivation);
        let features: Vec<&[u32]> = features.iter().map(Vec::as_slice).collect();
        let examples = Examples { features: features.clone(), targets: targets.clone() };
        let settings =
            MlpSettings { steps: 600, learning_rate: 1e-2, ranking: 0.0, ..MlpSettings::default() };
        train(&mut mlp, &examples, &settings, &Vec::new(), &mut ChaCha8Rng::seed_from_u64(0))
            .expect("trains");
        let mut activations = Activations::default();
        mlp.forward(&features, &mut activations).expect("fits");
        for (output, target) in activations.output.iter().zip(&targets) {
            assert!((output - target).abs() < 0.05, "{output} {target}");
        }
    }
}
