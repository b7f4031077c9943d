//! # Objective: what a training step minimises
//!
//! `loss = cross_entropy(labels smoothed by s) + d · cross_entropy(teacher's soft labels)` (Once-for-all, section 3.3
//! with its ratio d; the release uses s = 0.1, d = 1).

use std::ops::Range;

use sartor_engine::{Executor, Network, losses};

use crate::data::Batch;
use crate::error::Result;
use crate::workbench::Workbench;

/// The weights of the loss's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Objective {
    /// Label smoothing s.
    pub label_smoothing: f64,
    /// Distillation ratio d; only used when there are teacher logits.
    pub distillation: f64,
    /// Most images that go through the network at once; all of the batch when absent.
    pub micro_batch: Option<usize>,
}

/// Loss and correct answers of one forward pass.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Outcome {
    /// The whole loss, mean over the batch.
    pub loss: f64,
    /// Correct answers.
    pub correct: usize,
}

/// A network on what runs it.
pub(crate) trait Pass {
    /// Numbers of one image.
    fn image_length(&self) -> usize;
    /// Training forward; gives the logits.
    fn forward(&mut self, images: &[f32], batch: usize) -> Result<&[f32]>;
    /// Adds to the gradients.
    fn backward(&mut self, logits_gradient: &[f32], gradients: &mut [f32]) -> Result<()>;
}

struct NetworkPass<'a> {
    executor: &'a mut Executor,
    network: &'a Network,
    parameters: &'a [f32],
}

impl Pass for NetworkPass<'_> {
    fn image_length(&self) -> usize {
        self.network.image_length()
    }

    fn forward(&mut self, images: &[f32], batch: usize) -> Result<&[f32]> {
        Ok(self.executor.forward_train(self.network, self.parameters, images, batch)?)
    }

    fn backward(&mut self, logits_gradient: &[f32], gradients: &mut [f32]) -> Result<()> {
        Ok(self.executor.backward(self.network, self.parameters, logits_gradient, gradients)?)
    }
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
    /// Forward and backward on the workbench's batch; adds `scale` times the gradient to `gradients`. A batch larger
    /// than a micro-batch goes through in even parts whose gradients add up to the batch's; batch norm then sees one
    /// part at a time.
    pub fn accumulate(
        &self,
        workbench: &mut Workbench<'_>,
        (network, parameters): (&Network, &[f32]),
        scratch: &mut Scratch,
        scale: f32,
        gradients: &mut [f32],
    ) -> Result<Outcome> {
        let Workbench { executor, batch, .. } = workbench;
        self.over(batch, &mut NetworkPass { executor, network, parameters }, scratch, scale, gradients)
    }

    /// As [`accumulate`](Self::accumulate), for any network.
    pub fn over(
        &self,
        batch: &Batch,
        pass: &mut impl Pass,
        scratch: &mut Scratch,
        scale: f32,
        gradients: &mut [f32],
    ) -> Result<Outcome> {
        let images = batch.labels.len();
        let parts = images.div_ceil(self.micro_batch.unwrap_or(images).max(1)).max(1);
        let length = images.div_ceil(parts).max(1);
        let mut sum = Outcome::default();
        for start in (0..images).step_by(length) {
            let part = start..images.min(start + length);
            let share = part.len() as f64 / images as f64;
            let outcome = self.part(batch, pass, part, scratch, scale * share as f32, gradients)?;
            sum.loss += share * outcome.loss;
            sum.correct += outcome.correct;
        }
        Ok(sum)
    }

    fn part(
        &self,
        batch: &Batch,
        pass: &mut impl Pass,
        part: Range<usize>,
        scratch: &mut Scratch,
        scale: f32,
        gradients: &mut [f32],
    ) -> Result<Outcome> {
        let (labels, image) = (&batch.labels[part.clone()], pass.image_length());
        let logits = pass.forward(&batch.images[part.start * image..part.end * image], part.len())?;
        scratch.logits.clear();
        scratch.logits.extend_from_slice(logits);
        let classes = logits.len() / part.len();
        let outcome = self.outcome(scratch, part, labels, classes, scale)?;
        if outcome.loss.is_finite() {
            pass.backward(&scratch.logits_gradient, gradients)?;
        }
        Ok(outcome)
    }

    fn outcome(
        &self,
        scratch: &mut Scratch,
        part: Range<usize>,
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
            let teacher = &teacher_logits[part.start * classes..part.end * classes];
            let soft = losses::distillation(logits, teacher, classes, scale, logits_gradient)?;
            loss += self.distillation * soft;
        }
        Ok(Outcome { loss, correct: losses::correct(logits, labels) })
    }
}

#[cfg(test)]
mod tests {
    use sartor_space::Candidate;

    use super::*;
    use crate::data::Batch;
    use crate::fixtures;
    use crate::instantiate::network;
    use crate::supernet::Supernet;

    /// Sums in another order.
    const TOLERANCE: f32 = 2e-5;

    /// Three times the same images: batch norm sees the same statistics in every part as in the whole.
    #[test]
    fn parts_of_a_batch_add_up_to_the_batch() {
        let (space, dataset) = (fixtures::space(), fixtures::dataset());
        let (layout, parameters) = Supernet::new(&space, 3).into_parts();
        let largest = Candidate { subnet: space.largest(), policy: None };
        let network = network(&layout, &space.lower(&largest)).unwrap();
        let mut workbench = Workbench::new(&space, &dataset, 1).unwrap();
        let indices: Vec<u32> = (0..24).map(|index| index % 8).collect();
        let Batch { images, labels, .. } = &mut workbench.batch;
        crate::data::batch(&dataset.train, &indices, &dataset.normalization, None, images, labels);
        let mut run = |micro_batch| {
            let teacher_logits = (0..24 * 4).map(|i| (i % 32) as f32 / 16.0).collect();
            let mut scratch = Scratch { teacher_logits, ..Scratch::default() };
            let mut gradients = vec![0.0; parameters.len()];
            let objective = Objective { label_smoothing: 0.1, distillation: 1.0, micro_batch };
            let model = (&network, &parameters[..]);
            let outcome = objective.accumulate(&mut workbench, model, &mut scratch, 0.5, &mut gradients);
            (outcome.unwrap(), gradients)
        };
        let (whole, expected) = run(None);
        for micro_batch in [8, 9, 24, 1000] {
            let (parts, gradients) = run(Some(micro_batch));
            assert_eq!(parts.correct, whole.correct);
            assert!((parts.loss - whole.loss).abs() < 1e-6);
            let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
            let worst = gradients.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(worst < TOLERANCE * largest, "{micro_batch}: {worst} of {largest}");
        }
    }
}
