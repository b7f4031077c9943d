//! The backward pass of a graph: the steps in reverse, the chunks of the batch in parallel.

use rayon::prelude::*;

use super::super::convolution::Scratch;
use super::super::finish::{AddLoaded, FinishGradient, NormGradientRows};
use super::super::{Affine, Filters, Work, pool};
use super::{CHUNKS, GraphExecutor, Sums, normed};
use crate::error::EngineError;
use crate::kernels::{dispatch, pitch};
use crate::network::ActivationQuantizer;
use crate::ops::norm::{self, Arrays};
use crate::ops::{quantizer, weights};

impl GraphExecutor {
    /// From the gradient of the logits, which lies in that of the last value, to those of all parameters.
    pub(super) fn walk_back(
        &mut self,
        parameters: &[f32],
        batch: usize,
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        for index in (0..self.graph.steps.len()).rev() {
            let mut gradient = std::mem::take(&mut self.gradients[index + 1]);
            self.finish_back(index, parameters, batch, &mut gradient, gradients)?;
            self.work_back(index, parameters, batch, &gradient, gradients);
            self.gradients[index + 1] = gradient;
        }
        Ok(())
    }

    /// From the gradient of a step's value to that of its sums, in place; adds what ranges, norm and bias get.
    fn finish_back(
        &mut self,
        index: usize,
        parameters: &[f32],
        batch: usize,
        gradient: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        let step = &self.graph.steps[index];
        let shape = self.shapes[index + 1];
        let (pitch, chunk) = (pitch(shape.channels), batch.div_ceil(CHUNKS) * self.unit(index + 1));
        let (bounds, quantizer) =
            (step.rectifier.bounds(), quantizer::prepare(step.output_quantizer, parameters));
        let (level, numbers) = (self.level, &self.numbers[index]);
        let chunks = gradient.par_chunks_mut(chunk).zip(self.raw[index].par_chunks(chunk)).with_max_len(1);
        let sums = chunks.map(|(gradient, raw)| {
            let mut sums = Sums::of(pitch);
            let Sums { first, second, .. } = &mut sums;
            let norm = Arrays::of(numbers, pitch);
            sums.range =
                dispatch(level, FinishGradient { raw, norm, bounds, quantizer, gradient, first, second });
            sums
        });
        let sums = Sums::merged(sums.collect(), pitch);
        if !sums.first.iter().chain(&sums.second).all(|sum| sum.is_finite()) {
            return Err(self.not_finite(index));
        }
        add_range(step.output_quantizer, sums.range, gradients);
        match &step.work {
            Work::Convolution(Filters { affine: Affine::Bias { offset }, channels, .. }) => {
                let to = &mut gradients[*offset..*offset + channels];
                to.iter_mut().zip(&sums.first).for_each(|(to, &sum)| *to += sum as f32);
            }
            Work::Convolution(_) => self.norm_back(index, parameters, batch, (gradient, &sums), gradients),
            _ => {}
        }
        Ok(())
    }

    fn norm_back(
        &mut self,
        index: usize,
        parameters: &[f32],
        batch: usize,
        (gradient, sums): (&mut [f32], &Sums),
        gradients: &mut [f32],
    ) {
        let Some(place) = normed(&self.graph.steps[index].work) else { return };
        let (pitch, chunk) = (pitch(place.channels), batch.div_ceil(CHUNKS) * self.unit(index + 1));
        let count = batch * self.shapes[index + 1].pixels();
        let (statistics, numbers) = (&self.statistics[index], &mut self.numbers[index]);
        let both = [&sums.first[..], &sums.second[..]];
        norm::backward(place, parameters, statistics, both, count, numbers, gradients);
        let (level, numbers) = (self.level, &self.numbers[index]);
        let chunks = gradient.par_chunks_mut(chunk).zip(self.raw[index].par_chunks(chunk)).with_max_len(1);
        chunks.for_each(|(gradient, raw)| {
            dispatch(level, NormGradientRows { raw, norm: Arrays::of(numbers, pitch), gradient });
        });
    }

    /// From the gradient of a step's sums to those of what it reads and of its weights.
    fn work_back(
        &mut self,
        index: usize,
        parameters: &[f32],
        batch: usize,
        gradient: &[f32],
        gradients: &mut [f32],
    ) {
        let step = &self.graph.steps[index];
        let mut into = std::mem::take(&mut self.gradients[step.input]);
        let (unit, input_unit, chunk) = (self.unit(index + 1), self.unit(step.input), batch.div_ceil(CHUNKS));
        match &step.work {
            Work::Convolution(filters) => {
                self.convolution_back(index, filters, (parameters, batch), gradient, (&mut into, gradients));
            }
            Work::Add { other } if *other == step.input => {
                into.iter_mut().zip(gradient).for_each(|(to, g)| *to += g + g);
            }
            Work::Add { other } => {
                into.iter_mut().zip(gradient).for_each(|(to, g)| *to += g);
                let to = self.gradients[*other].iter_mut();
                to.zip(gradient).for_each(|(to, g)| *to += g);
            }
            Work::MaxPool(window) | Work::AveragePool(window) if !into.is_empty() => {
                let columns = self.columns(index, *window);
                let (input, raw) = (&self.values[step.input], &self.raw[index]);
                let largest = matches!(step.work, Work::MaxPool(_));
                let parts = into.par_chunks_mut(chunk * input_unit).zip(gradient.par_chunks(chunk * unit));
                let parts = parts.zip(input.par_chunks(chunk * input_unit)).zip(raw.par_chunks(chunk * unit));
                parts.with_max_len(1).for_each(|(((into, gradient), input), raw)| {
                    let images = into.chunks_exact_mut(input_unit).zip(gradient.chunks_exact(unit));
                    let seen = input.chunks_exact(input_unit).zip(raw.chunks_exact(unit));
                    images.zip(seen).for_each(|((into, gradient), seen)| match largest {
                        true => pool::largest_backward(&columns, seen, gradient, into),
                        false => pool::mean_backward(&columns, gradient, into),
                    });
                });
            }
            _ => {}
        }
        self.gradients[step.input] = into;
    }

    fn convolution_back(
        &self,
        index: usize,
        filters: &Filters,
        (parameters, batch): (&[f32], usize),
        gradient: &[f32],
        (into, gradients): (&mut [f32], &mut [f32]),
    ) {
        let step = &self.graph.steps[index];
        let operation = self.operation(index, filters, parameters);
        let (unit, input_unit, chunk) = (self.unit(index + 1), self.unit(step.input), batch.div_ceil(CHUNKS));
        let length = operation.depth() * pitch(filters.channels);
        let input = &self.values[step.input];
        let quantized = step.input_quantizer.is_some();
        // The image needs no gradient, but the range of its quantizer does.
        let mut nowhere = vec![0.0; if into.is_empty() && quantized { input.len() } else { 0 }];
        let into = if into.is_empty() { &mut nowhere[..] } else { into };
        let wanted = !into.is_empty();
        let mut targets: Vec<Option<&mut [f32]>> = match wanted {
            true => into.chunks_mut(chunk * input_unit).map(Some).collect(),
            false => (0..batch.div_ceil(chunk)).map(|_| None).collect(),
        };
        let parts = targets.par_iter_mut().zip(input.par_chunks(chunk * input_unit));
        let parts = parts.zip(gradient.par_chunks(chunk * unit)).with_max_len(1);
        let partial: Vec<(Vec<f32>, f64)> = parts
            .map_init(Scratch::default, |scratch, ((into, value), gradient)| {
                let mut weight = vec![0.0; length];
                operation.backward(value, gradient, &mut weight, wanted, scratch);
                let (loaded, quantizer) = (&scratch.gradient[..], operation.quantizer);
                let range = into.as_mut().map_or(0.0, |gradient| {
                    dispatch(self.level, AddLoaded { loaded, value, quantizer, gradient })
                });
                (weight, range)
            })
            .collect();
        add_range(step.input_quantizer, partial.iter().map(|(_, range)| range).sum(), gradients);
        add_weights(filters, parameters, &partial, gradients);
    }
}

fn add_range(quantizer: Option<ActivationQuantizer>, range: f64, gradients: &mut [f32]) {
    if let Some(quantizer) = quantizer {
        gradients[quantizer.range_offset] += range as f32;
    }
}

/// Adds up the chunks' weight gradients in order, and adds what passes the quantizer to the parameters'.
fn add_weights(filters: &Filters, parameters: &[f32], partial: &[(Vec<f32>, f64)], gradients: &mut [f32]) {
    let (channels, pitch) = (filters.channels, pitch(filters.channels));
    let mut total = vec![0.0; partial.first().map_or(0, |(weight, _)| weight.len())];
    for (weight, _) in partial {
        total.iter_mut().zip(weight).for_each(|(to, g)| *to += g);
    }
    let quantizer = filters.weight_quantizer.as_ref();
    for (row, gradient) in total.chunks_exact(pitch).enumerate() {
        let at = filters.weight_offset + row * channels;
        let (raw, to) = (&parameters[at..at + channels], &mut gradients[at..at + channels]);
        weights::add_masked(quantizer, raw, gradient, to);
    }
}
