//! # Progress: what a training loop tells, and when it gives up

use crate::error::{Result, SupernetError};

/// A loss this many times that of guessing means that training has diverged.
const DIVERGED: f64 = 30.0;

/// One optimiser step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Name of the phase.
    pub phase: String,
    /// Step within the phase, from 0.
    pub step: usize,
    /// Steps of the phase.
    pub steps: usize,
    /// Step within the whole training, from 0.
    pub overall: usize,
    /// Steps of the whole training.
    pub overall_steps: usize,
    /// Loss, mean over the batch and the step's subnets.
    pub loss: f64,
    /// Accuracy on the (augmented) batch, mean over the step's subnets.
    pub accuracy: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Images that went forward and backward (batch × subnets).
    pub images: usize,
    /// Whether the step is the last of its epoch.
    pub ends_epoch: bool,
    /// Whether the step is the last of its phase.
    pub ends_phase: bool,
}

impl StepReport {
    /// Phase, loss and accuracy in a line.
    pub fn line(&self) -> String {
        format!("{}  loss {:.3}  {:.0} % of the batch", self.phase, self.loss, 100.0 * self.accuracy)
    }
}

/// Is told what happens during training.
pub trait Observer {
    /// After every step.
    fn step(&mut self, report: &StepReport);
}

impl<F: FnMut(&StepReport)> Observer for F {
    fn step(&mut self, report: &StepReport) {
        self(report);
    }
}

/// Refuses a loss that is not finite, or far worse than guessing.
pub(crate) fn check_loss(loss: f64, classes: usize, phase: &str, step: usize) -> Result<()> {
    if loss.is_finite() && loss < DIVERGED * (classes as f64).ln().max(1.0) {
        return Ok(());
    }
    Err(SupernetError::Diverged { phase: phase.to_string(), step, loss })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_names_phase_and_step() {
        assert!(check_loss(2.3, 10, "kernel", 7).is_ok());
        for loss in [f64::NAN, f64::INFINITY, 1e4] {
            let message = check_loss(loss, 10, "kernel", 7).unwrap_err().to_string();
            assert!(message.contains("`kernel` at step 7"), "{message}");
        }
    }
}
