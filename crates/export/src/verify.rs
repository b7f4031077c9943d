//! # Verification: is the file the network that was measured?
//!
//! Runs an exported file in ONNX Runtime over labelled images and compares every output with the reference executor:
//! top-1 agreement, both accuracies, the largest difference in output steps, the latency, and what the runtime really
//! executes for every layer, read from the graph it optimised.
//!
//! The library never reads a clock; the caller hands one in.

use std::path::Path;
use std::time::Duration;

use crate::error::{ExportError, Result};
use crate::executor::{Executor, arg_max};
use crate::graph::QuantizedNetwork;
use crate::onnx::message::DataType;
use crate::onnx::{self, message};
use crate::requantize::Style;
use crate::runtime::{Library, Model};

mod execution;

pub use execution::{Arithmetic, LayerExecution};

/// Runs before the clock counts.
const WARM_UP_RUNS: usize = 5;

/// Share of images with the executor's top-1 that a file must reach where the runtime computes in float or rounds
/// differently.
///
/// Why 95 %: such arithmetic moves an activation by one step where a sum lies next to a tie, which changes the class only
/// of images whose two best logits are a few steps apart. Seen on 1,000 images in ONNX Runtime with narrow weights in float:
/// 100 % on the quickstart's three networks, 98.6 to 100 % on those of the hardly trained tiny run. Seen between
/// *different* networks of one run: 93.0 to 94.1 % on the quickstart's, 61 to 65 % on the tiny run's. The limit lies between; where
/// integers are computed every image must agree, and no slack is given.
pub const FLOAT_AGREEMENT: f64 = 0.95;

/// Settings of [`verify_onnx`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Threads the runtime may use in a layer.
    pub threads: usize,
    /// Images per run, where the file leaves it open.
    pub batch: usize,
    /// Timed runs of one image.
    pub latency_runs: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { threads: 1, batch: 64, latency_runs: 50 }
    }
}

/// Time of one run in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct LatencySpread {
    /// Half of the runs were faster.
    pub median: f64,
    /// A tenth of the runs were faster.
    pub low: f64,
    /// A tenth of the runs were slower.
    pub high: f64,
}

/// What the real runtime says about an exported file.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verification {
    /// Part of the images with the executor's top-1.
    pub agreement: f64,
    /// Top-1 accuracy of the file in the runtime.
    pub accuracy: f64,
    /// Top-1 accuracy of the reference executor.
    pub reference_accuracy: f64,
    /// Largest difference of a logit, in steps of its class's int32 sum.
    pub max_difference: f64,
    /// Number of images.
    pub images: usize,
    /// Name and version of the runtime.
    pub runtime: String,
    /// Batch 1.
    pub latency_ms: LatencySpread,
    /// Whether it is the executor's network: every top-1 where the runtime computes in integers, nearly every one
    /// ([`FLOAT_AGREEMENT`]) where it does not.
    pub same: bool,
    /// What the runtime runs for each layer.
    pub layers: Vec<LayerExecution>,
}

/// Images with their labels.
#[derive(Debug, Clone, Copy)]
pub struct LabelledImages<'a> {
    /// NHWC pixels, one image after the other.
    pub pixels: &'a [u8],
    /// One class per image.
    pub labels: &'a [u32],
}

/// Compares a file with its network on labelled images; `clock` gives the time since any fixed moment.
pub fn verify_onnx(
    library: &Library,
    path: &Path,
    network: &QuantizedNetwork,
    images: LabelledImages<'_>,
    options: VerifyOptions,
    clock: &dyn Fn() -> Duration,
) -> Result<Verification> {
    check(network, images)?;
    let folder = scratch()?;
    let optimized = folder.path().join("optimized.onnx");
    let file = onnx::parse(path)?;
    let (fixed_batch, narrow) = (fixed_batch(&file), narrowest_type(&file));
    let model = Model::load(library, path, options.threads, narrow == Some(DataType::Int2), &optimized)?;
    let mut runner = Runner { model, network, fixed_batch };
    let logits = runner.run_all(images.pixels, options.batch)?;
    let latency_ms = runner.latency(images.pixels, options.latency_runs, clock)?;
    let layers = execution::layers(network, &onnx::parse(&optimized)?);
    let reference = Executor::new(network, Style::FloatTiesToEven).run(images.pixels)?;
    let compared = compare(network, &logits, &reference.logits, images.labels);
    Ok(Verification {
        agreement: compared.agreement,
        accuracy: compared.accuracy,
        reference_accuracy: compared.reference_accuracy,
        max_difference: compared.max_difference,
        images: images.labels.len(),
        runtime: format!("ONNX Runtime {}", library.version().unwrap_or_default()).trim_end().to_string(),
        latency_ms,
        same: compared.agreement >= if narrow.is_some() { FLOAT_AGREEMENT } else { 1.0 },
        layers,
    })
}

/// int2 or int4, if any constant has it.
fn narrowest_type(model: &message::Model) -> Option<DataType> {
    let constants = model.graph.as_ref().map_or(&[][..], |graph| &graph.initializer);
    let has = |element: &DataType| constants.iter().any(|data| data.data_type == Some(*element as i32));
    [DataType::Int2, DataType::Int4].into_iter().find(has)
}

/// A folder that is gone afterwards.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    let failure = |source| ExportError::File { action: "write", path: std::env::temp_dir(), source };
    tempfile::tempdir().map_err(failure)
}

/// Writes a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failure = |source| ExportError::File { action: "write", path: path.to_path_buf(), source };
    std::fs::write(path, bytes).map_err(failure)
}

pub(crate) fn check(network: &QuantizedNetwork, images: LabelledImages<'_>) -> Result<()> {
    let (got, expected) = (images.pixels.len(), images.labels.len() * network.image().len());
    if got != expected {
        return Err(ExportError::Data { what: "bytes of pixels", got, expected });
    }
    if images.labels.is_empty() {
        return Err(ExportError::Data { what: "images", got: 0, expected: 1 });
    }
    Ok(())
}

/// The number of images the file is made for, if it is fixed.
fn fixed_batch(model: &message::Model) -> Option<usize> {
    let shape = model.graph.as_ref()?.input.first()?.kind.as_ref()?.tensor.as_ref()?.shape.as_ref()?;
    match shape.dim.first()?.value {
        Some(message::Extent::Fixed(images)) => usize::try_from(images).ok(),
        _ => None,
    }
}

/// A loaded model with the network it should be.
struct Runner<'a> {
    model: Model,
    network: &'a QuantizedNetwork,
    fixed_batch: Option<usize>,
}

impl Runner<'_> {
    fn run_all(&mut self, pixels: &[u8], batch: usize) -> Result<Vec<f32>> {
        let length = self.network.image().len();
        let batch = self.fixed_batch.unwrap_or(batch).max(1);
        let mut logits = Vec::with_capacity(pixels.len() / length * self.network.classes());
        for chunk in pixels.chunks(batch * length) {
            logits.extend(self.run(chunk)?);
        }
        Ok(logits)
    }

    /// Logits of a few images; where the file fixes the batch, zeros fill it up.
    fn run(&mut self, pixels: &[u8]) -> Result<Vec<f32>> {
        let image = self.network.image();
        let images = pixels.len() / image.len();
        let batch = self.fixed_batch.unwrap_or(images);
        let mut planes = channels_first(pixels, image.channels, image.size * image.size);
        planes.resize(batch * image.len(), 0);
        let mut logits = self.model.run(planes, [batch, image.channels, image.size, image.size])?;
        let (got, expected) = (logits.len(), batch * self.network.classes());
        if got != expected {
            return Err(ExportError::Data { what: "logits", got, expected });
        }
        logits.truncate(images * self.network.classes());
        Ok(logits)
    }

    /// Times of the first image alone.
    fn latency(&mut self, pixels: &[u8], runs: usize, clock: &dyn Fn() -> Duration) -> Result<LatencySpread> {
        let image = &pixels[..self.network.image().len()];
        for _ in 0..WARM_UP_RUNS {
            self.run(image)?;
        }
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs.max(1) {
            let start = clock();
            self.run(image)?;
            times.push(clock().saturating_sub(start).as_secs_f64() * 1e3);
        }
        Ok(spread(times))
    }
}

/// Quantiles of times, zeros if there are none.
pub(crate) fn spread(mut times: Vec<f64>) -> LatencySpread {
    if times.is_empty() {
        return LatencySpread { median: 0.0, low: 0.0, high: 0.0 };
    }
    times.sort_unstable_by(f64::total_cmp);
    let quantile = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    LatencySpread { median: quantile(0.5), low: quantile(0.1), high: quantile(0.9) }
}

/// NHWC to NCHW.
fn channels_first(pixels: &[u8], channels: usize, plane: usize) -> Vec<u8> {
    let planes =
        |image| (0..channels).flat_map(move |channel| (0..plane).map(move |pixel| (image, channel, pixel)));
    let at = |(image, channel, pixel)| pixels[(image * plane + pixel) * channels + channel];
    (0..pixels.len() / (channels * plane)).flat_map(planes).map(at).collect()
}

/// The part of the result that follows from both sides' logits.
fn compare(network: &QuantizedNetwork, logits: &[f32], reference: &[f32], labels: &[u32]) -> Comparison {
    let classes = network.classes();
    let top1 = |logits: &[f32]| -> Vec<usize> { logits.chunks_exact(classes).map(arg_max).collect() };
    let (got, expected) = (top1(logits), top1(reference));
    let images = labels.len();
    let part = |count: usize| count as f64 / images as f64;
    let right = |classes: &[usize]| {
        classes.iter().zip(labels).filter(|&(&class, &label)| class == label as usize).count()
    };
    let equal = got.iter().zip(&expected).filter(|(a, b)| a == b).count();
    let steps: Vec<f32> = network.logit_steps().collect();
    let differences = logits.iter().zip(reference).enumerate();
    let in_steps =
        differences.map(|(index, (a, b))| f64::from(a - b).abs() / f64::from(steps[index % classes]));
    Comparison {
        agreement: part(equal),
        accuracy: part(right(&got)),
        reference_accuracy: part(right(&expected)),
        max_difference: in_steps.fold(0.0, f64::max),
    }
}

#[derive(Debug, PartialEq)]
struct Comparison {
    agreement: f64,
    accuracy: f64,
    reference_accuracy: f64,
    max_difference: f64,
}

#[cfg(test)]
mod tests;
