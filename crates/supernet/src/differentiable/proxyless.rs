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
//! So that the network that is found costs what was asked for, three things are added, which are ours ([`Settings::pursuit`],
//! [`Settings::sharpness`], [`Settings::tolerance`]):
//!
//! ```text
//! L = L_CE + m h,   h = E[LAT] / LAT_ref − 1 cut to ± 0.1,   m = μ + ρ h,   μ ← μ + rate · ρ h
//! α ← s α with s > 1 in the second half
//! ```
//!
//! the method of multipliers for `E[LAT] = LAT_ref`, from both sides, because a weight that is fixed lands wherever
//! cross-entropy and latency balance (added to the multiplied losses, too); gates that are decided in the end, so that the
//! most probable path costs about what the expectation does; and a knapsack over blocks ([`super::derive`]) that takes the most probable of all paths within the
//! tolerance below the target, by the exact table of costs.
//!
//! Differs from the paper otherwise: operations share weights instead of having their own, so that every method here has the same
//! supernet; the latency gradient is exact over all paths, not over the two drawn ones; equation 3 as typeset vanishes
//! at the target, so [`Loss`] offers the forms that work. Costs are in percent of a reference, as in [`super::cost`].

use sartor_engine::Network;
use sartor_space::{Candidate, SearchSpace, Subnet};

use crate::data::Dataset;
use crate::error::Result;
use crate::objective::{Objective, Outcome as Answer, Scratch};
use crate::parameters::Layout;
use crate::random::{Purpose, stream};
use crate::supernet::Supernet;
use crate::work::Work;
use crate::workbench::Workbench;

use super::bilevel::Side;
use super::choices::{Choices, Pinned, Precision};
use super::cost::Costs;
use super::derive::Window;
use super::feed::Feed;
use super::gumbel;
use super::mixture::{Mixed, Mixture};
use super::outcome::{Observer, Outcome};
use super::search::{Decided, Here, Rule, Start, Trained};
use super::settings::Shared;
use gates::{Pair, add_gates, draw, gates, hull};

mod gates;
mod settings;

pub use settings::{Loss, Settings};

/// The choices of a search: whole operations, in full precision.
///
/// # Errors
/// A space that cannot be trained.
pub fn choices(space: &SearchSpace) -> Result<Choices> {
    Choices::new(space, &Pinned { subnet: None, precision: Precision::Full, operations: true })
}

/// A search, step by step.
pub type Search<'a> = super::search::Search<'a, Proxyless<'a>>;

/// Where the gradients come from.
pub struct Proxyless<'a> {
    settings: Settings,
    layout: Layout,
    workbench: Workbench<'a>,
    feed: Feed,
    objective: Objective,
    scratch: Scratch,
    mixed: Mixed,
    gradients: Vec<f32>,
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
        let rule = Proxyless::new(space, dataset, (settings, seed), mixture.layout())?;
        let start = Start {
            weights: mixture.inherit(supernet)?,
            decay_mask: mixture.decay_mask(),
            steps_per_epoch: rule.feed.steps_per_epoch(),
            multiplier: rule.settings.first_multiplier(),
            seed,
        };
        Ok(Self::starting(rule, choices, costs, start))
    }

    /// The most probable path near the target that `allowed` admits, and costs at most `limit`; the most probable one
    /// below the target where there is none near it.
    ///
    /// # Errors
    /// When there is none at all.
    pub fn finish_near(self, limit: f64, allowed: &dyn Fn(&Candidate) -> bool) -> Result<Outcome> {
        let Settings { target, tolerance, .. } = self.rule.settings;
        let target = target * self.reference() / 100.0;
        let high = limit.min(target * (1.0 + tolerance));
        let near = Window { low: target * (1.0 - tolerance), high };
        self.finish(&[near, Window { low: 0.0, high }], allowed)
    }
}

impl Rule for Proxyless<'_> {
    const BETA1: f32 = 0.0;

    fn settings(&self) -> &dyn Shared {
        &self.settings
    }

    fn work(&self) -> Work {
        self.workbench.work
    }

    fn go_on_from(&mut self, work: Work) {
        self.workbench.work = work;
    }

    fn memory(&self) -> usize {
        self.workbench.executor.memory()
    }

    fn images(&self) -> &str {
        &self.workbench.dataset.hash
    }

    fn temperature(&self, _: usize, _: usize) -> f64 {
        0.0
    }

    fn turn(&self, _: usize, _: usize) -> bool {
        true
    }

    fn sharpening(&self, step: usize, steps: usize) -> f32 {
        self.settings.sharpening_at(step, steps)
    }

    /// Equation 1: one path is drawn and trained.
    fn train(&mut self, here: &Here<'_>) -> Result<Trained> {
        let mut rng = stream(here.seed, Purpose::Controller, [0, here.step as u64, 0]);
        let noise = gumbel::noise(here.logits.len(), &mut rng);
        let chosen = gumbel::hard(here.choices.all(), here.logits, &noise);
        let coefficients = here.choices.coefficients_of(&here.choices.one_hot(&chosen));
        let path = here.choices.candidate(&chosen)?.subnet;
        let pass = self.pass(here, Side::Training, path, &coefficients)?;
        let gradient = pass.mixture.of_weights(here.weights, &coefficients, &self.gradients);
        let accuracy = pass.answer.correct as f64 / pass.images as f64;
        Ok(Trained { loss: pass.answer.loss, accuracy, gradient })
    }

    /// The gradient of the gates, and that of the expected latency.
    fn decide(&mut self, here: &Here<'_>, _: &Trained, _: f64) -> Result<Decided> {
        let (all, p) = (here.choices.all(), gumbel::probabilities(here.choices.all(), here.logits));
        let mut rng = stream(here.seed, Purpose::Controller, [1, here.step as u64, 0]);
        let pairs: Vec<Pair> = all.iter().map(|choice| draw(&p, choice, &mut rng)).collect();
        let (loss, of_gates) = self.of_gates(here, &pairs)?;
        let percent = 100.0 / here.costs.reference;
        let (expected, of_p) = here.expected.value(here.choices, &p);
        let reachable = here.expected.most() * percent;
        let push = self.settings.push((loss, expected * percent), here.multiplier, reachable);
        let mut gradient = gumbel::backward(all, &p, &of_p, 1.0);
        gradient.iter_mut().for_each(|g| *g *= (push.of_cost * percent) as f32);
        for (choice, pair) in all.iter().zip(&pairs) {
            add_gates(choice, pair, &p, &of_gates, push.of_loss as f32, &mut gradient);
        }
        Ok(Decided { loss, gradient, multiplier: push.multiplier, looked_up: 0 })
    }
}

/// One pass through one path.
struct Pass {
    mixture: Mixture,
    answer: Answer,
    images: usize,
}

impl<'a> Proxyless<'a> {
    fn new(
        space: &SearchSpace,
        dataset: &'a Dataset,
        (settings, seed): (Settings, u64),
        layout: &Layout,
    ) -> Result<Self> {
        let images = dataset.train.len().max(1);
        let share = settings.held_out_images.min(images / 2) as f64 / images as f64;
        Ok(Self {
            layout: layout.clone(),
            workbench: Workbench::new(space, dataset, seed)?,
            feed: Feed::new(dataset, settings.images(), share, seed)?,
            objective: settings.objective(),
            scratch: Scratch::default(),
            mixed: Mixed::default(),
            gradients: vec![],
            settings,
        })
    }

    /// Forward and backward through the network of `hull` with these coefficients.
    fn pass(&mut self, here: &Here<'_>, side: Side, hull: Subnet, coefficients: &[f32]) -> Result<Pass> {
        let workload = here.choices.space().lower(&Candidate { subnet: hull, policy: None });
        let mixture = Mixture::within(here.choices, &self.layout, workload)?;
        mixture.mix(here.weights, coefficients, &mut self.mixed);
        let images = self.feed.load(&mut self.workbench, side, here.step);
        self.gradients.clear();
        self.gradients.resize(self.mixed.parameters.len(), 0.0);
        let answer = self.run(mixture.network())?;
        self.workbench.work.add_step(images);
        Ok(Pass { mixture, answer, images })
    }

    fn run(&mut self, network: &Network) -> Result<Answer> {
        let Self { objective, workbench, scratch, mixed, gradients, .. } = self;
        objective.accumulate(workbench, (network, &mixed.parameters[..]), scratch, 1.0, gradients)
    }

    /// Held-out loss of the active options, and ∂L/∂g of every option.
    fn of_gates(&mut self, here: &Here<'_>, pairs: &[Pair]) -> Result<(f64, Vec<f32>)> {
        let (coefficients, idle) = gates(here.choices, pairs);
        let pass = self.pass(here, Side::HeldOut, hull(here.choices, pairs), &coefficients)?;
        let (mixed, gradients) = (&self.mixed, &self.gradients);
        let mut found = pass.mixture.of_coefficients(here.weights, &coefficients, mixed, gradients);
        idle.iter().for_each(|&place| found[place] = 0.0);
        Ok((pass.answer.loss, here.choices.backward(&found)))
    }
}

/// Runs a whole search; the found path costs at most `limit`.
///
/// # Errors
/// As [`Search::new`], [`step`](super::search::Search::step) and [`Search::finish_near`].
pub fn search(
    dataset: &Dataset,
    costs: Costs<'_>,
    (space, supernet): (&SearchSpace, &Supernet),
    (settings, seed): (Settings, u64),
    (limit, allowed): (f64, &dyn Fn(&Candidate) -> bool),
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let mut search = Search::new(space, dataset, costs, supernet, settings, seed)?;
    search.run_all(observer)?;
    search.finish_near(limit, allowed)
}

#[cfg(test)]
mod tests;
