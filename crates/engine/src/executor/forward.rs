//! Forward passes: the whole batch layer by layer, or groups of images through all layers.

use rayon::prelude::*;

use super::numbers::{LinearOutput, counts, linear_output, load};
use super::workers::Worker;
use super::{Executor, Moment, expansion};
use crate::error::EngineError;
use crate::kernels::dispatch;
use crate::kernels::elementwise::Finish;
use crate::network::{Activation, Network, NormStatistics, Tap};
use crate::ops::convolution::Forward;
use crate::ops::{head, moments, norm, weights};
use crate::plan::{Plan, Purpose};
use crate::sums::{ChannelSums, merge_chunks};

/// Images that go through the network together in inference.
const GROUP: usize = 2;

/// What `observe` calls.
pub(super) type Observer<'a> = &'a mut dyn FnMut(Tap, &[f32]);

impl Executor {
    /// Layer by layer, with batch statistics or given ones; `observer` is told about every tap.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn forward(
        &mut self,
        network: &Network,
        parameters: &[f32],
        images: &[f32],
        batch: usize,
        purpose: Purpose,
        given: Option<&[NormStatistics]>,
        mut observer: Option<Observer>,
    ) -> Result<(), EngineError> {
        self.plan.make(network, batch, purpose);
        self.reserve(network, parameters, 0);
        let plan = &self.plan;
        store_image(images, plan, network.image_channels, &mut self.activations[plan.image.clone()]);
        // Never shrinks, so that alternating networks do not allocate anew.
        self.statistics.resize_with(self.statistics.len().max(network.layers.len()), Default::default);
        self.moments.resize_with(self.statistics.len(), Default::default);
        self.tick(Moment::Packed);
        for index in 0..network.layers.len() {
            self.convolve(network, parameters, index, given.is_none())?;
            let numbers = &mut self.norms[self.plan.layers[index].norm.clone()];
            let statistics = given.map_or(&self.statistics[index], |given| &given[index]);
            let counts = counts(network, &self.plan, parameters, index);
            norm::prepare((&network.layers[index]).into(), parameters, statistics, counts, numbers);
            self.finish(network, parameters, index);
            self.tick(Moment::Forward(index));
            if let Some(observer) = &mut observer {
                self.tell(network, parameters, index, observer);
            }
        }
        self.pool(network, parameters);
        if let Some(observer) = &mut observer {
            self.tell_head(network, parameters, observer);
        }
        self.classify(network, parameters)?;
        self.tick(Moment::HeadForward);
        Ok(())
    }

    /// Makes room for the plan, and packs all weights.
    fn reserve(&mut self, network: &Network, parameters: &[f32], worker_activations: usize) {
        let plan = &self.plan;
        if worker_activations == 0 {
            self.activations.reserve(plan.activations);
        }
        self.weights.reserve(plan.weights);
        self.norms.reserve(plan.norms);
        self.norms[plan.image_norm.clone()].fill(0.0);
        self.workers.reserve(plan.scratch, worker_activations);
        let mut rest = &mut self.weights[..];
        let mut at = 0;
        for (layer, plan) in network.layers.iter().zip(&plan.layers) {
            let (_, tail) = rest.split_at_mut(plan.weight.start - at);
            let (packed, tail) = tail.split_at_mut(plan.weight.len());
            let (_, tail) = tail.split_at_mut(plan.transposed.start - plan.weight.end);
            let (transposed, tail) = tail.split_at_mut(plan.transposed.len());
            weights::prepare(layer, plan, parameters, &mut self.kernels, packed, transposed);
            (rest, at) = (tail, plan.transposed.end);
        }
    }

    /// Convolves the whole batch, chunk by chunk; with batch statistics if wanted.
    fn convolve(
        &mut self,
        network: &Network,
        parameters: &[f32],
        index: usize,
        statistics: bool,
    ) -> Result<(), EngineError> {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        if plan.expands {
            return if statistics { self.input_moments(network, parameters, index) } else { Ok(()) };
        }
        let load = load(network, &self.plan, &self.norms, parameters, index);
        let (weight, level) = (&self.weights[plan.weight.clone()], self.level);
        let numbers = (&self.weights[..], &self.norms[..]);
        let expansion = expansion(network, &self.plan, numbers, parameters, index.checked_sub(1));
        let input_unit = expansion.map_or(plan.input_unit(), |e| e.plan.input_unit());
        let op = Forward { layer, plan, level, load, weight, expansion };
        let (chunk, pitch, workers) = (self.plan.chunk, plan.pitch, &self.workers);
        let (output, rest) = self.activations.carve(plan.raw.clone());
        let input = rest.get(plan.input.clone());
        let output = &mut output[..self.plan.batch * plan.unit()];
        let input = &input[..self.plan.batch * input_unit];
        self.chunk_sums.clear();
        self.chunk_sums.resize(self.plan.chunks() * 2 * pitch, 0.0);
        output
            .par_chunks_mut(chunk * plan.unit())
            .zip(input.par_chunks(chunk * input_unit))
            .zip(self.chunk_sums.par_chunks_mut(2 * pitch))
            .with_max_len(1)
            .for_each(|((output, input), sums)| {
                workers.with(|worker| run_chunk(&op, input, output, statistics.then_some(sums), worker));
            });
        if statistics { self.merge_statistics(network, index) } else { Ok(()) }
    }

    /// Statistics of an expansion's output, from its input.
    fn input_moments(
        &mut self,
        network: &Network,
        parameters: &[f32],
        index: usize,
    ) -> Result<(), EngineError> {
        let numbers = (&self.weights[..], &self.norms[..]);
        let Some(expansion) = expansion(network, &self.plan, numbers, parameters, Some(index)) else {
            return Ok(());
        };
        let (plan, level, workers) = (expansion.plan, self.level, &self.workers);
        let count = self.plan.batch * plan.input_pixels;
        let input = &self.activations[plan.input.start..][..count * plan.input_pitch];
        let moments = &mut self.moments[index];
        workers.with(|worker| moments.prime(&expansion, level, input, &mut worker.scratch));
        let length = moments::sums_length(plan, expansion.layer.in_channels);
        self.chunk_sums.clear();
        self.chunk_sums.resize(self.plan.chunks() * length, 0.0);
        let primed = &*moments;
        self.chunk_sums
            .par_chunks_mut(length)
            .zip(input.par_chunks(self.plan.chunk * plan.input_unit()))
            .with_max_len(1)
            .for_each(|(sums, input)| {
                workers.with(|worker| primed.chunk(&expansion, level, input, sums, &mut worker.scratch));
            });
        moments.finish(&self.chunk_sums, length, count);
        if moments.statistics(&expansion, level, count, &mut self.statistics[index]) {
            return Ok(());
        }
        Err(EngineError::NotFinite { layer: expansion.layer.name.clone() })
    }

    fn merge_statistics(&mut self, network: &Network, index: usize) -> Result<(), EngineError> {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        let (pitch, chunk, batch) = (plan.pitch, self.plan.chunk, self.plan.batch);
        self.first.resize(pitch, 0.0);
        self.second.resize(pitch, 0.0);
        let count = |i: usize| chunk.min(batch - i * chunk) * plan.pixels;
        let chunks = self.chunk_sums.chunks_exact(2 * pitch).enumerate();
        let chunks = chunks.map(|(i, sums)| (count(i), &sums[..pitch], &sums[pitch..]));
        let total = merge_chunks(chunks, &mut self.first[..pitch], &mut self.second[..pitch]) as f64;
        let (means, squares) = (&self.first[..layer.out_channels], &self.second[..layer.out_channels]);
        if !means.iter().chain(squares).all(|v| v.is_finite()) {
            return Err(EngineError::NotFinite { layer: layer.name.clone() });
        }
        let NormStatistics { mean, variance } = &mut self.statistics[index];
        mean.clear();
        mean.extend(means.iter().map(|&m| m as f32));
        variance.clear();
        variance.extend(squares.iter().map(|&s| (s.max(0.0) / total) as f32));
        Ok(())
    }

    /// Writes the finished output of a linear layer.
    fn finish(&mut self, network: &Network, parameters: &[f32], index: usize) {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        if layer.activation != Activation::Linear {
            return;
        }
        let (batch, chunk, level, unit) = (self.plan.batch, self.plan.chunk, self.level, plan.unit());
        let LinearOutput { norm, output_quantizer, sum_quantizer, addition } =
            linear_output(network, &self.plan, &self.norms, parameters, index);
        let (output, rest) = self.activations.carve(plan.output.clone());
        let raw = rest.get(plan.raw.clone());
        let residual = layer.residual.map(|source| rest.get(self.plan.layers[source].output.clone()));
        let pitch = plan.pitch;
        let chunks = output[..batch * unit].par_chunks_mut(chunk * unit).enumerate();
        chunks.with_max_len(1).for_each(|(i, output)| {
            let range = i * chunk * unit..i * chunk * unit + output.len();
            let (raw, residual) = (&raw[range.clone()], residual.map(|r| &r[range]));
            dispatch(
                level,
                Finish { raw, norm, output_quantizer, residual, addition, sum_quantizer, pitch, output },
            );
        });
    }

    /// Pools the last layer's output.
    fn pool(&mut self, network: &Network, parameters: &[f32]) {
        self.head.prepare(&network.head, parameters, self.plan.batch);
        let last = &self.plan.layers[network.head.input];
        let load = load(network, &self.plan, &self.norms, parameters, network.layers.len());
        let stored = &self.activations[last.output.start..][..self.plan.batch * last.unit()];
        let (level, workers, chunk) = (self.level, &self.workers, self.plan.chunk);
        self.head
            .pooled
            .par_chunks_mut(chunk * last.pitch)
            .zip(stored.par_chunks(chunk * last.unit()))
            .for_each(|(pooled, stored)| {
                workers
                    .with(|worker| head::pool(level, load, stored, last.pitch, pooled, &mut worker.scratch));
            });
    }

    fn classify(&mut self, network: &Network, parameters: &[f32]) -> Result<(), EngineError> {
        self.head.classify(&network.head, parameters, self.level);
        if self.head.logits.iter().all(|v| v.is_finite()) {
            return Ok(());
        }
        Err(EngineError::NotFinite { layer: "head".to_string() })
    }

    /// Groups of images through the whole network, with given statistics.
    pub(super) fn forward_groups(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        images: &[f32],
        batch: usize,
    ) -> Result<(), EngineError> {
        self.plan.make(network, GROUP.min(batch), Purpose::Infer);
        self.reserve(network, parameters, self.plan.activations);
        for (index, (layer, statistics)) in network.layers.iter().zip(statistics).enumerate() {
            let counts = counts(network, &self.plan, parameters, index);
            let numbers = &mut self.norms[self.plan.layers[index].norm.clone()];
            norm::prepare(layer.into(), parameters, statistics, counts, numbers);
        }
        self.head.prepare(&network.head, parameters, batch);
        let group = Group { network, parameters, plan: &self.plan, level: self.level };
        let (weights, norms, workers) = (&self.weights[..], &self.norms[..], &self.workers);
        let pitch = self.plan.layers[network.head.input].pitch;
        self.head
            .pooled
            .par_chunks_mut(self.plan.batch * pitch)
            .zip(images.par_chunks(self.plan.batch * network.image_length()))
            .with_max_len(1)
            .for_each(|(pooled, images)| {
                workers.with(|worker| group.run(weights, norms, images, pooled, worker));
            });
        self.classify(network, parameters)
    }
}

/// Inference of a group of images.
#[derive(Clone, Copy)]
struct Group<'a> {
    network: &'a Network,
    parameters: &'a [f32],
    plan: &'a Plan,
    level: crate::simd::Level,
}

impl Group<'_> {
    fn run(&self, weights: &[f32], norms: &[f32], images: &[f32], pooled: &mut [f32], worker: &mut Worker) {
        let count = images.len() / self.network.image_length();
        let image = self.plan.image.clone();
        store_image(images, self.plan, self.network.image_channels, &mut worker.activations[image]);
        for index in 0..self.network.layers.len() {
            self.layer(weights, norms, index, count, worker);
        }
        let last = &self.plan.layers[self.network.head.input];
        let load = load(self.network, self.plan, norms, self.parameters, self.network.layers.len());
        let stored = &worker.activations[last.output.start..][..count * last.unit()];
        head::pool(self.level, load, stored, last.pitch, pooled, &mut worker.scratch);
    }

    fn layer(&self, weights: &[f32], norms: &[f32], index: usize, count: usize, worker: &mut Worker) {
        let (layer, plan) = (&self.network.layers[index], &self.plan.layers[index]);
        if plan.expands {
            return;
        }
        let load = load(self.network, self.plan, norms, self.parameters, index);
        let before = index.checked_sub(1);
        let expansion = expansion(self.network, self.plan, (weights, norms), self.parameters, before);
        let input_unit = expansion.map_or(plan.input_unit(), |e| e.plan.input_unit());
        let weight = &weights[plan.weight.clone()];
        let op = Forward { layer, plan, level: self.level, load, weight, expansion };
        let (output, rest) = worker.activations.carve(plan.raw.clone());
        let input = &rest.get(plan.input.clone())[..count * input_unit];
        op.run(input, &mut output[..count * plan.unit()], None, &mut worker.scratch);
        if layer.activation != Activation::Linear {
            return;
        }
        let (output, rest) = worker.activations.carve(plan.output.clone());
        let length = count * plan.unit();
        let residual = layer.residual.map(|s| &rest.get(self.plan.layers[s].output.clone())[..length]);
        let LinearOutput { norm, output_quantizer, sum_quantizer, addition } =
            linear_output(self.network, self.plan, norms, self.parameters, index);
        let finish = Finish {
            raw: &rest.get(plan.raw.clone())[..length],
            norm,
            output_quantizer,
            residual,
            addition,
            sum_quantizer,
            pitch: plan.pitch,
            output: &mut output[..length],
        };
        dispatch(self.level, finish);
    }
}

/// One chunk of a convolution, with its statistics.
fn run_chunk(op: &Forward, input: &[f32], output: &mut [f32], sums: Option<&mut [f64]>, worker: &mut Worker) {
    let pitch = op.plan.pitch;
    let (block, scratch) = worker.scratch.split_at_mut(3 * pitch);
    let Some(sums) = sums else { return op.run(input, output, None, scratch) };
    let (mean, square) = sums.split_at_mut(pitch);
    let (shift, rest) = block.split_at_mut(pitch);
    let (first, second) = rest.split_at_mut(pitch);
    let mut sums = ChannelSums { mean, square, shift, first, second, count: 0 };
    op.run(input, output, Some(&mut sums), scratch);
}

/// Copies images into rows of the plan's image pitch.
fn store_image(images: &[f32], plan: &Plan, channels: usize, to: &mut [f32]) {
    if plan.image_pitch == channels {
        return to[..images.len()].copy_from_slice(images);
    }
    for (to, from) in to.chunks_exact_mut(plan.image_pitch).zip(images.chunks_exact(channels)) {
        to[..channels].copy_from_slice(from);
        to[channels..].fill(0.0);
    }
}
