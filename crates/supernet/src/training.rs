//! # Training: progressive shrinking of the supernet
//!
//! One optimiser step (Once-for-all, section 3.3): load a batch, ask the teacher for soft labels, then for each of
//! the phase's subnets run forward and backward on the shared weights, average the gradients and step
//! (SGD, Nesterov). The first phase trains the largest network, which is frozen as the teacher when it ends. Before
//! a phase widens the choice of widths, channels are sorted by importance.
//!
//! Every random decision is drawn from (seed, phase, step), so that a checkpoint is only parameters, velocity,
//! teacher and position, and a resumed run gives the same bytes as an undisturbed one.

use std::sync::Arc;

use sartor_space::{Candidate, SearchSpace, Subnet};

use crate::data::{Ahead, Augmentation, BatchPlan, Dataset};
use crate::error::Result;
use crate::instantiate::network;
use crate::objective::{Objective, Outcome, Scratch};
use crate::parameters::Layout;
use crate::progress::{Observer, StepReport, check_loss};
use crate::random::{Purpose, stream};
use crate::schedule::{Open, Phase, TrainingSettings, sgd};
use crate::sorting::sort_channels;
use crate::supernet::Supernet;
use crate::teacher::Teacher;
use crate::workbench::Workbench;

mod checkpoint;
#[cfg(test)]
mod tests;

/// Where training stands: the next step to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Index of the phase.
    pub phase: usize,
    /// Step within the phase.
    pub step: usize,
}

/// Trains a supernet step by step.
pub struct Trainer<'a> {
    space: &'a SearchSpace,
    settings: TrainingSettings,
    seed: u64,
    workbench: Workbench<'a>,
    layout: Layout,
    decay_mask: Vec<bool>,
    parameters: Vec<f32>,
    velocity: Vec<f32>,
    gradients: Vec<f32>,
    teacher: Option<Arc<Teacher>>,
    position: Position,
    batches: Option<(usize, Ahead)>,
    scratch: Scratch,
}

impl<'a> Trainer<'a> {
    /// A trainer at the first step of the first phase.
    ///
    /// # Errors
    /// Impossible settings, a space that cannot be trained, a data set of another shape.
    pub fn new(
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        settings: TrainingSettings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        space.check_trainable()?;
        let (layout, parameters) = Supernet::new(space, seed).into_parts();
        Ok(Self {
            space,
            settings,
            seed,
            workbench: Workbench::new(space, dataset, seed)?,
            decay_mask: layout.decay_mask(),
            velocity: vec![0.0; layout.len()],
            gradients: vec![0.0; layout.len()],
            layout,
            parameters,
            teacher: None,
            position: Position::default(),
            batches: None,
            scratch: Scratch::default(),
        })
    }

    /// The next step to take.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Whether every phase is over.
    pub fn is_done(&self) -> bool {
        self.position.phase >= self.settings.phases.len()
    }

    /// Steps in one pass over the training images; the last, incomplete batch is left out.
    pub fn steps_per_epoch(&self) -> usize {
        (self.workbench.dataset.train.len() / self.batch()).max(1)
    }

    /// Steps of the whole schedule.
    pub fn total_steps(&self) -> usize {
        self.settings.phases.iter().map(|phase| phase.epochs * self.steps_per_epoch()).sum()
    }

    /// Steps behind the current position.
    pub fn steps_done(&self) -> usize {
        self.epochs_before(self.position.phase) * self.steps_per_epoch() + self.position.step
    }

    /// Image passes of the whole schedule (a step counts its batch once per subnet): a measure of the work.
    pub fn total_work(&self) -> usize {
        self.work_of(self.settings.phases.len())
    }

    /// Image passes behind the current position.
    pub fn work_done(&self) -> usize {
        let Position { phase, step } = self.position;
        let subnets = self.settings.phases.get(phase).map_or(0, |phase| phase.subnets);
        self.work_of(phase) + step * subnets * self.batch()
    }

    fn work_of(&self, phases: usize) -> usize {
        let work = |phase: &Phase| phase.epochs * phase.subnets;
        let passes: usize = self.settings.phases[..phases].iter().map(work).sum();
        passes * self.steps_per_epoch() * self.batch()
    }

    /// The weights as they are now.
    pub fn supernet(&self) -> Supernet {
        let teacher = self.teacher.as_ref().map(|teacher| teacher.parameters());
        Supernet::from_parts(self.layout.clone(), self.parameters.clone()).with_teacher(teacher)
    }

    /// Trains to the end of the current epoch.
    pub fn epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        while !self.is_done() {
            let report = self.step()?;
            observer.step(&report);
            if report.ends_epoch {
                break;
            }
        }
        Ok(())
    }

    /// Takes one optimiser step.
    ///
    /// # Errors
    /// Divergence, with the phase, the step and, where it is known, the layer.
    pub fn step(&mut self) -> Result<StepReport> {
        let Position { phase: phase_index, step } = self.position;
        let phase = self.settings.phases[phase_index.min(self.settings.phases.len() - 1)].clone();
        if step == 0 {
            self.enter(phase_index)?;
        }
        self.load_batch()?;
        self.ask_teacher(&phase)?;
        let outcome =
            self.gradients_of_subnets(&phase).map_err(|error| error.in_step(&phase.name(), step))?;
        check_loss(outcome.loss, self.space.input().classes, &phase.name(), step)?;
        let learning_rate = phase.learning_rate_at(step, self.steps_per_epoch());
        self.descend(learning_rate)?;
        self.advance(&phase);
        Ok(self.report(&phase, step, outcome, learning_rate))
    }

    /// What happens between phases: the teacher is frozen, channels are sorted, the velocity starts at zero.
    fn enter(&mut self, phase: usize) -> Result<()> {
        self.velocity.fill(0.0);
        let open = self.settings.phases[phase].open;
        if self.teacher.is_none() && open != Open::Largest {
            self.freeze_teacher(self.parameters.clone())?;
        }
        let before = self.settings.freedom(phase.saturating_sub(1));
        if self.settings.sort_channels && self.settings.freedom(phase).widths > before.widths {
            sort_channels(self.space, &self.layout, &mut self.parameters, before.widths)?;
        }
        Ok(())
    }

    fn freeze_teacher(&mut self, parameters: Vec<f32>) -> Result<()> {
        let images = self.settings.recalibration_images;
        let teacher = Teacher::new(self.space, &self.layout, parameters, &mut self.workbench, images)?;
        self.teacher = Some(Arc::new(teacher));
        Ok(())
    }

    fn batch(&self) -> usize {
        self.settings.batch.min(self.workbench.dataset.train.len())
    }

    fn load_batch(&mut self) -> Result<()> {
        let Position { phase, step } = self.position;
        if self.batches.as_ref().is_none_or(|(of, _)| *of != phase) {
            let steps = self.settings.phases[phase].epochs * self.steps_per_epoch();
            let images = self.workbench.dataset.train.clone();
            self.batches = Some((phase, Ahead::new(images, self.batch_plan(phase), steps as u64)));
        }
        let (_, batches) = self.batches.as_mut().expect("just made");
        Ok(batches.take(step as u64, &mut self.workbench.batch)?)
    }

    fn batch_plan(&self, phase: usize) -> BatchPlan {
        BatchPlan {
            batch: self.batch(),
            seed: self.seed,
            epochs_before: self.epochs_before(phase) as u64,
            lane: phase as u64,
            augmentation: Some(Augmentation { shift: self.settings.shift, flip: self.settings.flip }),
            normalization: self.workbench.dataset.normalization,
        }
    }

    fn epochs_before(&self, phase: usize) -> usize {
        self.settings.phases[..phase].iter().map(|phase| phase.epochs).sum()
    }

    fn ask_teacher(&mut self, phase: &Phase) -> Result<()> {
        self.scratch.teacher_logits.clear();
        match self.teacher.clone().filter(|_| phase.distillation > 0.0) {
            Some(teacher) => teacher.logits(&mut self.workbench, &mut self.scratch.teacher_logits),
            None => Ok(()),
        }
    }

    fn gradients_of_subnets(&mut self, phase: &Phase) -> Result<Outcome> {
        let TrainingSettings { label_smoothing, micro_batch, .. } = self.settings;
        let objective = Objective { label_smoothing, distillation: phase.distillation, micro_batch };
        let scale = 1.0 / phase.subnets as f32;
        self.gradients.fill(0.0);
        let mut sum = Outcome::default();
        for place in 0..phase.subnets {
            let candidate = Candidate { subnet: self.subnet(phase, place), policy: None };
            let network = network(&self.layout, &self.space.lower(&candidate))?;
            let model = (&network, &self.parameters[..]);
            let gradients = &mut self.gradients;
            let outcome =
                objective.accumulate(&mut self.workbench, model, &mut self.scratch, scale, gradients)?;
            sum.loss += outcome.loss / phase.subnets as f64;
            sum.correct += outcome.correct;
        }
        Ok(sum)
    }

    fn subnet(&self, phase: &Phase, place: usize) -> Subnet {
        let freedom = self.settings.freedom(self.position.phase);
        if phase.smallest && place == 0 {
            return freedom.smallest_subnet(self.space);
        }
        let indices = [self.position.phase as u64, self.position.step as u64, place as u64];
        let mut rng = stream(self.seed, Purpose::Subnet, indices);
        freedom.random_subnet(self.space, &mut rng)
    }

    fn descend(&mut self, learning_rate: f64) -> Result<()> {
        let descent = sgd(self.settings.momentum, self.settings.weight_decay);
        let (values, velocity) = (&mut self.parameters, &mut self.velocity);
        Ok(descent.step(values, &self.gradients, velocity, learning_rate as f32, &self.decay_mask)?)
    }

    fn advance(&mut self, phase: &Phase) {
        self.position.step += 1;
        if self.position.step >= phase.epochs * self.steps_per_epoch() {
            self.position = Position { phase: self.position.phase + 1, step: 0 };
        }
    }

    fn report(&self, phase: &Phase, step: usize, outcome: Outcome, learning_rate: f64) -> StepReport {
        let per_epoch = self.steps_per_epoch();
        let index = if self.position.step == 0 { self.position.phase - 1 } else { self.position.phase };
        StepReport {
            phase: phase.name(),
            step,
            steps: phase.epochs * per_epoch,
            overall: self.epochs_before(index) * per_epoch + step,
            overall_steps: self.total_steps(),
            loss: outcome.loss,
            accuracy: outcome.correct as f64 / (self.batch() * phase.subnets) as f64,
            learning_rate,
            images: self.batch() * phase.subnets,
            ends_epoch: (step + 1).is_multiple_of(per_epoch),
            ends_phase: self.position.step == 0,
        }
    }
}
