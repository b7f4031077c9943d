//! # State: what a search by gradient has learned so far
//!
//! Weights with their velocity, logits with Adam's moments, the multiplier of a constraint, what was counted, and every
//! step's row. Random numbers are drawn from (seed, step), so that this is all a checkpoint needs.

use std::collections::BTreeMap;

use sartor_engine::optimizer::{Adam, Sgd};

use super::outcome::{Counters, Row};
use crate::archive::{Archive, NamedArray};
use crate::error::{Result, SupernetError};

const WHAT: &str = "search checkpoint";
const STEP: &str = "step";
const MULTIPLIER: &str = "multiplier";
const COUNTERS: &str = "counters";
const HISTORY: &str = "history";
const COUNTED: &str = "counted";

/// The state of one search.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    pub weights: Vec<f32>,
    velocity: Vec<f32>,
    pub logits: Vec<f32>,
    moments: [Vec<f32>; 2],
    /// Of the constraint, where a search adapts it.
    pub multiplier: f64,
    pub counters: Counters,
    pub history: Vec<Row>,
    pub step: usize,
}

impl State {
    /// Before the first step, undecided.
    pub fn new(weights: Vec<f32>, options: usize) -> Self {
        let zeros = vec![0.0; options];
        Self {
            velocity: vec![0.0; weights.len()],
            weights,
            logits: zeros.clone(),
            moments: [zeros.clone(), zeros],
            ..Self::default()
        }
    }

    /// One step of the weights.
    pub fn descend(&mut self, sgd: &Sgd, gradient: &[f32], rate: f64, decay: &[bool]) -> Result<()> {
        Ok(sgd.step(&mut self.weights, gradient, &mut self.velocity, rate as f32, decay)?)
    }

    /// One step of the controller.
    pub fn decide(&mut self, beta1: f32, gradient: &[f32], rate: f32) -> Result<()> {
        self.counters.controller_steps += 1;
        let (time, [first, second]) = (self.counters.controller_steps, &mut self.moments);
        let (adam, no_decay) = (Adam { beta1, ..Adam::default() }, vec![false; gradient.len()]);
        Ok(adam.step(&mut self.logits, gradient, first, second, time, rate, &no_decay)?)
    }

    /// Everything needed to go on later, with the work counted elsewhere and a count of the caller's; `run` is what must be equal for it to be the same
    /// search.
    pub fn to_bytes(&self, run: BTreeMap<String, String>, counters: Counters, counted: u64) -> Vec<u8> {
        let mut metadata = run;
        metadata.insert(COUNTED.into(), counted.to_string());
        metadata.insert(STEP.into(), self.step.to_string());
        metadata.insert(MULTIPLIER.into(), serde_json::json!(self.multiplier).to_string());
        metadata.insert(COUNTERS.into(), serde_json::json!(counters).to_string());
        metadata.insert(HISTORY.into(), serde_json::json!(self.history).to_string());
        let array = |(name, values): (&str, &[f32])| NamedArray::new(name, &[values.len()], values);
        Archive { metadata, arrays: self.arrays().into_iter().map(array).collect() }.to_bytes()
    }

    fn arrays(&self) -> [(&'static str, &[f32]); 5] {
        let [first, second] = &self.moments;
        [
            ("weights", &self.weights),
            ("velocity", &self.velocity),
            ("logits", &self.logits),
            ("first", first),
            ("second", second),
        ]
    }

    /// The state that [`to_bytes`](Self::to_bytes) kept, in place of a fresh one of the same search; gives the count.
    ///
    /// # Errors
    /// A damaged checkpoint, or one of another search; each names the key.
    pub fn restore(&mut self, bytes: &[u8], run: &BTreeMap<String, String>) -> Result<u64> {
        let archive = Archive::from_bytes(bytes, WHAT)?;
        run.iter().try_for_each(|(key, text)| archive.expect(key, text))?;
        let read = |(name, values): (&str, &[f32])| -> Result<Vec<f32>> {
            Ok(archive.array(name, &[values.len()])?.to_vec())
        };
        let [weights, velocity, logits, first, second] = self.arrays().map(read);
        *self = Self {
            weights: weights?,
            velocity: velocity?,
            logits: logits?,
            moments: [first?, second?],
            multiplier: parsed(&archive, MULTIPLIER)?,
            counters: parsed(&archive, COUNTERS)?,
            history: parsed(&archive, HISTORY)?,
            step: archive.number(STEP)? as usize,
        };
        archive.number(COUNTED)
    }
}

fn parsed<T: serde::de::DeserializeOwned>(archive: &Archive, key: &str) -> Result<T> {
    let corrupt =
        |error: serde_json::Error| SupernetError::Corrupt { what: WHAT, reason: format!("`{key}`: {error}") };
    serde_json::from_str(archive.text(key)?).map_err(corrupt)
}
