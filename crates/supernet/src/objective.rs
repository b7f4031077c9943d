//! # Objective: what a training step minimises
//!
//! `loss = cross_entropy(labels smoothed by s) + d · cross_entropy(teacher's soft labels)` (Once-for-all, section 3.3
//! with its ratio d; the release uses s = 0.1, d = 1).

use sartor_engine::{Network, losses};

use crate::error::Result;
use crate::workbench::Workbench;

/// The weights of the loss's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Objective {
    /// Label smoothing s.
    pub label_smoothing: f64,
    /// Distillation ratio d; only used when there are teacher logits.
    pub distillation: f64,
}

/// Loss and correct answers of one forward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Outcome {
    /// The whole loss, mean over the batch.
    pub loss: f64,
    /// Correct answers.
    pub correct: usize,
}

/// Reused between steps.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Empty when there is no teacher.
    pub teacher_logits: Vec<f32>,
    logits: Vec<f32>,
    logits_gradient: Vec<f32>,
}

impl Objective {
    /// Forward and backward on the workbench's batch; adds `scale` times the gradient to `gradients`.
    pub fn accumulate(
        &self,
        workbench: &mut Workbench<'_>,
        (network, parameters): (&Network, &[f32]),
        scratch: &mut Scratch,
        scale: f32,
        gradients: &mut [f32],
    ) -> Result<Outcome> {
        let labels = &workbench.batch.labels;
        let executor = &mut workbench.executor;
        let logits = executor.forward_train(network, parameters, &workbench.batch.images, labels.len())?;
        scratch.logits.clear();
        scratch.logits.extend_from_slice(logits);
        let outcome = self.outcome(scratch, labels, network.head.classes, scale)?;
        if outcome.loss.is_finite() {
            executor.backward(network, parameters, &scratch.logits_gradient, gradients)?;
        }
        Ok(outcome)
    }

    fn outcome(
        &self,
        scratch: &mut Scratch,
        labels: &[usize],
        classes: usize,
        scale: f32,
    ) -> Result<Outcome> {
        let Scratch { teacher_logits, logits, logits_gradient } = scratch;
        logits_gradient.clear();
        logits_gradient.resize(logits.len(), 0.0);
        let mut loss =
            losses::cross_entropy(logits, labels, self.label_smoothing as f32, scale, logits_gradient)?;
        if !teacher_logits.is_empty() {
            let scale = scale * self.distillation as f32;
            let soft = losses::distillation(logits, teacher_logits, classes, scale, logits_gradient)?;
            loss += self.distillation * soft;
        }
        Ok(Outcome { loss, correct: losses::correct(logits, labels) })
    }
}
