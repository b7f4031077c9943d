//! Runs a [`Network`]: training forward and backward, inference, recalibration, observation.
//!
//! Training walks the layers; within a layer the chunks of the batch run in parallel. Inference runs groups of images
//! in parallel, each through the whole network, so that activations stay in cache. Chunks do not depend on the number
//! of threads and their sums are added in order, so that results do not either.
//!
//! Inference and observation convolve quantized layers in steps: weights and inputs are whole numbers, whose sums are
//! exact in float32 up to 2^24, and the norm adds its bias in steps before it scales (`ops::norm`). In real
//! arithmetic that is the function that was trained; but it rounds where an integer network does, instead of wherever
//! float32 sums of fractions end up.

mod backward;
mod forward;
mod numbers;
mod observe;
mod workers;

use crate::arena::Arena;
use crate::error::EngineError;
use crate::kernels::elementwise::RangeGradients;
use crate::network::{Network, NormStatistics, Tap};
use crate::ops::expansion::{Correction, Expansion};
use crate::ops::head::HeadState;
use crate::ops::moments::Moments;
use crate::ops::weights::Kernels;
use crate::plan::{Plan, Purpose};
use crate::pool::in_pool;
use crate::simd::{self, Level};
use numbers::load;
use workers::Workers;

/// A moment in a training step, told to the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Weights are packed.
    Packed,
    /// This layer's forward pass is done.
    Forward(usize),
    /// Pool and classifier are done, forward.
    HeadForward,
    /// Pool and classifier are done, backward.
    HeadBackward,
    /// This layer's backward pass is done.
    Backward(usize),
}

/// Runs networks; keeps its buffers between calls.
#[derive(Debug)]
pub struct Executor {
    level: Level,
    probe: Option<fn(Moment)>,
    plan: Plan,
    activations: Arena,
    weights: Arena,
    norms: Arena,
    partial: Arena,
    reduced: Arena,
    workers: Workers,
    kernels: Kernels,
    head: HeadState,
    statistics: Vec<NormStatistics>,
    /// Per layer; of expansions.
    moments: Vec<Moments>,
    correction: Correction,
    /// Per chunk: two numbers per channel, or moments.
    chunk_sums: Vec<f64>,
    chunk_ranges: Vec<RangeGradients>,
    /// Σ g and Σ g (y - mean) of the layer whose kept gradient was written last.
    first: Vec<f64>,
    second: Vec<f64>,
    /// Fingerprint of the network of the last `forward_train`.
    trained: Option<u64>,
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

impl Executor {
    /// An executor on the current rayon pool, with the best instructions (see [`simd::level`]).
    pub fn new() -> Self {
        Self::with_level(simd::level())
    }

    /// An executor that uses the instructions of `level`; if the machine lacks them, portable code.
    pub fn with_level(level: Level) -> Self {
        Self {
            level: if level.available() { level } else { Level::Scalar },
            probe: None,
            plan: Plan::default(),
            activations: Arena::default(),
            weights: Arena::default(),
            norms: Arena::default(),
            partial: Arena::default(),
            reduced: Arena::default(),
            workers: Workers::default(),
            kernels: Kernels::default(),
            head: HeadState::default(),
            statistics: vec![],
            moments: vec![],
            correction: Correction::default(),
            chunk_sums: vec![],
            chunk_ranges: vec![],
            first: vec![],
            second: vec![],
            trained: None,
        }
    }

    /// Calls `probe` at every [`Moment`] of training steps from now on (for benchmarks; the engine reads no clock).
    pub fn set_probe(&mut self, probe: Option<fn(Moment)>) {
        self.probe = probe;
    }

    fn tick(&self, moment: Moment) {
        if let Some(probe) = self.probe {
            probe(moment);
        }
    }

    /// Training forward with batch statistics; keeps what backward needs. Returns logits `[batch × classes]`.
    ///
    /// `images` is `[batch × size × size × channels]`.
    ///
    /// # Errors
    /// A network that fails [`Network::check`], images of another length, values that are not finite.
    pub fn forward_train(
        &mut self,
        network: &Network,
        parameters: &[f32],
        images: &[f32],
        batch: usize,
    ) -> Result<&[f32], EngineError> {
        self.trained = None;
        check(network, parameters, images, batch)?;
        in_pool(|| self.forward(network, parameters, images, batch, Purpose::Train, None, None))?;
        self.trained = Some(fingerprint(network));
        Ok(&self.head.logits)
    }

    /// Adds d loss / d parameters into `gradients`. Must follow `forward_train` of the same network.
    ///
    /// # Errors
    /// No such forward pass, lengths that do not fit, gradients that are not finite (then partly added).
    pub fn backward(
        &mut self,
        network: &Network,
        parameters: &[f32],
        logits_gradient: &[f32],
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        if self.trained.take() != Some(fingerprint(network)) {
            return Err(EngineError::NoForward);
        }
        network.check(parameters.len())?;
        length("gradients", parameters.len(), gradients.len())?;
        length("logits gradient", self.head.logits.len(), logits_gradient.len())?;
        in_pool(|| self.walk_back(network, parameters, logits_gradient, gradients))
    }

    /// Batch statistics of the last `forward_train`, per layer.
    pub fn batch_statistics(&self) -> &[NormStatistics] {
        &self.statistics[..self.plan.layers.len().min(self.statistics.len())]
    }

    /// Inference with the given statistics (one entry per layer). Returns logits `[batch × classes]`.
    ///
    /// # Errors
    /// As [`Executor::forward_train`], and statistics that do not fit the layers.
    pub fn infer(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        images: &[f32],
        batch: usize,
    ) -> Result<&[f32], EngineError> {
        self.trained = None;
        check(network, parameters, images, batch)?;
        check_statistics(network, statistics)?;
        in_pool(|| self.forward_groups(network, parameters, statistics, images, batch))?;
        Ok(&self.head.logits)
    }

    /// Batch-norm statistics over several batches: batch statistics averaged, weighted by images. Forward only; keeps
    /// no more activations than the next layers need.
    ///
    /// # Errors
    /// As [`Executor::forward_train`]; no batch at all.
    pub fn recalibrate<'a>(
        &mut self,
        network: &Network,
        parameters: &[f32],
        batches: impl Iterator<Item = (&'a [f32], usize)>,
    ) -> Result<Vec<NormStatistics>, EngineError> {
        self.trained = None;
        let mut average = Average::default();
        for (images, batch) in batches {
            check(network, parameters, images, batch)?;
            in_pool(|| self.forward(network, parameters, images, batch, Purpose::Recalibrate, None, None))?;
            average.add(self.batch_statistics(), batch);
        }
        average.finish().ok_or(EngineError::Length { what: "recalibration batches", expected: 1, got: 0 })
    }

    /// Like `infer`, and calls `observe(tap, values)` for every tensor a quantizer could sit on: dense NHWC, the whole
    /// batch at once, in the order of the layers.
    ///
    /// # Errors
    /// As [`Executor::infer`].
    pub fn observe(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        images: &[f32],
        batch: usize,
        observe: &mut dyn FnMut(Tap, &[f32]),
    ) -> Result<&[f32], EngineError> {
        self.trained = None;
        check(network, parameters, images, batch)?;
        check_statistics(network, statistics)?;
        self.forward(network, parameters, images, batch, Purpose::Observe, Some(statistics), Some(observe))?;
        Ok(&self.head.logits)
    }

    /// Bytes of the buffers held now.
    pub fn memory(&self) -> usize {
        let arenas = [&self.activations, &self.weights, &self.norms, &self.partial, &self.reduced];
        let floats: usize = arenas.iter().map(|arena| arena.len()).sum();
        (floats + self.workers.memory()) * size_of::<f32>()
    }
}

/// Layer `index`, if it is an expansion.
fn expansion<'a>(
    network: &'a Network,
    plan: &'a Plan,
    (weights, norms): (&'a [f32], &'a [f32]),
    parameters: &[f32],
    index: Option<usize>,
) -> Option<Expansion<'a>> {
    let index = index.filter(|&index| plan.layers[index].expands)?;
    let (layer, places) = (&network.layers[index], &plan.layers[index]);
    let load = load(network, plan, norms, parameters, index);
    let (weight, transposed) = (&weights[places.weight.clone()], &weights[places.transposed.clone()]);
    Some(Expansion { layer, plan: places, load, weight, transposed })
}

/// Tells networks apart by their shapes and offsets.
fn fingerprint(network: &Network) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut mix = |value: usize| hash = (hash ^ value as u64).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
    for layer in &network.layers {
        let (convolution, weight) = (&layer.convolution, &layer.weight);
        [convolution.kernel(), convolution.stride(), layer.stored_kernel()].into_iter().for_each(&mut mix);
        [layer.in_channels, layer.out_channels, layer.input_size].into_iter().for_each(&mut mix);
        [weight.offset, weight.row_stride, layer.gamma_offset, layer.beta_offset]
            .into_iter()
            .for_each(&mut mix);
        mix(layer.residual.map_or(0, |r| r + 1));
    }
    [network.head.weight.offset, network.head.bias_offset, network.head.classes]
        .into_iter()
        .for_each(&mut mix);
    hash
}

/// Average of batch statistics, weighted by images.
#[derive(Debug, Default)]
pub(crate) struct Average {
    sums: Vec<[Vec<f64>; 2]>,
    images: usize,
}

impl Average {
    pub(crate) fn add(&mut self, statistics: &[NormStatistics], batch: usize) {
        self.sums.resize_with(statistics.len(), Default::default);
        for (sums, entry) in self.sums.iter_mut().zip(statistics) {
            for (sum, values) in sums.iter_mut().zip([&entry.mean, &entry.variance]) {
                sum.resize(values.len(), 0.0);
                sum.iter_mut().zip(values).for_each(|(s, &v)| *s += f64::from(v) * batch as f64);
            }
        }
        self.images += batch;
    }

    pub(crate) fn finish(self) -> Option<Vec<NormStatistics>> {
        let images = self.images as f64;
        let narrow = |sum: &[f64]| sum.iter().map(|s| (s / images) as f32).collect();
        let entry = |[mean, variance]: &[Vec<f64>; 2]| NormStatistics {
            mean: narrow(mean),
            variance: narrow(variance),
        };
        (self.images > 0).then(|| self.sums.iter().map(entry).collect())
    }
}

fn check(network: &Network, parameters: &[f32], images: &[f32], batch: usize) -> Result<(), EngineError> {
    network.check(parameters.len())?;
    length("images", network.image_length().saturating_mul(batch.max(1)), images.len())
}

fn check_statistics(network: &Network, statistics: &[NormStatistics]) -> Result<(), EngineError> {
    length("statistics", network.layers.len(), statistics.len())?;
    for (layer, entry) in network.layers.iter().zip(statistics) {
        for (what, got) in [("mean entries", entry.mean.len()), ("variance entries", entry.variance.len())] {
            if got != layer.out_channels {
                let (layer, expected) = (layer.name.clone(), layer.out_channels);
                return Err(EngineError::Shape { layer, what, expected, got });
            }
        }
    }
    Ok(())
}

pub(crate) fn length(what: &'static str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got { Ok(()) } else { Err(EngineError::Length { what, expected, got }) }
}
