//! Runs a [`Graph`] step after step; within a step the chunks of the batch run in parallel.
//!
//! Chunks do not depend on the number of threads and their sums are added in order, so that results do not either.

use rayon::prelude::*;

use super::convolution::{Operation, Packed};
use super::{Affine, Filters, Graph, Shape, Window, Work};
use crate::error::EngineError;
use crate::executor::{Average, length};
use crate::kernels::pitch;
use crate::network::NormStatistics;
use crate::ops::columns::Columns;
use crate::ops::norm::Place;
use crate::ops::quantizer;
use crate::pool::in_pool;
use crate::simd::{self, Level};

mod backward;
mod forward;

/// Batches are cut into at most this many chunks, whatever the number of threads, so that it changes no sum.
const CHUNKS: usize = 16;
/// Images that go through the graph together in inference.
const GROUP: usize = 32;

/// Runs one graph; keeps its buffers between calls.
#[derive(Debug)]
pub struct GraphExecutor {
    graph: Graph,
    shapes: Vec<Shape>,
    parameters: usize,
    level: Level,
    packed: Vec<Packed>,
    /// By value: rows of whole vectors.
    values: Vec<Vec<f32>>,
    /// By step: what its work gives.
    raw: Vec<Vec<f32>>,
    /// By step: what is done to it, see [`Arrays`].
    numbers: Vec<Vec<f32>>,
    /// By step; empty where there is no norm.
    statistics: Vec<NormStatistics>,
    /// By value, going backward.
    gradients: Vec<Vec<f32>>,
    logits: Vec<f32>,
    /// Images of the last `forward_train`.
    trained: Option<usize>,
}

/// Sums of one chunk.
#[derive(Debug, Clone, Default)]
struct Sums {
    first: Vec<f64>,
    second: Vec<f64>,
    range: f64,
}

impl GraphExecutor {
    /// An executor on the current rayon pool, for a buffer of `parameters` numbers.
    ///
    /// # Errors
    /// A graph that fails [`Graph::check`].
    pub fn new(graph: Graph, parameters: usize) -> Result<Self, EngineError> {
        Self::with_level(graph, parameters, simd::level())
    }

    /// An executor that uses the instructions of `level`; if the machine lacks them, portable code.
    ///
    /// # Errors
    /// As [`GraphExecutor::new`].
    pub fn with_level(graph: Graph, parameters: usize, level: Level) -> Result<Self, EngineError> {
        let shapes = graph.check(parameters)?;
        let steps = graph.steps.len();
        Ok(Self {
            shapes,
            parameters,
            level: if level.available() { level } else { Level::Scalar },
            packed: (0..steps).map(|_| Packed::default()).collect(),
            values: vec![vec![]; steps + 1],
            raw: vec![vec![]; steps],
            numbers: vec![vec![]; steps],
            statistics: vec![NormStatistics::default(); steps],
            gradients: vec![vec![]; steps + 1],
            logits: vec![],
            trained: None,
            graph,
        })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.shapes[self.graph.steps.len()].channels
    }

    /// Training forward with batch statistics; keeps what backward needs. Returns logits `[batch × classes]`.
    ///
    /// # Errors
    /// Parameters or images of another length, values that are not finite.
    pub fn forward_train(
        &mut self,
        parameters: &[f32],
        images: &[f32],
        batch: usize,
    ) -> Result<&[f32], EngineError> {
        self.trained = None;
        self.check(parameters, images, batch)?;
        self.pack(parameters);
        in_pool(|| self.forward(parameters, images, batch, None))?;
        self.trained = Some(batch);
        self.logits.clear();
        self.tell_logits(batch)?;
        Ok(&self.logits)
    }

    /// Inference with given statistics (one entry per step). Returns logits `[batch × classes]`.
    ///
    /// # Errors
    /// As [`GraphExecutor::forward_train`], and statistics that do not fit.
    pub fn infer(
        &mut self,
        parameters: &[f32],
        statistics: &[NormStatistics],
        images: &[f32],
        batch: usize,
    ) -> Result<&[f32], EngineError> {
        self.trained = None;
        self.check(parameters, images, batch)?;
        self.check_statistics(statistics)?;
        self.pack(parameters);
        self.logits.clear();
        let image = self.graph.image_length();
        for images in images.chunks(GROUP * image) {
            let batch = images.len() / image;
            in_pool(|| self.forward(parameters, images, batch, Some(statistics)))?;
            self.tell_logits(batch)?;
        }
        Ok(&self.logits)
    }

    /// Batch-norm statistics over several batches: batch statistics averaged, weighted by images.
    ///
    /// # Errors
    /// As [`GraphExecutor::forward_train`]; no batch at all.
    pub fn recalibrate<'a>(
        &mut self,
        parameters: &[f32],
        batches: impl Iterator<Item = (&'a [f32], usize)>,
    ) -> Result<Vec<NormStatistics>, EngineError> {
        let mut average = Average::default();
        for (images, batch) in batches {
            self.forward_train(parameters, images, batch)?;
            self.trained = None;
            average.add(&self.statistics, batch);
        }
        average.finish().ok_or(EngineError::Length { what: "recalibration batches", expected: 1, got: 0 })
    }

    /// Adds d loss / d parameters into `gradients`. Must follow `forward_train` with the same parameters.
    ///
    /// # Errors
    /// No such forward pass, lengths that do not fit, gradients that are not finite (then partly added).
    pub fn backward(
        &mut self,
        parameters: &[f32],
        logits_gradient: &[f32],
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        let batch = self.trained.take().ok_or(EngineError::NoForward)?;
        length("parameters", self.parameters, parameters.len())?;
        length("gradients", parameters.len(), gradients.len())?;
        length("logits gradient", self.logits.len(), logits_gradient.len())?;
        for (value, gradient) in self.gradients.iter_mut().enumerate().skip(1) {
            gradient.clear();
            gradient.resize(self.values[value].len(), 0.0);
        }
        let classes = self.classes();
        let last = &mut self.gradients[self.graph.steps.len()];
        for (to, from) in last.chunks_exact_mut(pitch(classes)).zip(logits_gradient.chunks_exact(classes)) {
            to[..classes].copy_from_slice(from);
        }
        in_pool(|| self.walk_back(parameters, batch, gradients))
    }

    /// Batch statistics of the last `forward_train`, by step; empty where there is no norm.
    pub fn batch_statistics(&self) -> &[NormStatistics] {
        &self.statistics
    }

    fn check(&self, parameters: &[f32], images: &[f32], batch: usize) -> Result<(), EngineError> {
        length("parameters", self.parameters, parameters.len())?;
        length("images", self.graph.image_length().saturating_mul(batch.max(1)), images.len())
    }

    fn check_statistics(&self, statistics: &[NormStatistics]) -> Result<(), EngineError> {
        length("statistics", self.graph.steps.len(), statistics.len())?;
        for (step, entry) in self.graph.steps.iter().zip(statistics) {
            let expected = normed(&step.work).map_or(0, |place| place.channels);
            for (what, got) in
                [("mean entries", entry.mean.len()), ("variance entries", entry.variance.len())]
            {
                if got != expected {
                    return Err(EngineError::Shape { layer: step.name.clone(), what, expected, got });
                }
            }
        }
        Ok(())
    }

    fn pack(&mut self, parameters: &[f32]) {
        for (index, step) in self.graph.steps.iter().enumerate() {
            if let Work::Convolution(filters) = &step.work {
                let depth = self.operation(index, filters, parameters).depth();
                let mut packed = std::mem::take(&mut self.packed[index]);
                packed.prepare(filters, depth, parameters);
                self.packed[index] = packed;
            }
        }
    }

    /// Floats of one image of a value.
    fn unit(&self, value: usize) -> usize {
        self.shapes[value].pixels() * pitch(self.shapes[value].channels)
    }

    fn columns(&self, index: usize, Window { kernel, stride, padding, .. }: Window) -> Columns {
        let (from, to) = (self.shapes[self.graph.steps[index].input], self.shapes[index + 1]);
        let (channels, pitch) = (from.channels, pitch(from.channels));
        Columns { size: from.size, width: to.size, kernel, stride, padding, channels, pitch }
    }

    fn operation(&self, index: usize, filters: &Filters, parameters: &[f32]) -> Operation<'_> {
        Operation {
            depthwise: filters.depthwise,
            window: self.columns(index, filters.window),
            to: self.shapes[index + 1],
            level: self.level,
            quantizer: quantizer::prepare(self.graph.steps[index].input_quantizer, parameters),
            packed: &self.packed[index],
        }
    }

    /// Sums over the chunks of a step's raw values, added in order.
    fn summed(&self, index: usize, batch: usize, visit: impl Fn(&[f32], &mut Sums) + Sync) -> Sums {
        let chunk = batch.div_ceil(CHUNKS) * self.unit(index + 1);
        let pitch = pitch(self.shapes[index + 1].channels);
        let chunks = self.raw[index].par_chunks(chunk).with_max_len(1).map(|raw| {
            let mut sums = Sums::of(pitch);
            visit(raw, &mut sums);
            sums
        });
        Sums::merged(chunks.collect(), pitch)
    }

    fn not_finite(&self, index: usize) -> EngineError {
        EngineError::NotFinite { layer: self.graph.steps[index].name.clone() }
    }

    fn tell_logits(&mut self, batch: usize) -> Result<(), EngineError> {
        let (last, classes) = (self.graph.steps.len(), self.classes());
        let rows = self.values[last].chunks_exact(pitch(classes)).take(batch);
        self.logits.extend(rows.flat_map(|row| row[..classes].iter().copied()));
        if self.logits.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        Err(self.not_finite(last - 1))
    }
}

impl Sums {
    fn of(pitch: usize) -> Self {
        Self { first: vec![0.0; pitch], second: vec![0.0; pitch], range: 0.0 }
    }

    fn merged(chunks: Vec<Self>, pitch: usize) -> Self {
        chunks.into_iter().fold(Self::of(pitch), |mut all, chunk| {
            all.first.iter_mut().zip(chunk.first).for_each(|(to, sum)| *to += sum);
            all.second.iter_mut().zip(chunk.second).for_each(|(to, sum)| *to += sum);
            all.range += chunk.range;
            all
        })
    }
}

/// Where the norm of a step's work lies, if there is one.
fn normed(work: &Work) -> Option<Place> {
    match *work {
        Work::Convolution(Filters {
            affine: Affine::Norm { gamma_offset, beta_offset }, channels, ..
        }) => Some(Place { gamma_offset, beta_offset, channels }),
        _ => None,
    }
}
