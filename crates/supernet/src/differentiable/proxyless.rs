//! # ProxylessNAS: one path at a time
//!
//! Cai, Wang, Wu, Wang, Lin and Han, "On-Device Image Classification with Proxyless Neural Architecture Search and
//! Quantization-Aware Fine-tuning", section 2, after Cai, Zhu and Han, "ProxylessNAS". Every block chooses one of its
//! operations, or none:
//!
//! ```text
//! x_l = Σᵢ gᵢ oᵢ(x_{l−1}),   g one-hot, drawn from p = softmax(α)                     (1)
//! ∂L/∂αᵢ ≈ Σⱼ ∂L/∂gⱼ pⱼ (δᵢⱼ − pᵢ)                        over the two paths that were drawn
//! E[LAT] = Σ_l Σᵢ pᵢ F(oᵢ)                                                            (2)
//! L = L_CE · α log(E[LAT] / LAT_ref)^β                                                 (3, as typeset)
//! ```
//!
//! Weights: one path is drawn, and only it is computed. Controller, on held-out images: two paths of every block are
//! drawn, one of them active; the gate gradients of both come out of the weight gradient, because the operations of a
//! block share their weights (the first channels, the centre of the kernel): see [`super::mixture`]. What is in memory
//! is a single path, the smallest that holds both. The found network is trained in full precision and then quantized to
//! 8 bits with fake-quantization fine-tuning, as in section 3.2.
//!
//! Differs from the paper: operations share weights instead of having their own, so that every method here has the same
//! supernet; the latency gradient is exact over all paths, not over the two drawn ones; equation 3 as typeset vanishes
//! at the target, so [`Loss`] offers the forms that work; the found path is the most probable one *near the target*.
//! Costs are in percent of a reference, as in [`super::cost`].

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sartor_engine::optimizer::{Adam, Sgd};
use sartor_space::{Candidate, SearchSpace, Subnet};

use crate::data::{Augmentation, Dataset};
use crate::error::Result;
use crate::objective::{Objective, Outcome as Answer, Scratch};
use crate::parameters::Layout;
use crate::progress::check_loss;
use crate::random::{Purpose, stream};
use crate::schedule::learning_rate;
use crate::supernet::Supernet;
use crate::workbench::Workbench;

use super::bilevel::Side;
use super::choices::{Choice, Choices, Pinned, Precision};
use super::cost::{Costs, Expected};
use super::derive::Window;
use super::feed::Feed;
use super::gong::derive;
use super::gumbel;
use super::mixture::{Mixed, Mixture};
use super::outcome::{Counters, Observer, Outcome, Row};

mod settings;

pub use settings::{Loss, Settings};

/// Name for messages.
const PHASE: &str = "search";
/// The choices of a search: whole operations, in full precision.
///
/// # Errors
/// A space that cannot be trained.
pub fn choices(space: &SearchSpace) -> Result<Choices> {
    Choices::new(space, &Pinned { subnet: None, precision: Precision::Full, operations: true })
}

/// A search, step by step.
pub struct Search<'a> {
    settings: Settings,
    choices: Choices,
    costs: Costs<'a>,
    expected: Expected,
    layout: Layout,
    weights: Vec<f32>,
    velocity: Vec<f32>,
    decay_mask: Vec<bool>,
    logits: Vec<f32>,
    moments: [Vec<f32>; 2],
    workbench: Workbench<'a>,
    feed: Feed,
    objective: Objective,
    scratch: Scratch,
    mixed: Mixed,
    gradients: Vec<f32>,
    counters: Counters,
    history: Vec<Row>,
    step: usize,
    steps: usize,
    seed: u64,
}

/// Two options of a choice: the one that is active, and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    active: usize,
    other: usize,
}

impl<'a> Search<'a> {
    /// A search at its first step, on the weights of a supernet (fresh ones for a search from scratch).
    ///
    /// # Errors
    /// Impossible settings, a space that cannot be trained, a data set of another shape.
    pub fn new(
        space: &SearchSpace,
        dataset: &'a Dataset,
        costs: Costs<'a>,
        supernet: &Supernet,
        settings: Settings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let choices = choices(space)?;
        let mixture = Mixture::new(&choices)?;
        let weights = mixture.inherit(supernet)?;
        let expected = Expected::new(&choices, &costs);
        let images = dataset.train.len().max(1);
        let share = settings.held_out_images.min(images / 2) as f64 / images as f64;
        let augmentation = Augmentation { shift: settings.shift, flip: settings.flip };
        let feed = Feed::new(dataset, settings.batch, share, augmentation, seed)?;
        let most = settings.epochs * feed.steps_per_epoch();
        let options = choices.options();
        Ok(Self {
            steps: settings.steps.map_or(most, |steps| steps.min(most)),
            counters: Counters { look_ups: expected.looked_up(), ..Counters::default() },
            workbench: Workbench::new(space, dataset, seed)?,
            objective: Objective {
                label_smoothing: settings.label_smoothing,
                distillation: 0.0,
                micro_batch: None,
            },
            decay_mask: mixture.decay_mask(),
            layout: mixture.layout().clone(),
            velocity: vec![0.0; weights.len()],
            logits: vec![0.0; options],
            moments: [vec![0.0; options], vec![0.0; options]],
            scratch: Scratch::default(),
            mixed: Mixed::default(),
            gradients: vec![],
            history: vec![],
            step: 0,
            settings,
            choices,
            costs,
            expected,
            weights,
            feed,
            seed,
        })
    }

    /// Whether every step is taken.
    pub fn is_done(&self) -> bool {
        self.step >= self.steps
    }

    /// Steps of the whole search.
    pub fn total_steps(&self) -> usize {
        self.steps
    }

    /// The choices.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The controller's logits.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// Bytes of the engine's buffers.
    pub fn memory(&self) -> usize {
        self.workbench.executor.memory()
    }

    /// One step of the weights of one path and, after the warm-up, one of the controller.
    ///
    /// # Errors
    /// Divergence, with the step.
    pub fn step(&mut self) -> Result<Row> {
        let step = self.step;
        let answer = self.weight_step().map_err(|error| error.in_step(PHASE, step))?;
        check_loss(answer.0.loss, self.choices.space().input().classes, PHASE, step)?;
        let started = step as f64 >= self.settings.warm_up * self.steps as f64;
        let held_out =
            if started { Some(self.controller_step().map_err(|e| e.in_step(PHASE, step))?) } else { None };
        self.step += 1;
        let p = gumbel::probabilities(self.choices.all(), &self.logits);
        let row = Row {
            step,
            steps: self.steps,
            temperature: 0.0,
            training_loss: answer.0.loss,
            accuracy: answer.0.correct as f64 / answer.1 as f64,
            held_out_loss: held_out.or(self.history.last().and_then(|row| row.held_out_loss)),
            expected_cost: self.expected.value(&self.choices, &p).0,
            entropy: gumbel::entropy(self.choices.all(), &self.logits),
        };
        self.history.push(row.clone());
        Ok(row)
    }

    /// Equation 1: one path is drawn and trained.
    fn weight_step(&mut self) -> Result<(Answer, usize)> {
        let mut rng = stream(self.seed, Purpose::Controller, [0, self.step as u64, 0]);
        let noise = gumbel::noise(self.logits.len(), &mut rng);
        let chosen = gumbel::hard(self.choices.all(), &self.logits, &noise);
        let coefficients = self.choices.coefficients_of(&self.choices.one_hot(&chosen));
        let path = self.choices.candidate(&chosen)?.subnet;
        let (answer, images, gradients, _) = self.pass(Side::Training, path, &coefficients)?;
        let sgd = Sgd {
            momentum: self.settings.momentum as f32,
            nesterov: true,
            weight_decay: self.settings.weight_decay as f32,
        };
        let rate = learning_rate(self.settings.learning_rate, self.step, 0, self.steps) as f32;
        sgd.step(&mut self.weights, &gradients, &mut self.velocity, rate, &self.decay_mask)?;
        Ok((answer, images))
    }

    /// Forward and backward through the network of `hull` with these coefficients; the gradients of weights and of
    /// coefficients.
    fn pass(
        &mut self,
        side: Side,
        hull: Subnet,
        coefficients: &[f32],
    ) -> Result<(Answer, usize, Vec<f32>, Vec<f32>)> {
        let workload = self.choices.space().lower(&Candidate { subnet: hull, policy: None });
        let mut mixture = Mixture::within(&self.choices, &self.layout, workload)?;
        mixture.mix(&self.weights, coefficients, coefficients, &mut self.mixed);
        let images = self.feed.load(&mut self.workbench, side, self.step);
        self.gradients.clear();
        self.gradients.resize(self.mixed.parameters.len(), 0.0);
        let model = (mixture.network(), &self.mixed.parameters[..]);
        let answer = self.objective.accumulate(
            &mut self.workbench,
            model,
            &mut self.scratch,
            1.0,
            &mut self.gradients,
        )?;
        self.workbench.work.add_step(images);
        let (mut of_weights, mut of_coefficients) =
            (vec![0.0; self.weights.len()], vec![0.0; coefficients.len()]);
        let into = (&mut of_weights[..], &mut of_coefficients[..]);
        mixture.backward(&self.weights, coefficients, &self.mixed, &self.gradients, into);
        Ok((answer, images, of_weights, of_coefficients))
    }

    /// The controller's step; returns the held-out loss.
    fn controller_step(&mut self) -> Result<f64> {
        let mut rng = stream(self.seed, Purpose::Controller, [1, self.step as u64, 0]);
        let p = gumbel::probabilities(self.choices.all(), &self.logits);
        let pairs: Vec<Pair> = self.choices.all().iter().map(|choice| draw(&p, choice, &mut rng)).collect();
        let hull = self.hull(&pairs)?;
        let (coefficients, idle) = self.gates(&pairs);
        let (answer, _, _, mut of_coefficients) = self.pass(Side::HeldOut, hull, &coefficients)?;
        idle.iter().for_each(|&place| of_coefficients[place] = 0.0);
        let of_gates = self.choices.backward(&of_coefficients);
        let percent = 100.0 / self.costs.reference;
        let (expected, of_p) = self.expected.value(&self.choices, &p);
        let (of_loss, of_cost) = self.settings.factors(answer.loss, expected * percent);
        let mut gradient = gumbel::backward(self.choices.all(), &p, &of_p, 1.0);
        gradient.iter_mut().for_each(|g| *g *= (of_cost * percent) as f32);
        for (choice, pair) in self.choices.all().iter().zip(&pairs) {
            add_gates(choice, pair, &p, &of_gates, of_loss as f32, &mut gradient);
        }
        self.counters.controller_steps += 1;
        let [first, second] = &mut self.moments;
        let (time, rate) = (self.counters.controller_steps, self.settings.controller_rate as f32);
        let adam = Adam { beta1: 0.0, ..Adam::default() };
        adam.step(&mut self.logits, &gradient, first, second, time, rate, &vec![false; gradient.len()])?;
        Ok(answer.loss)
    }

    /// The smallest network that holds both options of every pair.
    fn hull(&self, pairs: &[Pair]) -> Result<Subnet> {
        let both = [Pair::active as fn(&Pair) -> usize, Pair::other].map(|which| {
            let chosen: Vec<usize> = pairs.iter().map(which).collect();
            let y = self.choices.one_hot(&chosen);
            self.choices.shapes(&self.choices.coefficients_of(&y))
        });
        let [active, other] = both;
        let blocks = active.into_iter().zip(other).map(|pair| match pair {
            (Some(a), Some(b)) => Some(self.choices.covering(a, b)),
            (one, two) => one.or(two),
        });
        Ok(Subnet { blocks: blocks.collect() })
    }

    /// The coefficients of the active options. Where a block's active option is none of its operations, the other one's
    /// shape stands in and its presence is zero; `idle` are the coefficients of shapes that stand in.
    fn gates(&self, pairs: &[Pair]) -> (Vec<f32>, Vec<usize>) {
        let chosen: Vec<usize> = pairs.iter().map(Pair::active).collect();
        let mut coefficients = self.choices.coefficients_of(&self.choices.one_hot(&chosen));
        let mut idle = vec![];
        for (choice, pair) in self.choices.all().iter().zip(pairs) {
            let sets = |option: usize| self.choices.sets(choice.range.start + option);
            let Some(places) = choice.block.and_then(|block| self.choices.block(block)) else { continue };
            if sets(pair.active).is_empty() {
                for &place in sets(pair.other).iter().filter(|&&place| place != places.active) {
                    coefficients[place] = 1.0;
                    idle.push(place);
                }
            }
        }
        (coefficients, idle)
    }

    /// The most probable path near the target that `allowed` admits, and costs at most `limit`; the most probable one
    /// below the target where there is none near it.
    ///
    /// # Errors
    /// When there is none at all.
    pub fn finish(self, limit: f64, allowed: &dyn Fn(&Candidate) -> bool) -> Result<Outcome> {
        let (target, tolerance) =
            (self.settings.target * self.costs.reference / 100.0, self.settings.tolerance);
        let high = limit.min(target * (1.0 + tolerance));
        let near = Window { low: target * (1.0 - tolerance), high };
        let find = |window| derive(&self.choices, &self.logits, &self.expected, window, allowed);
        let (candidate, log_probability) = find(near).or_else(|_| find(Window { low: 0.0, high }))?;
        let cost = (self.costs.whole)(&candidate);
        let p = gumbel::probabilities(self.choices.all(), &self.logits);
        Ok(Outcome {
            candidate,
            cost,
            log_probability,
            expected_cost: self.expected.value(&self.choices, &p).0,
            counters: Counters { work: self.workbench.work, ..self.counters },
            history: self.history,
        })
    }
}

impl Pair {
    fn active(&self) -> usize {
        self.active
    }

    fn other(&self) -> usize {
        self.other
    }
}

/// Two different options by their probabilities, and which of the two is active by theirs again.
fn draw(p: &[f32], choice: &Choice, rng: &mut ChaCha8Rng) -> Pair {
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
fn add_gates(choice: &Choice, pair: &Pair, p: &[f32], gates: &[f32], scale: f32, gradient: &mut [f32]) {
    let (i, j) = (choice.range.start + pair.active, choice.range.start + pair.other);
    let share = p[i] / (p[i] + p[j]).max(f32::MIN_POSITIVE);
    let slope = scale * share * (1.0 - share) * (gates[i] - gates[j]);
    gradient[i] += slope;
    gradient[j] -= slope;
}

/// Runs a whole search; the found path costs at most `limit`.
///
/// # Errors
/// As [`Search::new`], [`Search::step`] and [`Search::finish`].
pub fn search(
    dataset: &Dataset,
    costs: Costs<'_>,
    (space, supernet): (&SearchSpace, &Supernet),
    (settings, seed): (Settings, u64),
    (limit, allowed): (f64, &dyn Fn(&Candidate) -> bool),
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let mut search = Search::new(space, dataset, costs, supernet, settings, seed)?;
    while !search.is_done() {
        let row = search.step()?;
        observer.row(&row);
    }
    search.finish(limit, allowed)
}

#[cfg(test)]
mod tests;
