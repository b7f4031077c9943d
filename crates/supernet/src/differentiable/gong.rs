//! # Gong: architecture and bit-widths by gradient, under an energy constraint
//!
//! Gong, Jiang, Wang, Lin, Liu and Pan, "Mixed Precision Neural Architecture Search for Energy Efficient Deep Learning",
//! algorithm 1, and the slides to it:
//!
//! ```text
//! min_θ E_{α∼π_θ} L(f_w*(α); D_val) + λ [E J(α) − c]₊                    (2)
//! w' = w − ε ∇_w L(f_w(α); D_trn)                                        (4)   [`super::bilevel`]
//! θ ← θ − β ∇_θ L(f_{w'}(α); D_val)                                      (5, 6)
//! ∇_θ E J ≈ 1/k Σ J(αᵢ) ∇_θ log π_θ(αᵢ)                                  (7)   [`super::cost`]
//! ```
//!
//! with Gumbel-softmax samples α ([`super::gumbel`]) of skip, expansion, kernel and the two widths b₁, b₂ of every block, all
//! in one network ([`Mixture`]) whose forward passes see quantized weights and inputs only. Settings for the samples
//! follow FBNet, as the paper says: temperature 5, times 0.956 a period, a controller that starts late and is trained on
//! images of its own.
//!
//! Differs from the paper: the found candidate is the most probable one *within the limit*; weights are mixed rather
//! than outputs (see [`super::mixture`]); cost is in percent of the largest network at 8 bits and REINFORCE has a
//! baseline, or is replaced by the exact expectation (see [`super::cost`]); the held-out images are a share of the training
//! images, so that validation can judge what is found.

use sartor_engine::optimizer::{Adam, Sgd};

use crate::data::{Augmentation, Dataset};
use crate::error::{Result, SupernetError};
use crate::objective::{Objective, Scratch};
use crate::progress::check_loss;
use crate::random::{Purpose, stream};
use crate::schedule::learning_rate;
use crate::supernet::Supernet;
use crate::workbench::Workbench;

use super::bilevel::{Gradients, Losses, Side, first_order, second_order};
use super::choices::{Choices, Pinned};
use super::cost::{Costs, Expected, reinforce};
use super::derive::{Window, most_probable};
use super::feed::Feed;
use super::gumbel;
use super::mixture::{Mixed, Mixture};
use super::outcome::{Counters, Observer, Outcome, Row};

mod settings;

pub use settings::{CostGradient, Order, Settings};

/// Name for messages.
const PHASE: &str = "search";

/// A search, step by step.
pub struct Search<'a> {
    settings: Settings,
    choices: Choices,
    costs: Costs<'a>,
    expected: Expected,
    task: Task<'a>,
    weights: Vec<f32>,
    velocity: Vec<f32>,
    decay_mask: Vec<bool>,
    logits: Vec<f32>,
    moments: [Vec<f32>; 2],
    counters: Counters,
    history: Vec<Row>,
    step: usize,
    steps: usize,
    seed: u64,
}

/// The network side of a search: losses of the mixture and their gradients.
struct Task<'a> {
    choices: Choices,
    mixture: Mixture,
    mixed: Mixed,
    workbench: Workbench<'a>,
    feed: Feed,
    objective: Objective,
    scratch: Scratch,
    gradients: Vec<f32>,
    noise: Vec<f32>,
    temperature: f64,
    step: usize,
    correct: f64,
}

impl<'a> Search<'a> {
    /// A search at its first step, on the weights of a supernet (fresh ones for a search from scratch).
    ///
    /// # Errors
    /// Impossible settings, a space that cannot be trained, a data set of another shape.
    pub fn new(
        dataset: &'a Dataset,
        choices: Choices,
        costs: Costs<'a>,
        supernet: &Supernet,
        settings: Settings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let expected = Expected::new(&choices, &costs);
        let mut task = Task::new(dataset, &choices, &settings, seed)?;
        let mut weights = task.mixture.inherit(supernet)?;
        let images = settings.calibration_images;
        let ranges = task.mixture.observe_ranges(&mut task.workbench, &weights, images)?;
        weights.extend(ranges);
        let most = settings.epochs * task.feed.steps_per_epoch();
        let options = choices.options();
        Ok(Self {
            steps: settings.steps.map_or(most, |steps| steps.min(most)),
            counters: Counters { look_ups: expected.looked_up(), ..Counters::default() },
            decay_mask: task.mixture.decay_mask(),
            velocity: vec![0.0; weights.len()],
            logits: vec![0.0; options],
            moments: [vec![0.0; options], vec![0.0; options]],
            settings,
            choices,
            costs,
            expected,
            task,
            weights,
            history: vec![],
            step: 0,
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
        self.task.workbench.executor.memory()
    }

    /// One step of the weights and, when it is its turn, one of the controller (algorithm 1).
    ///
    /// # Errors
    /// Divergence, with the step.
    pub fn step(&mut self) -> Result<Row> {
        let step = self.step;
        self.task.begin(self.settings.temperature_at(step, self.steps), self.seed, step);
        let training = self.task.at(Side::Training, &self.weights, &self.logits);
        let training = training.map_err(|error| error.in_step(PHASE, step))?;
        let accuracy = self.task.correct;
        check_loss(training.loss, self.choices.space().input().classes, PHASE, step)?;
        let rate = learning_rate(self.settings.learning_rate, step, 0, self.steps);
        let started = step as f64 >= self.settings.warm_up * self.steps as f64;
        let turn = started && step.is_multiple_of(self.settings.weight_steps);
        let held_out_loss = if turn { Some(self.controller_step(rate)?) } else { None };
        self.descend(&training.weights, rate)?;
        self.step += 1;
        let row = self.row(training.loss, accuracy, held_out_loss);
        self.history.push(row.clone());
        Ok(row)
    }

    fn row(&self, training_loss: f64, accuracy: f64, held_out_loss: Option<f64>) -> Row {
        let p = gumbel::probabilities(self.choices.all(), &self.logits);
        let before = self.history.last().and_then(|row| row.held_out_loss);
        Row {
            step: self.step - 1,
            steps: self.steps,
            temperature: self.task.temperature,
            training_loss,
            accuracy,
            held_out_loss: held_out_loss.or(before),
            expected_cost: self.expected.value(&self.choices, &p).0,
            entropy: gumbel::entropy(self.choices.all(), &self.logits),
        }
    }

    fn descend(&mut self, gradients: &[f32], rate: f64) -> Result<()> {
        let sgd = Sgd {
            momentum: self.settings.momentum as f32,
            nesterov: true,
            weight_decay: self.settings.weight_decay as f32,
        };
        sgd.step(&mut self.weights, gradients, &mut self.velocity, rate as f32, &self.decay_mask)?;
        Ok(())
    }

    /// Equations 5 to 7; returns the held-out loss.
    fn controller_step(&mut self, rate: f64) -> Result<f64> {
        let task: &mut dyn Losses = &mut self.task;
        let found = match self.settings.order {
            Order::First => first_order(task, &self.weights, &self.logits),
            Order::Second => second_order(task, &self.weights, &self.logits, rate),
        };
        let (loss, mut gradient) = found.map_err(|error| error.in_step(PHASE, self.step))?;
        let of_cost = self.cost_gradient()?;
        gradient.iter_mut().zip(of_cost).for_each(|(to, g)| *to += g);
        self.counters.controller_steps += 1;
        let [first, second] = &mut self.moments;
        let (time, rate) = (self.counters.controller_steps, self.settings.controller_rate as f32);
        let mask = vec![false; gradient.len()];
        let adam = Adam { beta1: 0.5, ..Adam::default() };
        adam.step(&mut self.logits, &gradient, first, second, time, rate, &mask)?;
        Ok(loss)
    }

    /// The gradient of λ [E J − c]₊, J in percent of the reference.
    fn cost_gradient(&mut self) -> Result<Vec<f32>> {
        let percent = 100.0 / self.costs.reference;
        let p = gumbel::probabilities(self.choices.all(), &self.logits);
        let (mean, gradient) = match self.settings.cost_gradient {
            CostGradient::Expected => {
                let (mean, gradient) = self.expected.value(&self.choices, &p);
                (mean, gumbel::backward(self.choices.all(), &p, &gradient, 1.0))
            }
            CostGradient::Reinforce => {
                let samples = self.cost_samples()?;
                let mean = samples.iter().map(|(_, cost)| cost).sum::<f64>() / samples.len() as f64;
                (mean, reinforce(self.choices.all(), &self.logits, &samples))
            }
        };
        let violated = mean * percent > self.settings.limit.unwrap_or(0.0);
        let scale = if violated { (self.settings.lambda * percent) as f32 } else { 0.0 };
        Ok(gradient.into_iter().map(|g| scale * g).collect())
    }

    fn cost_samples(&mut self) -> Result<Vec<(Vec<usize>, f64)>> {
        let mut rng = stream(self.seed, Purpose::Controller, [1, self.step as u64, 0]);
        let mut samples = vec![];
        for _ in 0..self.settings.cost_samples {
            let noise = gumbel::noise(self.logits.len(), &mut rng);
            let chosen = gumbel::hard(self.choices.all(), &self.logits, &noise);
            let cost = (self.costs.whole)(&self.choices.candidate(&chosen)?);
            samples.push((chosen, cost));
        }
        self.counters.look_ups += samples.len() as u64;
        Ok(samples)
    }

    /// The most probable candidate within a window of costs that `allowed` admits; the window's end is lowered by
    /// hundredths until there is one.
    ///
    /// # Errors
    /// When there is none.
    pub fn finish(
        self,
        window: Window,
        allowed: &dyn Fn(&sartor_space::Candidate) -> bool,
    ) -> Result<Outcome> {
        let found = derive(&self.choices, &self.logits, &self.expected, window, allowed)?;
        let cost = (self.costs.whole)(&found.0);
        let p = gumbel::probabilities(self.choices.all(), &self.logits);
        Ok(Outcome {
            candidate: found.0,
            cost,
            log_probability: found.1,
            expected_cost: self.expected.value(&self.choices, &p).0,
            counters: Counters { work: self.task.workbench.work, ..self.counters },
            history: self.history,
        })
    }
}

/// Windows that are tried before a search gives up.
const WINDOWS: usize = 100;

/// The most probable candidate in the window that `allowed` admits.
pub(super) fn derive(
    choices: &Choices,
    logits: &[f32],
    expected: &Expected,
    mut window: Window,
    allowed: &dyn Fn(&sartor_space::Candidate) -> bool,
) -> Result<(sartor_space::Candidate, f64)> {
    let most: f64 =
        expected.blocks.iter().map(|terms| terms.iter().map(|t| t.cost).fold(0.0, f64::max)).sum();
    window.high = window.high.min(expected.fixed + most);
    let step = (window.high - window.low.max(expected.fixed)) / WINDOWS as f64;
    for _ in 0..WINDOWS {
        let Some((chosen, log)) = most_probable(choices, logits, expected, window) else { break };
        let candidate = choices.candidate(&chosen)?;
        if allowed(&candidate) {
            return Ok((candidate, log));
        }
        window.high -= step;
    }
    Err(SupernetError::NothingAllowed { low: window.low, high: window.high })
}

impl<'a> Task<'a> {
    fn new(dataset: &'a Dataset, choices: &Choices, settings: &Settings, seed: u64) -> Result<Self> {
        let augmentation = Augmentation { shift: settings.shift, flip: settings.flip };
        Ok(Self {
            choices: choices.clone(),
            mixture: Mixture::new(choices)?,
            mixed: Mixed::default(),
            workbench: Workbench::new(choices.space(), dataset, seed)?,
            feed: Feed::new(dataset, settings.batch, settings.held_out, augmentation, seed)?,
            objective: Objective {
                label_smoothing: settings.label_smoothing,
                distillation: 0.0,
                micro_batch: None,
            },
            scratch: Scratch::default(),
            gradients: vec![],
            noise: vec![],
            temperature: 1.0,
            step: 0,
            correct: 0.0,
        })
    }

    /// Draws the step's noise.
    fn begin(&mut self, temperature: f64, seed: u64, step: usize) {
        let mut rng = stream(seed, Purpose::Controller, [0, step as u64, 0]);
        self.noise = gumbel::noise(self.choices.options(), &mut rng);
        (self.temperature, self.step) = (temperature, step);
    }
}

impl Losses for Task<'_> {
    fn at(&mut self, side: Side, weights: &[f32], controller: &[f32]) -> Result<Gradients> {
        let images = self.feed.load(&mut self.workbench, side, self.step);
        let (all, choices) = (self.choices.all(), &self.choices);
        let y = gumbel::relaxed(all, controller, &self.noise, self.temperature);
        let sample = choices.one_hot(&gumbel::hard(all, controller, &self.noise));
        let (coefficients, sampled) = (choices.coefficients_of(&y), choices.coefficients_of(&sample));
        self.mixture.mix(weights, &coefficients, &sampled, &mut self.mixed);
        self.gradients.clear();
        self.gradients.resize(self.mixed.parameters.len(), 0.0);
        let model = (self.mixture.network(), &self.mixed.parameters[..]);
        let outcome = self.objective.accumulate(
            &mut self.workbench,
            model,
            &mut self.scratch,
            1.0,
            &mut self.gradients,
        )?;
        let (mut of_weights, mut of_coefficients) =
            (vec![0.0; weights.len()], vec![0.0; choices.coefficients()]);
        let into = (&mut of_weights[..], &mut of_coefficients[..]);
        self.mixture.backward(weights, &coefficients, &self.mixed, &self.gradients, into);
        let of_y = choices.backward(&of_coefficients);
        self.workbench.work.add_step(images);
        self.correct = outcome.correct as f64 / images as f64;
        let controller = gumbel::backward(all, &y, &of_y, self.temperature);
        Ok(Gradients { loss: outcome.loss, weights: of_weights, controller })
    }
}

/// Runs a whole search.
///
/// # Errors
/// As [`Search::new`], [`Search::step`] and [`Search::finish`].
pub fn search(
    dataset: &Dataset,
    pinned: &Pinned,
    costs: Costs<'_>,
    supernet: (&sartor_space::SearchSpace, &Supernet),
    (settings, seed): (Settings, u64),
    (window, allowed): (Window, &dyn Fn(&sartor_space::Candidate) -> bool),
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let choices = Choices::new(supernet.0, pinned)?;
    let mut search = Search::new(dataset, choices, costs, supernet.1, settings, seed)?;
    while !search.is_done() {
        let row = search.step()?;
        observer.row(&row);
    }
    search.finish(window, allowed)
}

#[cfg(test)]
mod tests;
