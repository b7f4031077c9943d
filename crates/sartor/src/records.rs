//! What stages note down for later stages, the report and `--json`: plain data, one type per JSON artefact.

use std::collections::BTreeMap;

use sartor_export::verify::LayerExecution;
use sartor_supernet::Work;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::statistics::Accuracy;

/// Costs by metric name (`latency_ms`, `energy_mj`, …).
pub type Costs = BTreeMap<String, f64>;

/// `supernet/metrics.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SupernetMetrics {
    /// Images per split.
    pub images: Splits,
    /// The largest network on validation, as it left its own phase (the teacher).
    pub teacher: Accuracy,
    /// Networks of known size on validation with inherited weights, by name.
    pub inherited: BTreeMap<String, Accuracy>,
    /// One entry per finished epoch.
    pub epochs: Vec<Epoch>,
}

/// Images per split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    /// Trained on.
    pub train: usize,
    /// Chosen by.
    pub validation: usize,
    /// Touched once.
    pub test: usize,
    /// Seed of the split.
    pub split_seed: u64,
}

/// One epoch of supernet training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// What was open.
    pub phase: String,
    /// Epoch within the phase, from 1.
    pub epoch: usize,
    /// Mean training loss.
    pub loss: f64,
}

/// A number with its 95 % interval over repeated splits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Mean.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Quality of a predictor on held-out pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Share of pairs of candidates ranked rightly.
    pub pairwise_accuracy: Interval,
    /// Kendall's τ.
    pub kendall_tau: Interval,
    /// Spearman's ρ.
    pub spearman: Interval,
    /// Mean absolute error, on the 0–1 scale.
    pub mean_absolute_error: Interval,
    /// How honest the predicted spread is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<SpreadQuality>,
}

/// How honest a predictor's spread is about its errors on held-out pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SpreadQuality {
    /// Share of held-out accuracies inside mean ± 1.96 spreads; 0.95 would be perfect.
    pub coverage: Interval,
    /// What half of the held-out pairs say the spread must be multiplied by, for 0.95.
    pub scale: Interval,
    /// The share on the other half, after scaling.
    pub scaled_coverage: Interval,
    /// Spearman's ρ between spread and absolute error.
    pub error_correlation: Interval,
}

/// `predictor-methods.json`, `transfer-variants.json`: ways to predict on equal pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contender {
    /// Which way.
    pub name: String,
    /// What it is.
    pub what: String,
    /// How well it orders.
    pub quality: Quality,
}

/// One point of `learning-curve.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CurveRow {
    /// Which way to predict.
    pub method: String,
    /// Whether it starts from full precision.
    pub transfer: bool,
    /// Mixed-precision pairs fitted on.
    pub pairs: usize,
    /// Pairwise accuracy on the rest.
    pub pairwise_accuracy: f64,
    /// Lower end of the 95 % interval over seeds.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Kendall's τ.
    pub kendall_tau: f64,
}

/// `predictor-fp.json`, `predictor-mp.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictorMetrics {
    /// `networks`, `process`, `ridge` or `both`.
    pub method: String,
    /// Pairs it was fitted and judged on.
    pub pairs: usize,
    /// Random splits behind the intervals.
    pub repeats: usize,
    /// Share of the pairs held out in each split.
    pub holdout: f64,
    /// As fitted.
    pub quality: Quality,
    /// The same pairs and splits without transfer (mixed precision only).
    pub scratch: Option<Quality>,
}

/// A candidate whose accuracy was measured after a short fine-tune.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Its name.
    pub id: String,
    /// What it stands for: `searched`, `uniform-8`, …
    pub role: String,
    /// Round of searching and measuring, from 1.
    pub round: usize,
    /// The candidate.
    pub candidate: Value,
    /// What the predictor said, before it learnt from this measurement.
    pub predicted: f64,
    /// What it reached on validation after the short fine-tune.
    pub measured: Accuracy,
    /// What it costs.
    pub costs: Costs,
    /// What measuring it took.
    #[serde(default)]
    pub work: Work,
}

/// What a search did, counted while it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Optimiser steps on images.
    pub training_steps: u64,
    /// Images in those steps.
    pub trained_images: u64,
    /// Images in forward passes alone.
    pub inferred_images: u64,
    /// Networks whose accuracy was measured.
    pub accuracy_evaluations: u64,
    /// Accuracies asked of a predictor.
    pub predictor_queries: u64,
    /// Layers looked up in the cost table.
    pub table_lookups: u64,
    /// Most channel widths that were tried in one block.
    pub widths_per_block: usize,
    /// Most settings of bits that were tried in one block.
    pub bits_per_block: usize,
}

/// The method of runs that were made before there was a choice.
fn first_method() -> String {
    "apq".to_owned()
}

/// `search/best.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The chosen candidate.
    pub best: Measured,
    /// The best uniform candidates under the same budget.
    pub references: Vec<Measured>,
    /// The budget in absolute numbers.
    pub budget: Costs,
    /// Costs of the largest network at 8 bits.
    pub largest: Costs,
    /// Candidates scored.
    pub evaluated: u64,
    /// Why the search stopped.
    pub stop_reason: String,
    /// Whether any of the costs was extrapolated rather than known.
    pub extrapolated: bool,
    /// Share of random candidates that meet the budget.
    pub feasible_share: f64,
    /// Which search system.
    #[serde(default = "first_method")]
    pub method: String,
    /// What it did to find what it proposes. Measuring the proposals afterwards, as every method's are, is not in it.
    #[serde(default)]
    pub counters: Counters,
}

/// One row of `search/history.csv`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Generation, from 0.
    pub generation: u64,
    /// Candidates scored so far.
    pub evaluated: u64,
    /// Best predicted accuracy so far.
    pub best: f64,
    /// Mean of the population.
    pub mean: f64,
}

/// `models/<id>/score.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The candidate's name.
    pub id: String,
    /// `searched`, `uniform-8`, …
    pub role: String,
    /// The candidate.
    pub candidate: Value,
    /// What it costs.
    pub costs: Costs,
    /// On validation, after fine-tuning.
    pub validation: Accuracy,
    /// On test, once.
    pub test: Accuracy,
    /// The same model in integers; absent for full precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer: Option<IntegerScore>,
}

/// What the integer executor makes of a model, beside the fake-quantized network it was trained as.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IntegerScore {
    /// On validation.
    pub validation: Accuracy,
    /// On test, once.
    pub test: Accuracy,
    /// Share of test images with the same top-1 as the fake-quantized network.
    pub agreement: f64,
}

impl IntegerScore {
    /// For people.
    pub fn line(&self) -> String {
        format!("{:.2} %, same top-1 on {:.2} %", 100.0 * self.test.value, 100.0 * self.agreement)
    }
}

/// `models/<id>/verify.json`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// The candidate's name.
    pub id: String,
    /// `searched`, `uniform-8`, …
    pub role: String,
    /// Accuracy of the integer reference executor on test.
    pub reference: Accuracy,
    /// What the cost table says about the chip, to stand beside measured times.
    #[serde(default)]
    pub predicted_latency_ms: Option<f64>,
    /// One entry per format.
    pub formats: BTreeMap<String, FormatVerification>,
}

/// What a real runtime made of one exported file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum FormatVerification {
    /// It was run.
    Run {
        /// Share of images with the same top-1 as the reference executor.
        agreement: f64,
        /// Accuracy in the runtime.
        accuracy: Accuracy,
        /// Accuracy of the executor in the runtime's rounding style; absent if it is the verification's own.
        #[serde(default)]
        reference_accuracy: Option<f64>,
        /// Largest difference of an output from the reference's.
        max_difference: f64,
        /// Name and version of the runtime.
        runtime: String,
        /// Whether it is the same network.
        same: bool,
        /// What the runtime executes for every layer.
        #[serde(default)]
        layers: Vec<LayerExecution>,
    },
    /// No runtime was found.
    Skipped {
        /// Why, and what installs it.
        reason: String,
    },
}

/// `compare/compare.json`: joint search beside baselines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The chip.
    pub hardware: String,
    /// Its budget.
    pub budget: Costs,
    /// Candidates that each baseline could score.
    pub evaluations: u64,
    /// Searches per baseline.
    pub seeds: u64,
    /// In points of predicted accuracy, over seeds.
    pub joint_minus_sequential: Option<Interval>,
    /// In points of measured accuracy, over seeds, if winners were measured.
    pub joint_minus_sequential_measured: Option<Interval>,
    /// The baselines, joint search first.
    pub baselines: Vec<Compared>,
}

/// One baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// What it does.
    pub what: String,
    /// Accuracy (0–1) by the run's predictor, over seeds.
    pub predicted: Option<Interval>,
    /// Accuracy (0–1) on validation after the short fine-tune, over seeds.
    pub measured: Option<Interval>,
    /// Why it found nothing.
    pub infeasible: Option<String>,
    /// What it found, one a seed.
    pub found: Vec<Found>,
}

/// What a baseline found with one seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The seed, from 0.
    pub seed: u64,
    /// The candidate's name.
    pub id: String,
    /// Accuracy (0–1) by the run's predictor.
    pub predicted: f64,
    /// Accuracy on validation after the short fine-tune.
    pub measured: Option<Accuracy>,
    /// What it costs.
    pub costs: Costs,
    /// The candidate.
    pub candidate: Value,
}
