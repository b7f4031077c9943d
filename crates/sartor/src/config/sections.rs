//! The config as typed: one struct per section, in the order of the stages. Unknown keys are refused; every key
//! has a default, so a config says only what is particular to it.

use std::path::PathBuf;

use sartor_predictor::{FitSettings, Method, MlpSettings, TransferSettings};
use sartor_supernet::finetune::FinetuneSettings;
use sartor_supernet::schedule::TrainingSettings;
use serde::{Deserialize, Serialize};

use super::methods::Methods;

/// A whole config file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sections {
    /// Seed of every random draw.
    pub seed: u64,
    /// Threads to compute with; 0 = all cores. Never changes a result, so the resolved config leaves it out.
    #[serde(skip_serializing)]
    pub threads: usize,
    /// Where the run lives; left out of the resolved config, so that a run folder can be moved.
    #[serde(skip_serializing)]
    pub run: Run,
    /// What may be chosen.
    pub space: Space,
    /// Images.
    pub data: Data,
    /// Progressive shrinking.
    pub supernet: TrainingSettings,
    /// Accuracy pairs.
    pub samples: Samples,
    /// Accuracy predictors.
    pub predictor: Predictor,
    /// The chip.
    pub hardware: Hardware,
    /// Which search system, and what is particular to it.
    pub method: Methods,
    /// The search and its budget.
    pub search: Search,
    /// Quantization-aware training of the chosen candidates.
    pub finetune: FinetuneSettings,
    /// Deployable formats.
    pub export: Export,
    /// Check in a real runtime.
    pub verify: Verify,
}

/// `[run]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// Run folder. Default: `runs/<config name>`.
    pub folder: Option<PathBuf>,
    /// Most memory that training may take besides the images, such as `2GB`; see the `micro_batch` of the trainings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// `[space]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Space {
    /// A preset's name or the path of a TOML file.
    pub source: String,
    /// A target's name or the path of its TOML file: widths that do not run there leave the space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl Default for Space {
    fn default() -> Self {
        Self { source: "quickstart".to_owned(), target: None }
    }
}

/// How images are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// MNIST-like `train-images-idx3-ubyte[.gz]` and its three siblings.
    Idx,
    /// CIFAR-10 binary records.
    Cifar10,
    /// CIFAR-100 binary records.
    Cifar100,
    /// `train/<class>/*.{png,jpg}` and `test/<class>/…`.
    ImageFolder,
}

/// `[data]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// How images are stored.
    pub format: Format,
    /// Folder, relative to the working folder.
    pub path: PathBuf,
    /// Training images set aside for validation; search, sampling and the predictor see only these.
    pub validation: usize,
    /// Use only so many images of the training files, validation included; a class-balanced choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_limit: Option<usize>,
    /// Use only so many test images; a class-balanced choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_limit: Option<usize>,
    /// Seed of the split into training and validation.
    pub split_seed: u64,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            format: Format::Idx,
            path: "data/fmnist-mini".into(),
            validation: 1000,
            train_limit: None,
            test_limit: None,
            split_seed: 0,
        }
    }
}

/// `[samples]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Samples {
    /// Full-precision pairs.
    pub full_precision: usize,
    /// Mixed-precision pairs.
    pub mixed_precision: usize,
    /// Policies for each architecture in the second half of the mixed-precision pairs.
    pub policies_per_architecture: usize,
    /// The short quantization-aware fine-tune before a mixed-precision candidate is scored; its
    /// `recalibration_images` also serve full-precision candidates.
    pub finetune: FinetuneSettings,
}

impl Default for Samples {
    fn default() -> Self {
        let finetune = FinetuneSettings { steps: Some(30), ..FinetuneSettings::default() };
        Self { full_precision: 1000, mixed_precision: 400, policies_per_architecture: 10, finetune }
    }
}

/// `[predictor]`: an ensemble of networks with three hidden layers, a Gaussian process, or both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Predictor {
    /// `networks`, `process`, `ridge`, `both`, or `best`: what orders best in cross-validation.
    pub method: String,
    /// Networks in the ensemble.
    pub members: usize,
    /// Width of the three hidden layers.
    pub hidden: usize,
    /// Passes over the pairs.
    pub epochs: usize,
    /// At least so many optimiser steps, whatever the number of pairs.
    pub steps: usize,
    /// Pairs per step.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Weight of the ranking term in the loss; 0 is plain regression.
    pub ranking: f64,
    /// Share of the pairs held out.
    pub holdout: f64,
    /// Random splits over which the quality and its interval are measured.
    pub repeats: usize,
}

/// The method that stands for a choice among all of them.
pub const BEST_METHOD: &str = "best";

impl Default for Predictor {
    fn default() -> Self {
        let FitSettings { members, mlp } = FitSettings::default();
        Self {
            method: BEST_METHOD.to_owned(),
            members,
            hidden: mlp.hidden,
            epochs: mlp.epochs,
            steps: mlp.steps,
            batch: mlp.batch,
            learning_rate: mlp.learning_rate,
            weight_decay: mlp.weight_decay,
            ranking: mlp.ranking,
            holdout: 0.2,
            repeats: 5,
        }
    }
}

impl Predictor {
    /// How one network is trained.
    pub fn mlp(&self) -> MlpSettings {
        MlpSettings {
            hidden: self.hidden,
            epochs: self.epochs,
            steps: self.steps,
            batch: self.batch,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            ranking: self.ranking,
            ..MlpSettings::default()
        }
    }

    /// The method; none for a choice by cross-validation.
    pub fn method(&self) -> Option<Method> {
        Method::named(&self.method)
    }

    /// How a predictor is fitted from scratch.
    pub fn fit(&self) -> FitSettings {
        FitSettings { members: self.members, mlp: self.mlp() }
    }

    /// How it is transferred.
    pub fn transfer(&self) -> TransferSettings {
        TransferSettings { mlp: self.mlp(), ..TransferSettings::default() }
    }
}

/// `[hardware]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hardware {
    /// A preset's name or the path of a TOML file.
    pub accelerator: String,
    /// Images at a time.
    pub batch: usize,
}

impl Default for Hardware {
    fn default() -> Self {
        Self { accelerator: "bitfusion-apq".to_owned(), batch: 1 }
    }
}

/// `[search.budget]`: hard limits, absolute or as a share of the largest network's 8-bit cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<f64>,
    /// Millijoules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_mj: Option<f64>,
    /// MACs × weight bits × activation bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitops: Option<f64>,
    /// Stored weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<f64>,
    /// Largest sum of live activations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_activation_bytes: Option<f64>,
    /// Multiply-accumulates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<f64>,
    /// Latency as a share of the largest network's at 8 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_share: Option<f64>,
    /// Energy as a share of the largest network's at 8 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_share: Option<f64>,
    /// BitOps as a share of the largest network's at 8 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitops_share: Option<f64>,
    /// Size as a share of the largest network's at 8 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_share: Option<f64>,
    /// Peak activation memory as a share of the largest network's at 8 bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_activation_share: Option<f64>,
    /// MACs as a share of the largest network's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs_share: Option<f64>,
}

/// `[search]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// `evolution` or `random`.
    pub strategy: String,
    /// Candidates per generation.
    pub population: usize,
    /// Best candidates kept as parents.
    pub parents: usize,
    /// Chance that a block is redrawn during mutation.
    pub mutation_probability: f64,
    /// Share of the children made by mutation; the rest by crossover.
    pub mutation_share: f64,
    /// Generations.
    pub generations: usize,
    /// Times to search, measure and refit the predictor on what was measured.
    pub rounds: usize,
    /// Candidates measured in every round: the best by prediction; in the last round half of them along the Pareto
    /// front.
    pub measure: usize,
    /// Widths of the uniform references searched under the same budget.
    pub references: Vec<u8>,
    /// Candidates of each reference measured in every round.
    pub measure_references: usize,
    /// Hard limits.
    pub budget: Budget,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            strategy: "evolution".to_owned(),
            population: 100,
            parents: 25,
            mutation_probability: 0.1,
            mutation_share: 0.5,
            generations: 500,
            rounds: 9,
            measure: 8,
            references: vec![8, 4],
            measure_references: 2,
            budget: Budget::default(),
        }
    }
}

/// `[export]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// Formats to write.
    pub formats: Vec<String>,
    /// Put a class 0 in front that never wins, for label files that count a background (ImageNet's 1,001 classes).
    pub background_class: bool,
}

impl Default for Export {
    fn default() -> Self {
        Self { formats: vec!["onnx".to_owned()], background_class: false }
    }
}

/// `[verify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// Fail when no runtime is installed, instead of saying that verification was skipped.
    pub required: bool,
}
