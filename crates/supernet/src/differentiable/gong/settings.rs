//! # Settings of `gong` and `dnas`

use serde::{Deserialize, Serialize};

use crate::differentiable::settings::{Shared, search_settings};
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

search_settings! {
    /// Settings of the search; defaults are the papers' where they say any. The learning rate of the weights is also ε of
    /// equation 4, as it falls.
    {
        /// Share of the training images held out for the controller.
        pub held_out: f64,
        /// Steps of the weights for one of the controller.
        pub weight_steps: usize,
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 60,
            steps: None,
            batch: 64,
            controller_batch: None,
            learning_rate: 0.1,
            momentum: 0.9,
            weight_decay: 3e-5,
            label_smoothing: 0.1,
            shift: 2,
            flip: false,
            warm_up: 0.1,
            controller_rate: 0.01,
            held_out: 0.2,
            weight_steps: 1,
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
        self.check_shared()?;
        positive("weight_steps", self.weight_steps)?;
        positive("periods", self.periods)?;
        positive("cost_samples", self.cost_samples)?;
        positive("calibration_images", self.calibration_images)?;
        fraction("held_out", self.held_out)?;
        not_negative("lambda", self.lambda)?;
        not_negative("limit", self.limit.unwrap_or(0.0))?;
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
