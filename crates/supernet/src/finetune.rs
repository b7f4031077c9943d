//! # Fine-tuning: quantization-aware training of one candidate
//!
//! The candidate's weights are copied out of the supernet, calibrated, and trained with fake quantization: forward
//! passes use quantized weights and activations only, gradients pass straight through, ranges are learned like
//! PACT's clipping value (Choi and others, equation 3), at the learning rate of the weights and without decay.
//! EMS, section 5: 30 epochs at 1e-3 with a cosine; here the configuration says how long. The batch-norm statistics
//! of the trained network are recomputed under quantization at the end.
//!
//! A candidate without a policy is fine-tuned the same way at full precision.

use std::sync::Arc;

use sartor_space::{Candidate, SearchSpace};

use crate::data::{Ahead, Augmentation, BatchPlan, Dataset};
use crate::error::{Result, SupernetError};
use crate::evaluation::Accuracy;
use crate::objective::{Objective, Outcome, Scratch};
use crate::progress::{Observer, StepReport, check_loss};
use crate::quantized::Model;
use crate::schedule::{learning_rate, sgd};
use crate::supernet::Supernet;
use crate::teacher::Teacher;
use crate::workbench::{Part, Workbench};

mod checkpoint;
mod model_file;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use settings::steps_per_epoch;

pub use model_file::FinetunedModel;
pub use settings::FinetuneSettings;

/// Name of the only phase, for messages.
pub(crate) const PHASE: &str = "fine-tune";

/// Fine-tunes one candidate step by step.
pub struct Finetuner<'a> {
    space: &'a SearchSpace,
    workbench: Workbench<'a>,
    teacher: Option<Arc<Teacher>>,
    tuning: Tuning,
}

impl<'a> Finetuner<'a> {
    /// Copies the candidate out of the supernet and calibrates it.
    ///
    /// # Errors
    /// Impossible settings, a candidate outside the space, a data set of another shape.
    pub fn new(
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        supernet: &Supernet,
        candidate: &Candidate,
        settings: FinetuneSettings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let mut workbench = Workbench::new(space, dataset, seed)?;
        let teacher = settings.teacher(space, supernet, &mut workbench)?;
        let tuning =
            Tuning::new(Model::inherit(space, supernet, candidate)?, settings, seed, &mut workbench)?;
        Ok(Self { space, workbench, teacher, tuning })
    }

    /// Whether every step is taken.
    pub fn is_done(&self) -> bool {
        self.tuning.is_done()
    }

    /// Steps of the whole fine-tuning.
    pub fn total_steps(&self) -> usize {
        self.tuning.steps
    }

    /// The next step to take.
    pub fn position(&self) -> usize {
        self.tuning.step
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
    /// Divergence, with the step and, where it is known, the layer.
    pub fn step(&mut self) -> Result<StepReport> {
        self.tuning.step(&mut self.workbench, self.teacher.as_deref())
    }

    /// Recomputes the batch-norm statistics under quantization and gives the trained model.
    pub fn finish(mut self) -> Result<FinetunedModel> {
        self.tuning.finish(&mut self.workbench)
    }

    /// Accuracy of the network as it is now, with statistics recomputed under quantization.
    pub fn accuracy(&mut self, part: Part) -> Result<Accuracy> {
        let model = self.tuning.finish(&mut self.workbench)?;
        model.accuracy_on(&mut self.workbench, part)
    }
}

/// The state of one fine-tuning.
pub(crate) struct Tuning {
    settings: FinetuneSettings,
    model: Model,
    seed: u64,
    velocity: Vec<f32>,
    gradients: Vec<f32>,
    decay_mask: Vec<bool>,
    step: usize,
    steps: usize,
    steps_per_epoch: usize,
    batches: Ahead,
    scratch: Scratch,
}

impl Tuning {
    /// Calibrates a model and stands before its first step.
    pub fn new(
        mut model: Model,
        settings: FinetuneSettings,
        seed: u64,
        workbench: &mut Workbench<'_>,
    ) -> Result<Self> {
        model.calibrate(workbench, &settings.calibration()?)?;
        let (length, images) = (model.parameters.len(), workbench.dataset.train.len());
        let mut decay_mask = model.layout.decay_mask();
        decay_mask.resize(length, false);
        let steps = settings.total_steps(images);
        let plan = batch_plan(&settings, workbench.dataset, seed);
        Ok(Self {
            batches: Ahead::new(workbench.dataset.train.clone(), plan, steps as u64),
            steps,
            steps_per_epoch: steps_per_epoch(&settings, images),
            settings,
            model,
            seed,
            velocity: vec![0.0; length],
            gradients: vec![0.0; length],
            decay_mask,
            step: 0,
            scratch: Scratch::default(),
        })
    }

    pub fn is_done(&self) -> bool {
        self.step >= self.steps
    }

    pub fn total_steps(&self) -> usize {
        self.steps
    }

    pub fn step(&mut self, workbench: &mut Workbench<'_>, teacher: Option<&Teacher>) -> Result<StepReport> {
        self.batches.take(self.step as u64, &mut workbench.batch)?;
        self.scratch.teacher_logits.clear();
        if let Some(teacher) = teacher {
            teacher.logits(workbench, &mut self.scratch.teacher_logits)?;
        }
        workbench.work.add_step(workbench.batch.labels.len());
        let outcome = self.gradients(workbench).map_err(|error| error.in_step(PHASE, self.step))?;
        check_loss(outcome.loss, self.model.network.head.classes, PHASE, self.step)?;
        let warm_up = (self.settings.warm_up * self.steps_per_epoch as f64).round() as usize;
        let rate = learning_rate(self.settings.learning_rate, self.step, warm_up, self.steps);
        self.descend(rate)?;
        self.step += 1;
        Ok(self.report(outcome, rate, workbench.batch.labels.len()))
    }

    fn gradients(&mut self, workbench: &mut Workbench<'_>) -> Result<Outcome> {
        let Self { settings, model, gradients, scratch, .. } = self;
        let FinetuneSettings { label_smoothing, distillation, micro_batch, .. } = *settings;
        let objective = Objective { label_smoothing, distillation, micro_batch };
        gradients.fill(0.0);
        objective.accumulate(workbench, (&model.network, &model.parameters), scratch, 1.0, gradients)
    }

    fn descend(&mut self, learning_rate: f64) -> Result<()> {
        let descent = sgd(self.settings.momentum, self.settings.weight_decay);
        let (values, velocity) = (&mut self.model.parameters, &mut self.velocity);
        Ok(descent.step(values, &self.gradients, velocity, learning_rate as f32, &self.decay_mask)?)
    }

    fn report(&self, outcome: Outcome, learning_rate: f64, images: usize) -> StepReport {
        report((self.step, self.steps, self.steps_per_epoch), outcome, learning_rate, images)
    }

    /// The model as it is now, with statistics recomputed under quantization.
    pub fn finish(&self, workbench: &mut Workbench<'_>) -> Result<FinetunedModel> {
        let model = self.model.clone();
        let images = self.settings.recalibration_images;
        let statistics = workbench.recalibrate(&model.network, &model.parameters, images)?;
        let normalization = workbench.dataset.normalization;
        Ok(FinetunedModel { model, statistics, normalization })
    }
}

/// What is told of a step, when `taken` of all `steps` are.
pub(crate) fn report(
    (taken, steps, per_epoch): (usize, usize, usize),
    outcome: Outcome,
    learning_rate: f64,
    images: usize,
) -> StepReport {
    let (step, ends_phase) = (taken - 1, taken >= steps);
    StepReport {
        phase: PHASE.to_string(),
        step,
        steps,
        overall: step,
        overall_steps: steps,
        loss: outcome.loss,
        accuracy: outcome.correct as f64 / images as f64,
        learning_rate,
        images,
        ends_epoch: taken.is_multiple_of(per_epoch) || ends_phase,
        ends_phase,
    }
}

impl SupernetError {
    /// Puts the phase and step into an engine failure.
    pub(crate) fn in_step(self, phase: &str, step: usize) -> Self {
        match self {
            Self::Engine(error) => Self::at_step(error, phase, step),
            other => other,
        }
    }
}

pub(crate) fn batch_plan(settings: &FinetuneSettings, dataset: &Dataset, seed: u64) -> BatchPlan {
    BatchPlan {
        batch: settings.batch.min(dataset.train.len()),
        seed,
        epochs_before: 0,
        lane: u64::MAX,
        augmentation: Some(Augmentation { shift: settings.shift, flip: settings.flip }),
        normalization: dataset.normalization,
    }
}
