//! # Settings of `proxyless`, and how its loss joins accuracy and latency

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::schedule::{fraction, not_negative, positive};

/// Keeps the typeset loss away from its pole at the target.
const SMALLEST_LOGARITHM: f64 = 1e-3;

/// How accuracy and latency are joined; E and the target in percent of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// `CE · α log(E / target)^β`, zero at the target and below.
    Typeset,
    /// `CE · α (log E / log target)^β`.
    Power,
    /// `CE + λ [E − target]₊ / target`.
    Additive,
}

/// Settings of the search; defaults are the paper's where it says any.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Passes over the weights' images.
    pub epochs: usize,
    /// Stops after this many steps, if that comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Images per step.
    pub batch: usize,
    /// Highest learning rate of the weights; falls to zero along a cosine.
    pub learning_rate: f64,
    /// Nesterov momentum of the weights.
    pub momentum: f64,
    /// Weight decay of weights.
    pub weight_decay: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Images are shifted by up to this many pixels.
    pub shift: usize,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Training images held out for the controller; at most half of them.
    pub held_out_images: usize,
    /// Share of the steps before the controller starts.
    pub warm_up: f64,
    /// Adam's learning rate for the controller.
    pub controller_rate: f64,
    /// How accuracy and latency are joined.
    pub loss: Loss,
    /// α of the multiplied losses.
    pub alpha: f64,
    /// β of the multiplied losses.
    pub beta: f64,
    /// λ of the added loss.
    pub lambda: f64,
    /// LAT_ref in percent of the largest network's cost.
    pub target: f64,
    /// The found network costs at most this share of the target less or, where no limit forbids it, more.
    pub tolerance: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 200,
            steps: None,
            batch: 64,
            learning_rate: 0.05,
            momentum: 0.9,
            weight_decay: 4e-5,
            label_smoothing: 0.1,
            shift: 2,
            flip: false,
            held_out_images: 5000,
            warm_up: 0.1,
            controller_rate: 0.006,
            loss: Loss::Additive,
            alpha: 1.0,
            beta: 0.6,
            lambda: 0.2,
            target: 50.0,
            tolerance: 0.03,
        }
    }
}

impl Settings {
    /// Refuses settings that cannot search.
    pub fn check(&self) -> Result<()> {
        positive("batch", self.batch)?;
        positive("held_out_images", self.held_out_images)?;
        fraction("momentum", self.momentum)?;
        fraction("label_smoothing", self.label_smoothing)?;
        fraction("warm_up", self.warm_up)?;
        fraction("tolerance", self.tolerance)?;
        let rest = [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("controller_rate", self.controller_rate),
            ("lambda", self.lambda),
            ("target", self.target),
        ];
        rest.into_iter().try_for_each(|(name, value)| not_negative(name, value))
    }

    /// Factors of dCE and of dE in the gradient of the joined loss, E and target in percent.
    pub fn factors(&self, cross_entropy: f64, expected: f64) -> (f64, f64) {
        let ratio = expected / self.target;
        match self.loss {
            Loss::Additive => (1.0, if ratio > 1.0 { self.lambda / self.target } else { 0.0 }),
            Loss::Power => {
                let base = expected.ln() / self.target.ln();
                let of_cost = self.beta * base.powf(self.beta - 1.0) / (expected * self.target.ln());
                (self.alpha * base.powf(self.beta), cross_entropy * self.alpha * of_cost)
            }
            Loss::Typeset if ratio <= 1.0 => (0.0, 0.0),
            Loss::Typeset => {
                let base = ratio.ln().max(SMALLEST_LOGARITHM);
                let of_cost = self.beta * base.powf(self.beta - 1.0) / expected;
                (self.alpha * base.powf(self.beta), cross_entropy * self.alpha * of_cost)
            }
        }
    }
}
