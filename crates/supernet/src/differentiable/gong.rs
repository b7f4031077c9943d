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
//! in one network ([`super::mixture`]) whose forward passes see quantized weights and inputs only. Settings for the samples
//! follow FBNet, as the paper says: temperature 5, times 0.956 a period, a controller that starts late and is trained on
//! images of its own.
//!
//! Differs from the paper: the found candidate is the most probable one *within the limit*; weights are mixed rather
//! than outputs (see [`super::mixture`]); cost is in percent of the largest network at 8 bits and REINFORCE has a
//! baseline, or is replaced by the exact expectation (see [`super::cost`]); the held-out images are a share of the training
//! images, so that validation can judge what is found.

use sartor_space::SearchSpace;

use crate::data::Dataset;
use crate::error::Result;
use crate::random::{Purpose, stream};
use crate::supernet::Supernet;
use crate::work::Work;

use super::bilevel::{Losses, Of, Side, first_order, second_order};
use super::choices::{Choices, Pinned};
use super::cost::{Costs, reinforce};
use super::derive::Window;
use super::gumbel;
use super::outcome::{Observer, Outcome};
use super::search::{Decided, Here, Rule, Start, Trained};
use super::settings::Shared;
use task::Task;

mod settings;
mod task;

pub use settings::{CostGradient, Order, Settings};

/// A search, step by step (algorithm 1).
pub type Search<'a> = super::search::Search<'a, Gong<'a>>;

/// Where the gradients come from.
pub struct Gong<'a> {
    settings: Settings,
    task: Task<'a>,
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
        let mut task = Task::new(dataset, &choices, &settings, seed)?;
        let mut weights = task.mixture.inherit(supernet)?;
        let images = settings.calibration_images;
        let ranges = task.mixture.observe_ranges(&mut task.workbench, &weights, images)?;
        weights.extend(ranges);
        let (decay_mask, steps_per_epoch) = (task.mixture.decay_mask(), task.feed.steps_per_epoch());
        let start = Start { weights, decay_mask, steps_per_epoch, multiplier: 0.0, seed };
        Ok(Self::starting(Gong { settings, task }, choices, costs, start))
    }
}

impl Rule for Gong<'_> {
    const BETA1: f32 = 0.5;

    fn settings(&self) -> &dyn Shared {
        &self.settings
    }

    fn work(&self) -> Work {
        self.task.workbench.work
    }

    fn go_on_from(&mut self, work: Work) {
        self.task.workbench.work = work;
    }

    fn memory(&self) -> usize {
        self.task.workbench.executor.memory()
    }

    fn images(&self) -> &str {
        &self.task.workbench.dataset.hash
    }

    fn temperature(&self, step: usize, steps: usize) -> f64 {
        self.settings.temperature_at(step, steps)
    }

    fn turn(&self, step: usize, _: usize) -> bool {
        step.is_multiple_of(self.settings.weight_steps)
    }

    fn sharpening(&self, _: usize, _: usize) -> f32 {
        1.0
    }

    fn train(&mut self, here: &Here<'_>) -> Result<Trained> {
        self.task.begin(self.settings.temperature_at(here.step, here.steps), here.seed, here.step);
        let found = self.task.at(Side::Training, here.weights, here.logits, Of::Weights)?;
        Ok(Trained { loss: found.loss, accuracy: self.task.correct, gradient: found.weights })
    }

    /// Equations 5 to 7.
    fn decide(&mut self, here: &Here<'_>, trained: &Trained, rate: f64) -> Result<Decided> {
        let task: &mut dyn Losses = &mut self.task;
        let (loss, mut gradient) = match self.settings.order {
            Order::First => first_order(task, here.weights, here.logits),
            Order::Second => second_order(task, here.weights, here.logits, (&trained.gradient, rate)),
        }?;
        let (of_cost, looked_up) = self.cost_gradient(here)?;
        gradient.iter_mut().zip(of_cost).for_each(|(to, g)| *to += g);
        Ok(Decided { loss, gradient, multiplier: 0.0, looked_up })
    }
}

impl Gong<'_> {
    /// The gradient of λ [E J − c]₊, J in percent of the reference, and how many costs were asked for.
    fn cost_gradient(&self, here: &Here<'_>) -> Result<(Vec<f32>, u64)> {
        let percent = 100.0 / here.costs.reference;
        let all = here.choices.all();
        let (mean, gradient, looked_up) = match self.settings.cost_gradient {
            CostGradient::Expected => {
                let p = gumbel::probabilities(all, here.logits);
                let (mean, gradient) = here.expected.value(here.choices, &p);
                (mean, gumbel::backward(all, &p, &gradient, 1.0), 0)
            }
            CostGradient::Reinforce => {
                let samples = self.cost_samples(here)?;
                let mean = samples.iter().map(|(_, cost)| cost).sum::<f64>() / samples.len() as f64;
                (mean, reinforce(all, here.logits, &samples), samples.len() as u64)
            }
        };
        let violated = mean * percent > self.settings.limit.unwrap_or(0.0);
        let scale = if violated { (self.settings.lambda * percent) as f32 } else { 0.0 };
        Ok((gradient.into_iter().map(|g| scale * g).collect(), looked_up))
    }

    fn cost_samples(&self, here: &Here<'_>) -> Result<Vec<(Vec<usize>, f64)>> {
        let mut rng = stream(here.seed, Purpose::Controller, [1, here.step as u64, 0]);
        let mut one = || {
            let noise = gumbel::noise(here.logits.len(), &mut rng);
            let chosen = gumbel::hard(here.choices.all(), here.logits, &noise);
            let cost = (here.costs.whole)(&here.choices.candidate(&chosen)?);
            Ok((chosen, cost))
        };
        (0..self.settings.cost_samples).map(|_| one()).collect()
    }
}

/// Runs a whole search.
///
/// # Errors
/// As [`Search::new`], [`step`](super::search::Search::step) and [`finish`](super::search::Search::finish).
pub fn search(
    dataset: &Dataset,
    pinned: &Pinned,
    costs: Costs<'_>,
    (space, supernet): (&SearchSpace, &Supernet),
    (settings, seed): (Settings, u64),
    (window, allowed): (Window, &dyn Fn(&sartor_space::Candidate) -> bool),
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let choices = Choices::new(space, pinned)?;
    let mut search = Search::new(dataset, choices, costs, supernet, settings, seed)?;
    search.run_all(observer)?;
    search.finish(&[window], allowed)
}

#[cfg(test)]
mod tests;
