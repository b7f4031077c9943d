//! The forward pass of a graph: step after step, the chunks of the batch in parallel.

use rayon::prelude::*;

use super::super::convolution::Scratch;
use super::super::finish::{Finish, Moments};
use super::super::{Affine, Filters, Work, pool};
use super::{CHUNKS, GraphExecutor, Sums, normed};
use crate::error::EngineError;
use crate::kernels::{dispatch, pitch};
use crate::network::NormStatistics;
use crate::ops::norm::{self, Arrays};
use crate::ops::quantizer;

impl GraphExecutor {
    /// Every step's value, with batch statistics or given ones.
    pub(super) fn forward(
        &mut self,
        parameters: &[f32],
        images: &[f32],
        batch: usize,
        given: Option<&[NormStatistics]>,
    ) -> Result<(), EngineError> {
        let channels = self.graph.image_channels;
        let image = &mut self.values[0];
        image.clear();
        image.resize(batch * self.shapes[0].pixels() * pitch(channels), 0.0);
        for (to, from) in image.chunks_exact_mut(pitch(channels)).zip(images.chunks_exact(channels)) {
            to[..channels].copy_from_slice(from);
        }
        for index in 0..self.graph.steps.len() {
            self.work(index, parameters, batch);
            self.prepare_finish(index, parameters, batch, given.map(|given| &given[index]))?;
            self.finish(index, parameters, batch);
        }
        Ok(())
    }

    /// The sums of a step.
    fn work(&mut self, index: usize, parameters: &[f32], batch: usize) {
        let step = &self.graph.steps[index];
        let mut raw = std::mem::take(&mut self.raw[index]);
        let (unit, input_unit, chunk) = (self.unit(index + 1), self.unit(step.input), batch.div_ceil(CHUNKS));
        raw.resize(batch * unit, 0.0);
        let input = &self.values[step.input];
        let chunks =
            raw.par_chunks_mut(chunk * unit).zip(input.par_chunks(chunk * input_unit)).with_max_len(1);
        match &step.work {
            Work::Convolution(filters) => {
                let operation = self.operation(index, filters, parameters);
                chunks.for_each_init(Scratch::default, |scratch, (raw, input)| {
                    operation.forward(input, raw, scratch);
                });
            }
            Work::Add { other } => {
                let other = self.values[*other].par_chunks(chunk * unit);
                chunks.zip(other).for_each(|((raw, input), other)| {
                    raw.iter_mut().zip(input).zip(other).for_each(|((to, a), b)| *to = a + b);
                });
            }
            Work::MaxPool(window) => {
                let window = self.columns(index, *window);
                each_image(chunks, (unit, input_unit), |raw, input| pool::largest(&window, input, raw));
            }
            Work::AveragePool(window) => {
                let window = self.columns(index, *window);
                each_image(chunks, (unit, input_unit), |raw, input| pool::mean(&window, input, raw));
            }
        }
        self.raw[index] = raw;
    }

    /// Factors and shifts of a step, with batch statistics or given ones.
    fn prepare_finish(
        &mut self,
        index: usize,
        parameters: &[f32],
        batch: usize,
        given: Option<&NormStatistics>,
    ) -> Result<(), EngineError> {
        let work = &self.graph.steps[index].work;
        let pitch = pitch(self.shapes[index + 1].channels);
        let mut numbers = std::mem::take(&mut self.numbers[index]);
        numbers.clear();
        numbers.resize(norm::ARRAYS * pitch, 0.0);
        match normed(work) {
            Some(place) => {
                if given.is_none() {
                    self.statistics[index] = self.moments(index, batch)?;
                }
                let statistics = given.unwrap_or(&self.statistics[index]);
                norm::prepare(place, parameters, statistics, None, &mut numbers);
            }
            None => {
                numbers[pitch..2 * pitch].fill(1.0);
                if let Work::Convolution(Filters { affine: Affine::Bias { offset }, channels, .. }) = *work {
                    let bias = &parameters[offset..offset + channels];
                    numbers[2 * pitch..2 * pitch + channels].copy_from_slice(bias);
                }
            }
        }
        self.numbers[index] = numbers;
        Ok(())
    }

    /// Mean and variance per channel of a step's sums, in two passes.
    fn moments(&self, index: usize, batch: usize) -> Result<NormStatistics, EngineError> {
        let shape = self.shapes[index + 1];
        let count = (batch * shape.pixels()) as f64;
        let pass = |mean: &[f32]| {
            self.summed(index, batch, |raw, sums| {
                let Sums { first, second, .. } = sums;
                dispatch(self.level, Moments { raw, mean, first, second });
            })
        };
        let sums = pass(&vec![0.0; pitch(shape.channels)]);
        let means: Vec<f32> = sums.first.iter().map(|sum| (sum / count) as f32).collect();
        let centred = pass(&means);
        let channels = 0..shape.channels;
        let rest = |channel: usize| centred.first[channel] / count;
        let mean = channels.clone().map(|channel| (f64::from(means[channel]) + rest(channel)) as f32);
        let variance = channels
            .map(|channel| (centred.second[channel] / count - rest(channel) * rest(channel)).max(0.0) as f32);
        let statistics = NormStatistics { mean: mean.collect(), variance: variance.collect() };
        if statistics.mean.iter().chain(&statistics.variance).all(|value| value.is_finite()) {
            return Ok(statistics);
        }
        Err(self.not_finite(index))
    }

    /// The value of a step.
    fn finish(&mut self, index: usize, parameters: &[f32], batch: usize) {
        let step = &self.graph.steps[index];
        let mut value = std::mem::take(&mut self.values[index + 1]);
        value.resize(self.raw[index].len(), 0.0);
        let chunk = batch.div_ceil(CHUNKS) * self.unit(index + 1);
        let Arrays { scale, shift, .. } =
            Arrays::of(&self.numbers[index], pitch(self.shapes[index + 1].channels));
        let (bounds, quantizer) =
            (step.rectifier.bounds(), quantizer::prepare(step.output_quantizer, parameters));
        let chunks = value.par_chunks_mut(chunk).zip(self.raw[index].par_chunks(chunk)).with_max_len(1);
        chunks.for_each(|(output, raw)| {
            dispatch(self.level, Finish { raw, scale, shift, bounds, quantizer, output });
        });
        self.values[index + 1] = value;
    }
}

fn each_image<'a>(
    chunks: impl IndexedParallelIterator<Item = (&'a mut [f32], &'a [f32])>,
    (unit, input_unit): (usize, usize),
    run: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    chunks.for_each(|(raw, input)| {
        let images = raw.chunks_exact_mut(unit).zip(input.chunks_exact(input_unit));
        images.for_each(|(raw, input)| run(raw, input));
    });
}
