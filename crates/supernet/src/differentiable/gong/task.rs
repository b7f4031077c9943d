//! The network side of a search: losses of the mixture and their gradients.

use crate::data::Dataset;
use crate::differentiable::bilevel::{Gradients, Losses, Of, Side};
use crate::differentiable::choices::Choices;
use crate::differentiable::feed::Feed;
use crate::differentiable::gumbel;
use crate::differentiable::mixture::{Mixed, Mixture};
use crate::error::Result;
use crate::objective::{Objective, Scratch};
use crate::random::{Purpose, stream};
use crate::workbench::Workbench;

use super::Settings;

/// Losses at the step's images and noise.
pub(super) struct Task<'a> {
    choices: Choices,
    pub mixture: Mixture,
    mixed: Mixed,
    pub workbench: Workbench<'a>,
    pub feed: Feed,
    objective: Objective,
    scratch: Scratch,
    gradients: Vec<f32>,
    noise: Vec<f32>,
    temperature: f64,
    step: usize,
    /// Share of right answers in the last pass.
    pub correct: f64,
    sample: Sample,
}

/// What is mixed at present, so that the same is not mixed twice.
#[derive(Default)]
struct Sample {
    weights: Vec<f32>,
    controller: Vec<f32>,
    y: Vec<f32>,
    coefficients: Vec<f32>,
    /// Of the options that the hard sample names.
    named: Vec<f32>,
}

impl<'a> Task<'a> {
    pub(super) fn new(
        dataset: &'a Dataset,
        choices: &Choices,
        settings: &Settings,
        seed: u64,
    ) -> Result<Self> {
        Ok(Self {
            choices: choices.clone(),
            mixture: Mixture::new(choices)?,
            mixed: Mixed::default(),
            workbench: Workbench::new(choices.space(), dataset, seed)?,
            feed: Feed::new(dataset, settings.images(), settings.held_out, seed)?,
            objective: settings.objective(),
            scratch: Scratch::default(),
            gradients: vec![],
            noise: vec![],
            temperature: 1.0,
            step: 0,
            correct: 0.0,
            sample: Sample::default(),
        })
    }

    /// Draws the step's noise.
    pub(super) fn begin(&mut self, temperature: f64, seed: u64, step: usize) {
        let mut rng = stream(seed, Purpose::Controller, [0, step as u64, 0]);
        self.noise = gumbel::noise(self.choices.options(), &mut rng);
        (self.temperature, self.step) = (temperature, step);
        self.sample.weights.clear();
    }

    /// Mixes the weights as the controller and the step's noise say.
    fn mix(&mut self, weights: &[f32], controller: &[f32]) {
        if self.sample.weights == weights && self.sample.controller == controller {
            return;
        }
        let (all, choices) = (self.choices.all(), &self.choices);
        let y = gumbel::relaxed(all, controller, &self.noise, self.temperature);
        let hard = choices.one_hot(&gumbel::hard(all, controller, &self.noise));
        let (coefficients, named) = (choices.coefficients_of(&y), choices.coefficients_of(&hard));
        self.mixture.mix(weights, &coefficients, &mut self.mixed);
        let (weights, controller) = (weights.to_vec(), controller.to_vec());
        self.sample = Sample { weights, controller, y, coefficients, named };
    }

    /// Forward and backward on the side's images; gives the loss.
    fn pass(&mut self, side: Side, of: Of) -> Result<f64> {
        let images = self.feed.load(&mut self.workbench, side, self.step);
        self.mixture.quantize_inputs(&self.sample.named, of != Of::Weights);
        self.gradients.clear();
        self.gradients.resize(self.mixed.parameters.len(), 0.0);
        let model = (self.mixture.network(), &self.mixed.parameters[..]);
        let Self { workbench, scratch, gradients, .. } = self;
        let outcome = self.objective.accumulate(workbench, model, scratch, 1.0, gradients)?;
        self.workbench.work.add_step(images);
        self.correct = outcome.correct as f64 / images as f64;
        Ok(outcome.loss)
    }
}

impl Losses for Task<'_> {
    fn at(&mut self, side: Side, weights: &[f32], controller: &[f32], of: Of) -> Result<Gradients> {
        self.mix(weights, controller);
        let mut found = Gradients { loss: self.pass(side, of)?, ..Gradients::default() };
        let Sample { y, coefficients, .. } = &self.sample;
        if of != Of::Controller {
            found.weights = self.mixture.of_weights(weights, coefficients, &self.gradients);
        }
        if of != Of::Weights {
            let of_coefficients =
                self.mixture.of_coefficients(weights, coefficients, &self.mixed, &self.gradients);
            let of_y = self.choices.backward(&of_coefficients);
            found.controller = gumbel::backward(self.choices.all(), y, &of_y, self.temperature);
        }
        Ok(found)
    }
}
