//! # Search: what all searches by gradient do
//!
//! Every step asks the method's [`Rule`] for the gradient of the weights and, when it is the controller's turn, for that
//! of the logits, and descends both. A checkpoint is [`State`] alone.

use std::collections::BTreeMap;

use sartor_space::Candidate;

use super::choices::Choices;
use super::cost::{Costs, Expected};
use super::derive::{Window, affordable};
use super::gumbel;
use super::outcome::{Counters, Observer, Outcome, Row};
use super::settings::Shared;
use super::state::State;
use crate::error::Result;
use crate::progress::check_loss;
use crate::supernet::identity;
use crate::work::Work;

/// Name for messages.
const PHASE: &str = "search";

/// What a rule may look at.
pub struct Here<'s> {
    pub(super) choices: &'s Choices,
    pub(super) costs: &'s Costs<'s>,
    pub(super) expected: &'s Expected,
    pub(super) weights: &'s [f32],
    pub(super) logits: &'s [f32],
    pub(super) multiplier: f64,
    pub(super) step: usize,
    pub(super) steps: usize,
    pub(super) seed: u64,
}

/// What a batch of training images says.
pub struct Trained {
    pub(super) loss: f64,
    /// Share of right answers.
    pub(super) accuracy: f64,
    pub(super) gradient: Vec<f32>,
}

/// What a batch of held-out images and the costs say.
pub struct Decided {
    /// Loss on the images.
    pub(super) loss: f64,
    /// With respect to the logits, of loss and cost together.
    pub(super) gradient: Vec<f32>,
    /// The multiplier from now on.
    pub(super) multiplier: f64,
    /// Costs that were asked for.
    pub(super) looked_up: u64,
}

/// How a method gets its gradients.
pub trait Rule {
    /// Decay of Adam's first moment.
    const BETA1: f32;

    /// The settings that all have.
    fn settings(&self) -> &dyn Shared;
    /// Images and steps so far.
    fn work(&self) -> Work;
    /// Counts on from a checkpoint's work.
    fn go_on_from(&mut self, work: Work);
    /// Bytes of the engine's buffers.
    fn memory(&self) -> usize;
    /// Hash of the data set.
    fn images(&self) -> &str;
    /// Temperature of the samples at a step; 0 where there is none.
    fn temperature(&self, step: usize, steps: usize) -> f64;
    /// Whether the controller learns at a step.
    fn turn(&self, step: usize, steps: usize) -> bool;
    /// Factor of the logits after a step.
    fn sharpening(&self, step: usize, steps: usize) -> f32;
    /// The gradient of the weights.
    ///
    /// # Errors
    /// What the engine fails with.
    fn train(&mut self, here: &Here<'_>) -> Result<Trained>;
    /// The gradient of the logits, at the weights before they move by `rate` times the gradient in `trained`.
    ///
    /// # Errors
    /// What the engine fails with.
    fn decide(&mut self, here: &Here<'_>, trained: &Trained, rate: f64) -> Result<Decided>;
}

/// A search, step by step.
pub struct Search<'a, R> {
    pub(super) rule: R,
    pub(super) choices: Choices,
    costs: Costs<'a>,
    expected: Expected,
    state: State,
    decay_mask: Vec<bool>,
    steps: usize,
    seed: u64,
}

/// What a search starts on.
pub(super) struct Start {
    pub weights: Vec<f32>,
    pub decay_mask: Vec<bool>,
    pub steps_per_epoch: usize,
    pub multiplier: f64,
    pub seed: u64,
}

impl<'a, R: Rule> Search<'a, R> {
    /// A search at its first step.
    pub(super) fn starting(rule: R, choices: Choices, costs: Costs<'a>, start: Start) -> Self {
        let expected = Expected::new(&choices, &costs);
        let mut state = State::new(start.weights, choices.options());
        state.counters = Counters { look_ups: expected.looked_up(), ..Counters::default() };
        state.multiplier = start.multiplier;
        let steps = rule.settings().total_steps(start.steps_per_epoch);
        let Start { decay_mask, seed, .. } = start;
        Self { rule, choices, costs, expected, state, decay_mask, steps, seed }
    }

    /// Whether every step is taken.
    pub fn is_done(&self) -> bool {
        self.state.step >= self.steps
    }

    /// Steps of the whole search.
    pub fn total_steps(&self) -> usize {
        self.steps
    }

    /// The next step to take.
    pub fn position(&self) -> usize {
        self.state.step
    }

    /// The choices.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The controller's logits.
    pub fn logits(&self) -> &[f32] {
        &self.state.logits
    }

    /// Bytes of the engine's buffers.
    pub fn memory(&self) -> usize {
        self.rule.memory()
    }

    /// One step of the weights and, when it is its turn, one of the controller.
    ///
    /// # Errors
    /// Divergence, with the step.
    pub fn step(&mut self) -> Result<Row> {
        let step = self.state.step;
        let row = self.advance(step).map_err(|error| error.in_step(PHASE, step))?;
        self.state.step += 1;
        self.state.history.push(row.clone());
        Ok(row)
    }

    fn advance(&mut self, step: usize) -> Result<Row> {
        let Self { rule, choices, costs, expected, state, steps, seed, .. } = self;
        let State { weights, logits, multiplier, .. } = &*state;
        let (multiplier, steps, seed) = (*multiplier, *steps, *seed);
        let here = Here { choices, costs, expected, weights, logits, multiplier, step, steps, seed };
        let trained = rule.train(&here)?;
        check_loss(trained.loss, choices.space().input().classes, PHASE, step)?;
        let rate = rule.settings().rate_at(step, steps);
        let turn = rule.settings().started(step, steps) && rule.turn(step, steps);
        let decided = if turn { Some(rule.decide(&here, &trained, rate)?) } else { None };
        if let Some(decided) = &decided {
            self.decide(decided)?;
        }
        let sgd = self.rule.settings().sgd();
        self.state.descend(&sgd, &trained.gradient, rate, &self.decay_mask)?;
        Ok(self.row(&trained, decided.map(|decided| decided.loss)))
    }

    fn decide(&mut self, decided: &Decided) -> Result<()> {
        let rate = self.rule.settings().controller_rate();
        self.state.decide(R::BETA1, &decided.gradient, rate)?;
        self.state.multiplier = decided.multiplier;
        self.state.counters.look_ups += decided.looked_up;
        let sharper = self.rule.sharpening(self.state.step, self.steps);
        self.state.logits.iter_mut().for_each(|logit| *logit *= sharper);
        Ok(())
    }

    fn row(&self, trained: &Trained, held_out_loss: Option<f64>) -> Row {
        let before = self.state.history.last().and_then(|row| row.held_out_loss);
        Row {
            step: self.state.step,
            steps: self.steps,
            temperature: self.rule.temperature(self.state.step, self.steps),
            training_loss: trained.loss,
            accuracy: trained.accuracy,
            held_out_loss: held_out_loss.or(before),
            expected_cost: self.expected_cost(),
            entropy: gumbel::entropy(self.choices.all(), &self.state.logits),
            multiplier: self.state.multiplier,
        }
    }

    /// The cost that counts as 100 percent.
    pub(super) fn reference(&self) -> f64 {
        self.costs.reference
    }

    /// What a candidate drawn from the controller costs on average.
    pub fn expected_cost(&self) -> f64 {
        let p = gumbel::probabilities(self.choices.all(), &self.state.logits);
        self.expected.value(&self.choices, &p).0
    }

    /// Everything needed to go on later, with a count of the caller's.
    pub fn to_bytes(&self, counted: u64) -> Vec<u8> {
        self.state.to_bytes(self.run(), self.counters(), counted)
    }

    /// Goes on where [`to_bytes`](Self::to_bytes) was called, as if never interrupted; gives the caller's count.
    ///
    /// # Errors
    /// A damaged checkpoint, or one of another space, data set, choice, setting or seed; each names the key.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<u64> {
        let counted = self.state.restore(bytes, &self.run())?;
        self.rule.go_on_from(self.state.counters.work);
        Ok(counted)
    }

    fn counters(&self) -> Counters {
        Counters { work: self.rule.work(), ..self.state.counters }
    }

    /// What must be equal for a resumed search to be the same search.
    fn run(&self) -> BTreeMap<String, String> {
        let mut run = identity(self.choices.space());
        let choices =
            self.choices.all().iter().map(|choice| format!("{} {}", choice.name, choice.range.len()));
        run.insert("choices".into(), choices.collect::<Vec<_>>().join(", "));
        run.insert("base".into(), self.choices.base().to_json(self.choices.space()));
        run.insert("dataset_hash".into(), self.rule.images().to_owned());
        run.insert("seed".into(), self.seed.to_string());
        run.insert("settings".into(), self.rule.settings().text());
        run
    }

    /// Takes every step that is left.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn run_all(&mut self, observer: &mut dyn Observer) -> Result<()> {
        while !self.is_done() {
            let row = self.step()?;
            observer.row(&row);
        }
        Ok(())
    }

    /// The most probable candidate in the first of these windows of costs in which `allowed` admits one; a window's end is
    /// lowered by hundredths until there is one.
    ///
    /// # Errors
    /// When there is none in any.
    pub fn finish(self, windows: &[Window], allowed: &dyn Fn(&Candidate) -> bool) -> Result<Outcome> {
        let (candidate, log_probability) =
            affordable((&self.choices, &self.state.logits, &self.expected), windows, allowed)?;
        let free = self.choices.candidate(&gumbel::hard(self.choices.all(), &self.state.logits, &[]))?;
        let counters = self.counters();
        Ok(Outcome {
            cost: (self.costs.whole)(&candidate),
            most_probable_cost: (self.costs.whole)(&free),
            candidate,
            log_probability,
            expected_cost: self.expected_cost(),
            counters,
            history: self.state.history,
        })
    }
}
