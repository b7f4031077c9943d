//! # Settings of `proxyless`, and how its loss joins accuracy and latency

use serde::{Deserialize, Serialize};

use crate::differentiable::settings::{Shared, search_settings};
use crate::error::Result;
use crate::schedule::{fraction, not_negative, positive};

/// Keeps the typeset loss away from its pole at the target.
const SMALLEST_LOGARITHM: f64 = 1e-3;
/// A gap wider than this share of the target pushes no harder, so that the gates are heard beside it.
const WIDEST_GAP: f64 = 0.1;
/// The steps after this share of them sharpen the gates.
const SHARPENING_FROM: f64 = 0.5;

/// How accuracy and latency are joined; E and the target in percent of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// `CE · α log(E / target)^β`, zero at the target and below.
    Typeset,
    /// `CE · α (log E / log target)^β`.
    Power,
    /// `CE + λ [E − target]₊ / target`; with a pursuit, λ is where the multiplier starts.
    Additive,
}

search_settings! {
    /// Settings of the search; defaults are the paper's where it says any.
    {
        /// Training images held out for the controller; at most half of them.
        pub held_out_images: usize,
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
        /// ρ of the multiplier that draws the expected cost to the target; 0: only the loss pushes.
        pub pursuit: f64,
        /// How much larger the second half of the search makes the logits, so that paths are decided; 1: not.
        pub sharpness: f64,
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 200,
            steps: None,
            batch: 64,
            controller_batch: None,
            learning_rate: 0.05,
            momentum: 0.9,
            weight_decay: 4e-5,
            label_smoothing: 0.1,
            shift: 2,
            flip: false,
            warm_up: 0.1,
            controller_rate: 0.006,
            held_out_images: 5000,
            loss: Loss::Additive,
            alpha: 1.0,
            beta: 0.6,
            lambda: 0.2,
            target: 50.0,
            tolerance: 0.03,
            pursuit: 20.0,
            sharpness: 100.0,
        }
    }
}

/// What pushes the controller at one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Push {
    /// Factor of the gradient of the cross-entropy.
    pub of_loss: f64,
    /// Factor of the gradient of the expected cost in percent.
    pub of_cost: f64,
    /// The multiplier μ from now on.
    pub multiplier: f64,
}

impl Settings {
    /// Refuses settings that cannot search.
    pub fn check(&self) -> Result<()> {
        self.check_shared()?;
        positive("held_out_images", self.held_out_images)?;
        fraction("tolerance", self.tolerance)?;
        let rest = [("lambda", self.lambda), ("target", self.target), ("pursuit", self.pursuit)];
        rest.into_iter().try_for_each(|(name, value)| not_negative(name, value))?;
        not_negative("sharpness", self.sharpness - 1.0)
    }

    /// μ before the first step.
    pub(super) fn first_multiplier(&self) -> f64 {
        if self.loss == Loss::Additive { self.lambda } else { 0.0 }
    }

    /// Factor of the logits after a step; all of them together are the sharpness.
    pub(super) fn sharpening_at(&self, step: usize, steps: usize) -> f32 {
        let sharpened = (1.0 - SHARPENING_FROM) * steps as f64;
        match step as f64 >= SHARPENING_FROM * steps as f64 {
            true => self.sharpness.powf(1.0 / sharpened.max(1.0)) as f32,
            false => 1.0,
        }
    }

    /// The loss's factors at these numbers (cross-entropy, expected cost in percent), and the pursuit's, unless even
    /// the most expensive network costs less than the target.
    pub(super) fn push(&self, (loss, expected): (f64, f64), multiplier: f64, most: f64) -> Push {
        let (of_loss, of_cost) = self.factors(loss, expected);
        if self.pursuit == 0.0 || self.target >= most {
            return Push { of_loss, of_cost, multiplier };
        }
        let gap = (expected / self.target - 1.0).clamp(-WIDEST_GAP, WIDEST_GAP);
        let pursuit = (multiplier + self.pursuit * gap) / self.target;
        let of_cost = if self.loss == Loss::Additive { pursuit } else { of_cost + pursuit };
        Push { of_loss, of_cost, multiplier: multiplier + self.controller_rate * self.pursuit * gap }
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
