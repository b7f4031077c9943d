//! The backward pass: the layers in reverse, the chunks of the batch in parallel.

use rayon::prelude::*;

use super::numbers::load;
use super::{Executor, Moment, expansion};
use crate::arena::Rest;
use crate::error::EngineError;
use crate::kernels::dispatch;
use crate::kernels::elementwise::{Epilogue, EpilogueRows, Load, Norm, Quantizer, RangeGradients};
use crate::network::{Activation, ActivationQuantizer, Network};
use crate::ops::convolution::{Backward, InputOutputs, Outputs};
use crate::ops::norm::Arrays;
use crate::ops::{head, norm, quantizer, weights};
use crate::plan::Plan;

/// Floats of a weight gradient that are added up over the chunks at a time.
const REDUCE_BLOCK: usize = 2048;

impl Executor {
    pub(super) fn walk_back(
        &mut self,
        network: &Network,
        parameters: &[f32],
        logits_gradient: &[f32],
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        self.head_back(network, parameters, logits_gradient, gradients);
        self.tick(Moment::HeadBackward);
        for index in (0..network.layers.len()).rev() {
            self.norm_back(network, parameters, index, gradients)?;
            self.convolve_back(network, parameters, index, gradients);
            self.tick(Moment::Backward(index));
        }
        Ok(())
    }

    /// From the logits to the kept gradient of the last layer.
    fn head_back(
        &mut self,
        network: &Network,
        parameters: &[f32],
        logits_gradient: &[f32],
        gradients: &mut [f32],
    ) {
        let last = network.head.input;
        let (chunk, level) = (self.plan.chunk, self.level);
        let plan = &self.plan.layers[last];
        let (pitch, unit) = (plan.pitch, plan.unit());
        self.head.backward(&network.head, parameters, logits_gradient, plan.pixels, level, gradients);
        self.chunk_sums.clear();
        self.chunk_sums.resize(self.plan.chunks() * 2 * pitch, 0.0);
        self.chunk_ranges.clear();
        self.chunk_ranges.resize(self.plan.chunks(), RangeGradients::default());
        let input_quantizer = head::input_quantizer(&network.head, parameters);
        let (kept, rest) = self.activations.carve(plan.gradient.clone());
        let epilogue =
            epilogue(network, &self.plan, &self.norms, parameters, &rest, Some(last), input_quantizer);
        kept[..self.plan.batch * unit]
            .par_chunks_mut(chunk * unit)
            .zip(self.head.gradient.par_chunks(chunk * pitch))
            .zip(self.chunk_sums.par_chunks_mut(2 * pitch))
            .zip(self.chunk_ranges.par_iter_mut())
            .enumerate()
            .for_each(|(i, (((kept, pooled), sums), ranges))| {
                for (image, pooled) in kept.chunks_exact_mut(unit).zip(pooled.chunks_exact(pitch)) {
                    image.chunks_exact_mut(pitch).for_each(|pixel| pixel.copy_from_slice(pooled));
                }
                let start = i * chunk * unit;
                let (first, second) = sums.split_at_mut(pitch);
                let epilogue = epilogue.part(start..start + kept.len());
                *ranges = dispatch(
                    level,
                    EpilogueRows { epilogue, constant: None, gradient: kept, pitch, first, second },
                );
            });
        self.merge_sums(pitch);
        self.add_ranges(network, network.head.input_quantizer, Some(last), gradients);
    }

    /// The gradients of gamma and beta, and what the convolution's backward pass needs of them.
    fn norm_back(
        &mut self,
        network: &Network,
        parameters: &[f32],
        index: usize,
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        let channels = 0..layer.out_channels;
        let sums = [&self.first[channels.clone()], &self.second[channels]];
        if !sums.iter().copied().flatten().all(|v| v.is_finite()) {
            return Err(EngineError::NotFinite { layer: layer.name.clone() });
        }
        let count = self.plan.batch * plan.pixels;
        let numbers = &mut self.norms[plan.norm.clone()];
        norm::backward(layer.into(), parameters, &self.statistics[index], sums, count, numbers, gradients);
        Ok(())
    }

    /// Weight gradient, and the kept gradient of the layer before.
    fn convolve_back(&mut self, network: &Network, parameters: &[f32], index: usize, gradients: &mut [f32]) {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        let numbers = (&self.weights[..], &self.norms[..]);
        if let Some(itself) = expansion(network, &self.plan, numbers, parameters, Some(index)) {
            let correction = &mut self.correction;
            let norm = Arrays::of(&self.norms[plan.norm.clone()], plan.pitch);
            correction.prepare(&itself, self.level, &self.moments[index].mean, &norm);
            return self.expand_back(network, parameters, index, gradients);
        }
        let before = index.checked_sub(1);
        let expansion = expansion(network, &self.plan, numbers, parameters, before);
        let (chunks, chunk, batch) = (self.plan.chunks(), self.plan.chunk, self.plan.batch);
        let (pitch, width) = (plan.input_pitch, self.plan.gradient_width(network, index));
        let unit = expansion.map_or(plan.input_unit(), |e| e.plan.input_unit());
        self.partial.reserve(chunks * width);
        let image = self.plan.image_gradient.clone();
        let producer = if expansion.is_some() { index.checked_sub(2) } else { before };
        let target = producer.map_or(image, |p| self.plan.layers[p].gradient.clone());
        let input_wanted = !target.is_empty();
        let (kept, rest) = self.activations.carve(target);
        let load = load(network, &self.plan, &self.norms, parameters, index);
        let pass = Pass {
            op: Backward {
                layer,
                plan,
                level: self.level,
                load,
                weight: &self.weights[plan.weight.clone()],
                transposed: &self.weights[plan.transposed.clone()],
                gradient: Arrays::of(&self.norms[plan.norm.clone()], plan.pitch)
                    .gradient(quantizer::prepare(layer.output_quantizer, parameters)),
                input: &rest.get(plan.input.clone())[..batch * unit],
                kept: &rest.get(plan.gradient.clone())[..batch * plan.unit()],
                raw: &rest.get(plan.raw.clone())[..batch * plan.unit()],
                expansion,
            },
            chunk,
            input_unit: unit,
            workers: &self.workers,
        };
        let partial = self.partial[..chunks * width].par_chunks_mut(width).enumerate().with_max_len(1);
        if !input_wanted {
            partial.for_each(|(i, weight)| {
                pass.run(i, weight, None);
            });
            return self.finish_weights(network, parameters, index, gradients);
        }
        self.chunk_sums.clear();
        self.chunk_sums.resize(chunks * 2 * pitch, 0.0);
        self.chunk_ranges.clear();
        self.chunk_ranges.resize(chunks, RangeGradients::default());
        let epilogue = match expansion {
            Some(_) => expansion_epilogue(load),
            None => epilogue(network, &self.plan, &self.norms, parameters, &rest, before, load.quantizer),
        };
        let epilogue =
            Epilogue { rivals: quantizer::prepare_rivals(layer.input_quantizer, parameters), ..epilogue };
        partial
            .zip(kept[..batch * unit].par_chunks_mut(chunk * unit))
            .zip(self.chunk_sums.par_chunks_mut(2 * pitch))
            .zip(self.chunk_ranges.par_iter_mut())
            .for_each(|((((i, weight), kept), sums), ranges)| {
                let start = i * chunk * unit;
                let part = || epilogue.part(start..start + kept.len());
                let epilogue = if expansion.is_some() { epilogue } else { part() };
                let (first, second) = sums.split_at_mut(pitch);
                *ranges = pass.run(i, weight, Some(InputOutputs { epilogue, kept, first, second }));
            });
        self.merge_sums(pitch);
        self.add_ranges(network, layer.input_quantizer, before, gradients);
        self.finish_weights(network, parameters, index, gradients);
    }

    /// What is left of an expansion's backward pass once the layer after it is done.
    fn expand_back(&mut self, network: &Network, parameters: &[f32], index: usize, gradients: &mut [f32]) {
        let numbers = (&self.weights[..], &self.norms[..]);
        let Some(expansion) = expansion(network, &self.plan, numbers, parameters, Some(index)) else {
            return;
        };
        let (layer, plan, level) = (expansion.layer, expansion.plan, self.level);
        let norm = Arrays::of(&self.norms[plan.norm.clone()], plan.pitch);
        let start = self.plan.layers[index + 1].weight_gradient(&network.layers[index + 1]);
        let packed = &mut self.reduced[start..][..plan.weight_gradient(layer)];
        self.moments[index].correct(&norm, self.plan.batch * plan.pixels, packed);
        weights::backward(layer, plan, parameters, packed, &mut self.kernels, gradients);
        let (unit, chunk, pitch) = (plan.input_unit(), self.plan.chunk, plan.input_pitch);
        self.chunk_sums.clear();
        self.chunk_sums.resize(self.plan.chunks() * 2 * pitch, 0.0);
        let producer = index - 1;
        let (kept, rest) = self.activations.carve(self.plan.layers[producer].gradient.clone());
        let input = &rest.get(plan.input.clone())[..self.plan.batch * unit];
        let load = expansion.load.quantizer;
        let epilogue = epilogue(network, &self.plan, &self.norms, parameters, &rest, Some(producer), load);
        let rivals = quantizer::prepare_rivals(layer.input_quantizer, parameters);
        let epilogue = Epilogue { rivals, ..epilogue };
        let (correction, workers) = (&self.correction, &self.workers);
        kept[..input.len()]
            .par_chunks_mut(chunk * unit)
            .zip(input.par_chunks(chunk * unit))
            .zip(self.chunk_sums.par_chunks_mut(2 * pitch))
            .zip(self.chunk_ranges.par_iter_mut())
            .enumerate()
            .for_each(|(i, (((kept, input), sums), ranges))| {
                let start = i * chunk * unit;
                let (first, second) = sums.split_at_mut(pitch);
                let epilogue = epilogue.part(start..start + kept.len());
                let into = InputOutputs { epilogue, kept, first, second };
                *ranges = workers
                    .with(|worker| correction.apply(&expansion, level, input, into, &mut worker.scratch));
            });
        self.merge_sums(pitch);
        self.add_ranges(network, network.layers[index].input_quantizer, Some(producer), gradients);
    }

    /// Adds up the chunks' weight gradients in order, and adds them to the parameters'.
    fn finish_weights(&mut self, network: &Network, parameters: &[f32], index: usize, gradients: &mut [f32]) {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        let width = self.plan.gradient_width(network, index);
        self.reduced.reserve(width);
        let partial = &self.partial[..self.plan.chunks() * width];
        let blocks = self.reduced[..width].par_chunks_mut(REDUCE_BLOCK).enumerate();
        blocks.for_each(|(block, to)| {
            let (start, length) = (block * REDUCE_BLOCK, to.len());
            to.copy_from_slice(&partial[start..start + length]);
            for chunk in partial.chunks_exact(width).skip(1) {
                to.iter_mut().zip(&chunk[start..start + length]).for_each(|(t, &v)| *t += v);
            }
        });
        let packed = &self.reduced[..plan.weight_gradient(layer)];
        weights::backward(layer, plan, parameters, packed, &mut self.kernels, gradients);
    }

    fn merge_sums(&mut self, pitch: usize) {
        for sum in [&mut self.first, &mut self.second] {
            sum.clear();
            sum.resize(pitch, 0.0);
        }
        for sums in self.chunk_sums.chunks_exact(2 * pitch) {
            self.first.iter_mut().zip(&sums[..pitch]).for_each(|(t, v)| *t += v);
            self.second.iter_mut().zip(&sums[pitch..]).for_each(|(t, v)| *t += v);
        }
    }

    /// Adds the gradients of ranges: of the consumer's input quantizer, and of the producer's two quantizers.
    fn add_ranges(
        &self,
        network: &Network,
        input: Option<ActivationQuantizer>,
        producer: Option<usize>,
        gradients: &mut [f32],
    ) {
        let mut total = RangeGradients::default();
        self.chunk_ranges.iter().for_each(|&ranges| total.add(ranges));
        let producer = producer.map(|producer| &network.layers[producer]);
        let offset = |q: Option<ActivationQuantizer>| q.map(|q| q.range_offset);
        let targets = [
            (offset(input), total.input),
            (producer.and_then(|p| offset(p.output_quantizer)), total.output),
            (producer.and_then(|p| offset(p.sum_quantizer)), total.sum),
        ];
        for (at, value) in targets {
            if let Some(at) = at {
                gradients[at] += value as f32;
            }
        }
        if let Some(rivals) = input.and_then(|input| input.rivals) {
            let shares = &mut gradients[rivals.gradient_offset..][..rivals.count];
            shares.iter_mut().zip(total.rivals).for_each(|(to, value)| *to += value as f32);
        }
    }
}

/// A convolution's backward pass, cut into chunks.
struct Pass<'a> {
    op: Backward<'a>,
    chunk: usize,
    /// Floats per image of what it reads.
    input_unit: usize,
    workers: &'a super::Workers,
}

impl Pass<'_> {
    fn run(&self, i: usize, weight: &mut [f32], input: Option<InputOutputs>) -> RangeGradients {
        let op = &self.op;
        let cut = |all: &'_ [f32], unit: usize| {
            let start = i * self.chunk * unit;
            start..(start + self.chunk * unit).min(all.len())
        };
        let outputs = cut(op.kept, op.plan.unit());
        let inputs = cut(op.input, self.input_unit);
        let op = Backward {
            input: &op.input[inputs],
            kept: &op.kept[outputs.clone()],
            raw: &op.raw[outputs],
            ..*op
        };
        weight.fill(0.0);
        self.workers.with(|worker| op.run(Outputs { weight, input }, &mut worker.scratch))
    }
}

/// Everything between the gradient of what is loaded from `producer` and the gradient that it keeps; no producer: the image.
fn epilogue<'a>(
    network: &Network,
    plan: &Plan,
    norms: &'a [f32],
    parameters: &[f32],
    rest: &Rest<'a>,
    producer: Option<usize>,
    input_quantizer: Option<Quantizer>,
) -> Epilogue<'a> {
    let Some(producer) = producer else { return image_epilogue(plan, norms, rest, input_quantizer) };
    let (layer, places) = (&network.layers[producer], &plan.layers[producer]);
    let linear = layer.activation == Activation::Linear;
    let length = plan.batch * places.unit();
    let get = |range: std::ops::Range<usize>| &rest.get(range)[..length];
    let user = network.layers.iter().position(|other| other.residual == Some(producer));
    Epilogue {
        raw: get(places.raw.clone()),
        norm: Arrays::of(&norms[places.norm.clone()], places.pitch).norm(),
        relu: !linear,
        input_quantizer,
        rivals: None,
        finished: linear.then(|| get(places.output.clone())),
        residual_gradient: user.map(|user| get(plan.layers[user].gradient.clone())),
        residual: layer.residual.map(|source| get(plan.layers[source].output.clone())),
        output_quantizer: quantizer::prepare(layer.output_quantizer, parameters),
        sum_quantizer: quantizer::prepare(layer.sum_quantizer, parameters),
    }
}

/// For an expansion, whose output is made on the spot.
fn expansion_epilogue(load: Load) -> Epilogue {
    let none: &[f32] = &[];
    Epilogue {
        raw: none,
        norm: load.norm.unwrap_or(Norm { mean: none, scale: none, shift: none, ceiling: 0.0, counts: false }),
        relu: true,
        input_quantizer: load.quantizer,
        rivals: None,
        finished: None,
        residual_gradient: None,
        residual: None,
        output_quantizer: None,
        sum_quantizer: None,
    }
}

/// For the first layer: nothing is kept but the gradient of the image quantizer's range.
fn image_epilogue<'a>(
    plan: &Plan,
    norms: &'a [f32],
    rest: &Rest<'a>,
    input_quantizer: Option<Quantizer>,
) -> Epilogue<'a> {
    let zeros = &norms[plan.image_norm.clone()][..plan.image_pitch];
    let image = rest.get(plan.image.clone());
    Epilogue {
        raw: image,
        norm: Norm { mean: zeros, scale: zeros, shift: zeros, ceiling: 0.0, counts: false },
        relu: false,
        input_quantizer,
        rivals: None,
        finished: Some(image),
        residual_gradient: None,
        residual: None,
        output_quantizer: None,
        sum_quantizer: None,
    }
}
