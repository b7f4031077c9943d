//! The network that ships: the chosen widths, fine-tuned.

use anyhow::Result;
use sartor_export::{Executor, QuantizedNetwork, Style, TrainedModel};
use sartor_supernet::data::Dataset;
use sartor_supernet::finetune::{FinetuneSettings, FinetunedModel};
use sartor_supernet::float_network::{FloatNetwork, NetworkTuner};
use sartor_supernet::graph_tuning::{GraphModel, GraphTuner};
use sartor_supernet::progress::{Observer, StepReport};
use sartor_supernet::{Part, SupernetError};
use serde_json::{Value, json};

use super::accuracy_json;
use super::calibrated::{Calibrated, Widths};
use super::choice::Choice;
use super::source::{Source, top1};
use super::trainee::Trainee;
use crate::cli::QuantizeArguments;
use crate::progress::Progress;
use crate::stages::integers;
use crate::statistics::Accuracy;
use crate::talk;

/// What of the learning rate the second attempt takes.
const GENTLER: f64 = 0.1;

/// A fine-tuned network.
struct Tuned {
    /// Highest learning rate.
    rate: f64,
    network: QuantizedNetwork,
    /// The same, fake-quantized.
    model: Model,
    weights: Vec<u8>,
    validation: Accuracy,
}

/// What was trained.
enum Model {
    Chain(Box<FinetunedModel>),
    Graph(Box<GraphModel>),
}

/// What is exported.
pub struct Outcome {
    /// The integer network.
    pub network: QuantizedNetwork,
    /// In integers, on validation.
    pub validation: Accuracy,
    /// In integers, on test.
    pub test: Accuracy,
    /// 8 bits everywhere in integers, on test.
    pub uniform: Accuracy,
    /// Share of test images on which the fake-quantized network answers alike.
    agreement: Option<f64>,
    /// Learning rate of the fine-tuning, if there was one.
    rate: Option<f64>,
    weights: Option<Vec<u8>>,
    why_not: Option<String>,
}

impl Outcome {
    /// Fine-tunes, and keeps the better of before and after on validation.
    ///
    /// # Errors
    /// A network without an integer form.
    pub fn reach(
        arguments: &QuantizeArguments,
        source: &Source,
        calibrated: &Calibrated<'_>,
        choice: &Choice,
        seed: u64,
    ) -> Result<Self> {
        let plain = calibrated.quantize(&choice.best.widths)?;
        let tuned = improve(arguments, source, calibrated, choice, seed)?;
        let test = |network: &QuantizedNetwork| score(network, source);
        let uniform = test(&calibrated.quantize(&choice.uniform[0].widths)?)?;
        let outcome = match tuned {
            Ok(tuned) => Self {
                test: test(&tuned.network)?,
                agreement: Some(agreement(&tuned, source)?),
                network: tuned.network,
                validation: tuned.validation,
                uniform,
                rate: Some(tuned.rate),
                weights: Some(tuned.weights),
                why_not: None,
            },
            Err(why_not) => {
                talk::stage_line("fine-tune", &format!("not taken: {why_not}"));
                Self {
                    test: test(&plain)?,
                    network: plain,
                    validation: choice.best.validation,
                    uniform,
                    agreement: None,
                    rate: None,
                    weights: None,
                    why_not: Some(why_not),
                }
            }
        };
        talk::stage_line("test", &outcome.describe(source.test));
        Ok(outcome)
    }

    fn describe(&self, float: Accuracy) -> String {
        let how = if self.rate.is_some() { "fine-tuned" } else { "after training" };
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
            "finetuned": self.rate.is_some(),
            "learning_rate": self.rate,
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
    let faked = top1(&tuned.model.logits(&source.dataset, Part::Test)?, classes);
    let same = integers.iter().zip(&faked).filter(|(a, b)| a == b).count();
    Ok(same as f64 / images.len().max(1) as f64)
}

/// Fine-tunes; if that does harm, once more and more gently (networks without norms bear lower rates). If neither helps: why.
fn improve(
    arguments: &QuantizeArguments,
    source: &Source,
    calibrated: &Calibrated<'_>,
    choice: &Choice,
    seed: u64,
) -> Result<Result<Tuned, String>> {
    if arguments.epochs == 0 {
        return Ok(Err("`--epochs 0`".to_owned()));
    }
    let before = choice.best.validation;
    let mut reasons = Vec::new();
    for rate in [arguments.learning_rate, GENTLER * arguments.learning_rate] {
        let settings = settings(arguments, rate);
        let reached = match tune(settings, source, calibrated, &choice.best.widths, seed) {
            Ok(tuned) if tuned.validation.value >= before.value => return Ok(Ok(tuned)),
            Ok(tuned) => tuned.validation.to_string(),
            Err(error) if has_diverged(&error) => error.to_string(),
            Err(error) => return Err(error),
        };
        reasons.push(format!("{reached} with --learning-rate {rate}"));
        talk::stage_line("fine-tune", &format!("no gain: {}", reasons[reasons.len() - 1]));
    }
    Ok(Err(format!("{before} of validation before, {}", reasons.join(", "))))
}

fn has_diverged(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<SupernetError>();
    matches!(error, Some(SupernetError::Diverged { .. } | SupernetError::NotFinite { .. }))
}

fn settings(arguments: &QuantizeArguments, learning_rate: f64) -> FinetuneSettings {
    FinetuneSettings {
        epochs: arguments.epochs,
        learning_rate,
        weight_threshold: "mse".into(),
        flip: false,
        calibration_images: arguments.calibration_images,
        ..FinetuneSettings::default()
    }
}

/// Quantization-aware training of the chosen widths: layer by layer fused where the layers are a chain, step by step
/// as the network is wired where they are not.
fn tune(
    settings: FinetuneSettings,
    source: &Source,
    calibrated: &Calibrated<'_>,
    widths: &[Widths],
    seed: u64,
) -> Result<Tuned> {
    match source.network.chain(&calibrated.probes().pixels) {
        Ok(arrays) => tune_chain(&arrays, source, calibrated, widths, (settings, seed)),
        Err(_) => tune_graph(source, calibrated, widths, (settings, seed)),
    }
}

fn tune_chain(
    arrays: &TrainedModel,
    source: &Source,
    calibrated: &Calibrated<'_>,
    widths: &[Widths],
    (settings, seed): (FinetuneSettings, u64),
) -> Result<Tuned> {
    let (workload, rate) = (calibrated.at(widths), settings.learning_rate);
    let float = FloatNetwork::adopt(&arrays.to_bytes()?, calibrated.workload.clone())?;
    let mut tuner = NetworkTuner::new(&float, &source.dataset, &workload, settings, seed)?;
    watched(tuner.total_steps(), |observer| tuner.run(observer))?;
    let trained = TrainedModel::from_bytes(&tuner.finish()?.arrays_to_bytes())?;
    let network = QuantizedNetwork::build(&trained, &workload)?;
    let settled = trained.with_integer_biases(&network)?.to_bytes()?;
    let model = FinetunedModel::from_arrays(&settled, workload)?;
    let weights = model.arrays_to_bytes();
    Tuned::new(network, Model::Chain(Box::new(model)), (weights, rate), source)
}

fn tune_graph(
    source: &Source,
    calibrated: &Calibrated<'_>,
    widths: &[Widths],
    (settings, seed): (FinetuneSettings, u64),
) -> Result<Tuned> {
    let (trainee, rate) = (Trainee::new(calibrated, widths)?, settings.learning_rate);
    let start = (trainee.graph.clone(), trainee.parameters.clone());
    let mut tuner =
        GraphTuner::new(start, trainee.decays.clone(), trainee.float(), &source.dataset, settings, seed)?;
    watched(tuner.total_steps(), |observer| tuner.run(observer))?;
    let settled = trainee.settle(&tuner.finish()?)?;
    Tuned::new(settled.network, Model::Graph(Box::new(settled.model)), (settled.weights, rate), source)
}

/// Runs a training with a progress bar.
fn watched(
    steps: usize,
    train: impl FnOnce(&mut dyn Observer) -> sartor_supernet::error::Result<()>,
) -> Result<()> {
    let mut progress = Progress::new("fine-tune", steps as u64, 0);
    let mut observer = |report: &StepReport| {
        let text = format!("loss {:.3}  {:.0} % of the batch", report.loss, 100.0 * report.accuracy);
        progress.at(report.overall as u64 + 1, &text);
    };
    Ok(train(&mut observer)?)
}

impl Tuned {
    fn new(
        network: QuantizedNetwork,
        model: Model,
        (weights, rate): (Vec<u8>, f64),
        source: &Source,
    ) -> Result<Self> {
        let images = &source.dataset.validation;
        let logits = Executor::new(&network, Style::FloatTiesToEven).run(&images.pixels)?.logits;
        let validation = integers::accuracy(&top1(&logits, network.classes()), images);
        Ok(Self { rate, network, model, weights, validation })
    }
}

impl Model {
    fn logits(&self, dataset: &Dataset, part: Part) -> Result<Vec<f32>> {
        Ok(match self {
            Self::Chain(model) => model.logits_of_network(dataset, part)?,
            Self::Graph(model) => model.logits(dataset, part)?,
        })
    }
}
