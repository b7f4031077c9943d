//! # Settings of `gong` and `dnas`

use serde::{Deserialize, Serialize};

use crate::error::{Result, SupernetError};
use crate::schedule::{fraction, not_negative, positive};

/// How the controller's gradient sees the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// As constants.
    First,
    /// Through one step of descent (eq. 6).
    Second,
}

/// Where the gradient of the cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CostGradient {
    /// Samples (eq. 7), with a baseline.
    Reinforce,
    /// The exact expectation.
    Expected,
}

/// Settings of the search; defaults are the papers' where they say any.
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
    /// Highest learning rate of the weights; falls to zero along a cosine. Also ε of equation 4, as it falls.
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
    /// Share of the training images held out for the controller.
    pub held_out: f64,
    /// Share of the steps before the controller starts.
    pub warm_up: f64,
    /// Steps of the weights for one of the controller.
    pub weight_steps: usize,
    /// Adam's learning rate for the controller.
    pub controller_rate: f64,
    /// First temperature.
    pub temperature: f64,
    /// Factor of the temperature after every period.
    pub temperature_decay: f64,
    /// Periods that the steps are divided into.
    pub periods: usize,
    /// First or second order.
    pub order: Order,
    /// Where the gradient of the cost comes from.
    pub cost_gradient: CostGradient,
    /// Samples k of one REINFORCE step.
    pub cost_samples: usize,
    /// Weight λ of the constraint, per percent of the largest network's cost.
    pub lambda: f64,
    /// Limit c in percent of the largest network's cost; 0 always pushes. Absent: the budget's, or 0 without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Training images that starting ranges are observed on.
    pub calibration_images: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 60,
            steps: None,
            batch: 64,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 3e-5,
            label_smoothing: 0.1,
            shift: 2,
            flip: false,
            held_out: 0.2,
            warm_up: 0.1,
            weight_steps: 1,
            controller_rate: 0.01,
            temperature: 5.0,
            temperature_decay: 0.956,
            periods: 90,
            order: Order::First,
            cost_gradient: CostGradient::Reinforce,
            cost_samples: 16,
            lambda: 0.1,
            limit: None,
            calibration_images: 250,
        }
    }
}

impl Settings {
    /// Refuses settings that cannot search.
    pub fn check(&self) -> Result<()> {
        positive("batch", self.batch)?;
        positive("weight_steps", self.weight_steps)?;
        positive("periods", self.periods)?;
        positive("cost_samples", self.cost_samples)?;
        positive("calibration_images", self.calibration_images)?;
        fraction("momentum", self.momentum)?;
        fraction("label_smoothing", self.label_smoothing)?;
        fraction("held_out", self.held_out)?;
        fraction("warm_up", self.warm_up)?;
        let rest = [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("controller_rate", self.controller_rate),
            ("lambda", self.lambda),
            ("limit", self.limit.unwrap_or(0.0)),
        ];
        rest.into_iter().try_for_each(|(name, value)| not_negative(name, value))?;
        above_zero("temperature", self.temperature)?;
        above_zero("temperature_decay", self.temperature_decay)
    }

    /// Temperature at a step.
    pub fn temperature_at(&self, step: usize, steps: usize) -> f64 {
        let period = step * self.periods / steps.max(1);
        self.temperature * self.temperature_decay.powi(period as i32)
    }
}

fn above_zero(setting: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(SupernetError::Setting { setting, got: value.to_string(), expected: "a number above zero" })
}
