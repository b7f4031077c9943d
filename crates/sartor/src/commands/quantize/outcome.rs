//! The network that ships: the chosen widths, fine-tuned where the layers allow it.

use anyhow::Result;
use sartor_export::{Executor, QuantizedNetwork, Style, TrainedModel};
use sartor_space::Workload;
use sartor_supernet::Part;
use sartor_supernet::finetune::{FinetuneSettings, FinetunedModel};
use sartor_supernet::float_network::{FloatNetwork, NetworkTuner};
use sartor_supernet::progress::StepReport;
use serde_json::{Value, json};

use super::accuracy_json;
use super::calibrated::Calibrated;
use super::choice::Choice;
use super::source::{Source, top1};
use crate::cli::QuantizeArguments;
use crate::progress::Progress;
use crate::stages::integers;
use crate::statistics::Accuracy;
use crate::talk;

/// A fine-tuned network.
struct Tuned {
    network: QuantizedNetwork,
    model: FinetunedModel,
    validation: Accuracy,
}

/// What is exported.
pub struct Outcome {
    /// The integer network.
    pub network: QuantizedNetwork,
    /// Whether it was fine-tuned.
    pub tuned: bool,
    /// In integers, on validation.
    pub validation: Accuracy,
    /// In integers, on test.
    pub test: Accuracy,
    /// 8 bits everywhere in integers, on test.
    pub uniform: Accuracy,
    /// Share of test images on which the fake-quantized network answers alike.
    agreement: Option<f64>,
    weights: Option<Vec<u8>>,
    why_not: Option<String>,
}

impl Outcome {
    /// Fine-tunes, and keeps the better of before and after on validation.
    ///
    /// # Errors
    /// Divergence, or a network without an integer form.
    pub fn reach(
        arguments: &QuantizeArguments,
        source: &Source,
        calibrated: &Calibrated<'_>,
        choice: &Choice,
        seed: u64,
    ) -> Result<Self> {
        let plain = calibrated.quantize(&choice.best.widths)?;
        let workload = calibrated.at(&choice.best.widths);
        let tuned = match arguments.epochs {
            0 => Err("`--epochs 0`".to_owned()),
            _ => tune(arguments, source, calibrated, &workload, seed)?,
        };
        let test = |network: &QuantizedNetwork| score(network, source);
        let uniform = test(&calibrated.quantize(&choice.uniform[0].widths)?)?;
        let before = choice.best.validation;
        let outcome = match tuned {
            Ok(tuned) if tuned.validation.value >= before.value => {
                let agreement = agreement(&tuned, source)?;
                Self {
                    test: test(&tuned.network)?,
                    network: tuned.network,
                    tuned: true,
                    validation: tuned.validation,
                    uniform,
                    agreement: Some(agreement),
                    weights: Some(tuned.model.arrays_to_bytes()),
                    why_not: None,
                }
            }
            other => {
                let why_not = other.map_or_else(
                    |why| why,
                    |tuned| {
                        format!("fine-tuning reached {} of validation, {before} before", tuned.validation)
                    },
                );
                talk::stage_line("fine-tune", &format!("not taken: {why_not}"));
                Self {
                    test: test(&plain)?,
                    network: plain,
                    tuned: false,
                    validation: before,
                    uniform,
                    agreement: None,
                    weights: None,
                    why_not: Some(why_not),
                }
            }
        };
        talk::stage_line("test", &outcome.describe(source.test));
        Ok(outcome)
    }

    fn describe(&self, float: Accuracy) -> String {
        let how = if self.tuned { "fine-tuned" } else { "after training" };
        let alike = self.agreement.map(|share| format!(", fake-quantized alike on {:.2} %", 100.0 * share));
        format!(
            "float {float}; 8 bits {}; searched, {how}, in integers {}{}",
            self.uniform,
            self.test,
            alike.unwrap_or_default()
        )
    }

    /// The fine-tuned weights as safetensors.
    pub fn weights(&self) -> Option<&[u8]> {
        self.weights.as_deref()
    }

    /// As data.
    pub fn to_json(&self) -> Value {
        json!({
            "test": {
                "uniform_8": accuracy_json(self.uniform),
                "quantized": accuracy_json(self.test),
                "fake_quantized_agreement": self.agreement,
            },
            "validation": accuracy_json(self.validation),
            "finetuned": self.tuned,
            "not_finetuned_because": self.why_not,
        })
    }
}

fn score(network: &QuantizedNetwork, source: &Source) -> Result<Accuracy> {
    let images = &source.dataset.test;
    let logits = Executor::new(network, Style::FloatTiesToEven).run(&images.pixels)?.logits;
    Ok(integers::accuracy(&top1(&logits, network.classes()), images))
}

/// Share of test images on which both forms of a tuned network answer alike.
fn agreement(tuned: &Tuned, source: &Source) -> Result<f64> {
    let classes = tuned.network.classes();
    let images = &source.dataset.test;
    let integers = Executor::new(&tuned.network, Style::FloatTiesToEven).run(&images.pixels)?.top1();
    let faked = top1(&tuned.model.logits_of_network(&source.dataset, Part::Test)?, classes);
    let same = integers.iter().zip(&faked).filter(|(a, b)| a == b).count();
    Ok(same as f64 / images.len().max(1) as f64)
}

/// Quantization-aware training of the chosen widths, or why it cannot be.
fn tune(
    arguments: &QuantizeArguments,
    source: &Source,
    calibrated: &Calibrated<'_>,
    workload: &Workload,
    seed: u64,
) -> Result<Result<Tuned, String>> {
    let chain = match source.network.chain(&calibrated.probes().pixels) {
        Ok(arrays) => arrays,
        Err(error) => return Ok(Err(format!("the layers are no chain that can be trained: {error}"))),
    };
    let float = FloatNetwork::adopt(&chain.to_bytes()?, calibrated.workload.clone())?;
    let settings = FinetuneSettings {
        epochs: arguments.epochs,
        learning_rate: arguments.learning_rate,
        weight_threshold: "mse".into(),
        flip: false,
        calibration_images: arguments.calibration_images,
        ..FinetuneSettings::default()
    };
    let mut tuner = NetworkTuner::new(&float, &source.dataset, workload, settings, seed)?;
    let mut progress = Progress::new("fine-tune", tuner.total_steps() as u64, 0);
    tuner.run(&mut |report: &StepReport| {
        let text = format!("loss {:.3}  {:.0} % of the batch", report.loss, 100.0 * report.accuracy);
        progress.at(report.overall as u64 + 1, &text);
    })?;
    drop(progress);
    settle(&tuner.finish()?, source, workload).map(Ok)
}

/// The integer network, and the model with the biases that it has.
fn settle(model: &FinetunedModel, source: &Source, workload: &Workload) -> Result<Tuned> {
    let trained = TrainedModel::from_bytes(&model.arrays_to_bytes())?;
    let network = QuantizedNetwork::build(&trained, workload)?;
    let settled = trained.with_integer_biases(&network)?;
    let model = FinetunedModel::from_arrays(&settled.to_bytes()?, workload.clone())?;
    let images = &source.dataset.validation;
    let logits = Executor::new(&network, Style::FloatTiesToEven).run(&images.pixels)?.logits;
    let validation = integers::accuracy(&top1(&logits, network.classes()), images);
    Ok(Tuned { network, model, validation })
}
