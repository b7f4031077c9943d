//! # Settings of a fine-tuning

use std::sync::Arc;

use sartor_space::SearchSpace;
use serde::{Deserialize, Serialize};

use crate::calibration::{ActivationMethod, WeightMethod};
use crate::error::Result;
use crate::quantized::Calibration;
use crate::schedule::{TrainingSettings, fraction, not_negative, positive};
use crate::supernet::Supernet;
use crate::teacher::Teacher;
use crate::workbench::Workbench;

/// How a candidate is fine-tuned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneSettings {
    /// Passes over the training images.
    pub epochs: usize,
    /// Stops after this many steps, if that comes first; the cosine ends there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Images per step.
    pub batch: usize,
    /// Most images that go through the network at once, as in the supernet's training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Highest learning rate; falls to zero along a cosine.
    pub learning_rate: f64,
    /// Epochs of linear warm-up before the cosine, counted within `epochs`.
    #[serde(skip_serializing_if = "is_zero")]
    pub warm_up: f64,
    /// Nesterov momentum.
    pub momentum: f64,
    /// Weight decay of weights (not of norms, biases and ranges).
    pub weight_decay: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Weight of the cross-entropy with the soft labels of the full-precision largest network; 0 for none.
    pub distillation: f64,
    /// Images are shifted by up to this many pixels.
    pub shift: usize,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Training images for thresholds and ranges.
    pub calibration_images: usize,
    /// Training images for the final batch-norm statistics.
    pub recalibration_images: usize,
    /// One weight threshold per output channel rather than per layer.
    pub per_channel: bool,
    /// Name of the weight threshold's method, see [`WEIGHT_METHODS`](crate::calibration::WEIGHT_METHODS).
    pub weight_threshold: String,
    /// Name of the starting range's method, see [`ACTIVATION_METHODS`](crate::calibration::ACTIVATION_METHODS).
    pub activation_range: String,
}

impl Default for FinetuneSettings {
    fn default() -> Self {
        Self {
            epochs: 10,
            steps: None,
            batch: 64,
            micro_batch: None,
            learning_rate: 3e-2,
            warm_up: 0.0,
            momentum: 0.9,
            weight_decay: 3e-5,
            label_smoothing: 0.1,
            distillation: 1.0,
            shift: 2,
            flip: false,
            calibration_images: 250,
            recalibration_images: 2000,
            per_channel: true,
            weight_threshold: "kl".into(),
            activation_range: "mse".into(),
        }
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl FinetuneSettings {
    /// How one network is trained alone as the supernet's largest was: its phase's epochs and rate, no teacher.
    pub fn alone(settings: &TrainingSettings) -> Self {
        let largest = settings.phases.first();
        Self {
            epochs: largest.map_or(0, |phase| phase.epochs),
            batch: settings.batch,
            micro_batch: settings.micro_batch,
            learning_rate: largest.map_or(0.0, |phase| phase.learning_rate),
            warm_up: largest.map_or(0.0, |phase| phase.warm_up),
            momentum: settings.momentum,
            weight_decay: settings.weight_decay,
            label_smoothing: settings.label_smoothing,
            distillation: 0.0,
            shift: settings.shift,
            flip: settings.flip,
            recalibration_images: settings.recalibration_images,
            ..Self::default()
        }
    }

    /// Refuses settings that cannot train.
    pub fn check(&self) -> Result<()> {
        positive("batch", self.batch)?;
        positive("micro_batch", self.micro_batch.unwrap_or(1))?;
        positive("calibration_images", self.calibration_images)?;
        positive("recalibration_images", self.recalibration_images)?;
        fraction("momentum", self.momentum)?;
        fraction("label_smoothing", self.label_smoothing)?;
        not_negative("weight_decay", self.weight_decay)?;
        not_negative("learning_rate", self.learning_rate)?;
        not_negative("distillation", self.distillation)?;
        not_negative("warm_up", self.warm_up)?;
        self.calibration().map(drop)
    }

    /// How thresholds and ranges are found.
    ///
    /// # Errors
    /// A method that there is not.
    pub fn calibration(&self) -> Result<Calibration> {
        Ok(Calibration {
            images: self.calibration_images,
            weights: WeightMethod::named(&self.weight_threshold)?,
            activations: ActivationMethod::named(&self.activation_range)?,
            per_channel: self.per_channel,
        })
    }

    /// Steps on a training split of this many images.
    pub fn total_steps(&self, images: usize) -> usize {
        let steps = self.epochs * steps_per_epoch(self, images);
        self.steps.map_or(steps, |most| most.min(steps))
    }
}

pub(crate) fn steps_per_epoch(settings: &FinetuneSettings, images: usize) -> usize {
    (images / settings.batch.min(images).max(1)).max(1)
}

impl FinetuneSettings {
    /// The full-precision largest network, if these settings distil.
    pub(crate) fn teacher(
        &self,
        space: &SearchSpace,
        supernet: &Supernet,
        workbench: &mut Workbench<'_>,
    ) -> Result<Option<Arc<Teacher>>> {
        if self.distillation == 0.0 {
            return Ok(None);
        }
        let parameters = supernet.teacher().to_vec();
        let teacher =
            Teacher::new(space, supernet.layout(), parameters, workbench, self.recalibration_images)?;
        Ok(Some(Arc::new(teacher)))
    }
}
