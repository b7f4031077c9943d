//! The config as typed: one struct per section, in the order of the stages. Unknown keys are refused; every key
//! has a default, so a config says only what is particular to it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    pub supernet: Supernet,
    /// Accuracy pairs.
    pub samples: Samples,
    /// Accuracy predictors.
    pub predictor: Predictor,
    /// The chip.
    pub hardware: Hardware,
    /// The search and its budget.
    pub search: Search,
    /// Quantization-aware training of the chosen candidates.
    pub finetune: Finetune,
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
}

/// `[space]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Space {
    /// A preset's name or the path of a TOML file.
    pub source: String,
}

impl Default for Space {
    fn default() -> Self {
        Self { source: "quickstart".to_owned() }
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
    /// Use only so many training images after the split; 0 = all.
    pub train_limit: usize,
    /// Use only the first so many test images; 0 = all.
    pub test_limit: usize,
    /// Seed of the split into training and validation.
    pub split_seed: u64,
    /// Largest shift in pixels, in each direction, during training.
    pub shift: usize,
    /// Mirror half of the training images.
    pub flip: bool,
}

impl Default for Data {
    fn default() -> Self {
        Self {
            format: Format::Idx,
            path: "data/fmnist-mini".into(),
            validation: 1000,
            train_limit: 0,
            test_limit: 0,
            split_seed: 0,
            shift: 2,
            flip: true,
        }
    }
}

/// What a training phase opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Open {
    /// Nothing: the largest network alone, the later teacher.
    Largest,
    /// Kernel sizes.
    Kernel,
    /// Depths.
    Depth,
    /// Widths.
    Width,
}

/// One phase of progressive shrinking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What it opens, on top of what is open already.
    pub open: Open,
    /// How many of the largest choices are open; all of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<usize>,
    /// Passes over the training images.
    pub epochs: usize,
    /// Learning rate at the start of the phase's cosine.
    pub learning_rate: f64,
    /// Subnets whose gradients are added up in one step. Default: 1, depth 2, width 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnets: Option<usize>,
}

/// `[supernet]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supernet {
    /// Images per step.
    pub batch: usize,
    /// Nesterov momentum.
    pub momentum: f64,
    /// Weight decay, not on normalisation and bias.
    pub weight_decay: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Weight of the teacher's soft labels beside the true ones.
    pub distillation: f64,
    /// Training images over which a subnet's batch-norm statistics are recomputed before it is scored.
    pub recalibration_images: usize,
    /// Phases in order; the first one must be `largest`.
    pub phases: Vec<Phase>,
}

impl Default for Supernet {
    fn default() -> Self {
        let phase =
            |open, epochs, learning_rate| Phase { open, choices: None, epochs, learning_rate, subnets: None };
        Self {
            batch: 64,
            momentum: 0.9,
            weight_decay: 3e-5,
            label_smoothing: 0.1,
            distillation: 1.0,
            recalibration_images: 2000,
            phases: vec![
                phase(Open::Largest, 10, 0.1),
                phase(Open::Kernel, 5, 0.05),
                phase(Open::Depth, 5, 0.05),
                phase(Open::Width, 5, 0.05),
            ],
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
    /// Steps of the short quantization-aware fine-tune before a mixed-precision candidate is scored.
    pub finetune_steps: usize,
    /// Learning rate at the start of its cosine.
    pub finetune_learning_rate: f64,
    /// Images per step of it.
    pub finetune_batch: usize,
    /// Training images over which activation ranges are calibrated.
    pub calibration_images: usize,
    /// Validation images a pair is scored on; 0 = all.
    pub validation_images: usize,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            full_precision: 1000,
            mixed_precision: 400,
            policies_per_architecture: 10,
            finetune_steps: 30,
            finetune_learning_rate: 0.01,
            finetune_batch: 64,
            calibration_images: 256,
            validation_images: 0,
        }
    }
}

/// `[predictor]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Predictor {
    /// Hidden layers.
    pub hidden: Vec<usize>,
    /// Passes over the pairs.
    pub epochs: usize,
    /// Pairs per step.
    pub batch: usize,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Share of the pairs held out.
    pub holdout: f64,
    /// Random splits over which the quality and its interval are measured.
    pub repeats: usize,
}

impl Default for Predictor {
    fn default() -> Self {
        Self {
            hidden: vec![400, 400, 400],
            epochs: 100,
            batch: 64,
            learning_rate: 1e-3,
            weight_decay: 1e-4,
            holdout: 0.2,
            repeats: 5,
        }
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
    /// Candidates near the front that are measured anew after the search.
    pub measure: usize,
    /// Widths of the uniform references searched under the same budget.
    pub references: Vec<u8>,
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
            measure: 8,
            references: vec![8, 4],
            budget: Budget::default(),
        }
    }
}

/// `[finetune]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Finetune {
    /// Passes over the training images.
    pub epochs: usize,
    /// Learning rate at the start of the cosine.
    pub learning_rate: f64,
    /// Images per step.
    pub batch: usize,
    /// Training images over which activation ranges are calibrated.
    pub calibration_images: usize,
}

impl Default for Finetune {
    fn default() -> Self {
        Self { epochs: 10, learning_rate: 0.01, batch: 64, calibration_images: 512 }
    }
}

/// `[export]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// Formats to write.
    pub formats: Vec<String>,
}

impl Default for Export {
    fn default() -> Self {
        Self { formats: vec!["onnx".to_owned()] }
    }
}

/// `[verify]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// Fail when no runtime is installed, instead of saying that verification was skipped.
    pub required: bool,
}
