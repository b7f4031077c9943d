//! What a search by gradient tells while it runs, and what it leaves.

use sartor_space::Candidate;
use serde::{Deserialize, Serialize};

use crate::work::Work;

/// What a search has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Training and inference; steps of the controller count as training, too.
    pub work: Work,
    /// Optimiser steps of the controller.
    pub controller_steps: u64,
    /// Costs asked for.
    pub look_ups: u64,
}

/// One step of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// From 0.
    pub step: usize,
    /// Steps of the whole search.
    pub steps: usize,
    /// Temperature of the samples; 0 where there is none.
    pub temperature: f64,
    /// Loss on the step's training images.
    pub training_loss: f64,
    /// Share of right answers on them.
    pub accuracy: f64,
    /// Loss on held-out images, the last one there was.
    pub held_out_loss: Option<f64>,
    /// Expected cost of the controller, in the unit of the costs.
    pub expected_cost: f64,
    /// Mean entropy of the choices, 1 (nothing decided) to 0.
    pub entropy: f64,
    /// Of the constraint, after the step; 0 where none is adapted.
    pub multiplier: f64,
}

/// Is told about every step.
pub trait Observer {
    /// After every step.
    fn row(&mut self, row: &Row);
}

impl<F: FnMut(&Row)> Observer for F {
    fn row(&mut self, row: &Row) {
        self(row);
    }
}

/// What a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The most probable candidate that meets the limits.
    pub candidate: Candidate,
    /// Its cost, in the unit of the costs.
    pub cost: f64,
    /// Expected cost of the controller at the end.
    pub expected_cost: f64,
    /// Cost of the most probable candidate of all, within the limits or not.
    pub most_probable_cost: f64,
    /// Natural logarithm of the candidate's probability over that of the most probable candidate of all.
    pub log_probability: f64,
    /// What the search has cost.
    pub counters: Counters,
    /// Step by step.
    pub history: Vec<Row>,
}
