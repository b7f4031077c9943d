//! # Workbench: an executor and batch buffers on one data set
//!
//! Everything that runs networks shares one, so that no buffer is allocated inside a training step.

use rand::seq::SliceRandom;
use sartor_engine::{Executor, Network, NormStatistics};
use sartor_space::{Input, SearchSpace};

use crate::data::{Batch, Dataset, Images, batch};
use crate::error::{Result, SupernetError};
use crate::evaluation::Accuracy;
use crate::random::{Purpose, stream};
use crate::work::Work;

/// Images in one inference batch up to 32×32 pixels.
const INFERENCE_BATCH: usize = 125;
/// Fewest images whose statistics stand for a batch.
const FEWEST: usize = 16;

/// Images in one inference batch: as many pixels whatever an image's size, so that large images stay in memory.
pub(crate) fn inference_batch(size: usize) -> usize {
    (INFERENCE_BATCH * 32 * 32 / (size * size).max(1)).clamp(FEWEST, INFERENCE_BATCH)
}

/// The parts of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What weights are trained on.
    Train,
    /// What sampling, search and the predictor see.
    Validation,
    /// Touched once, at the end.
    Test,
}

impl Part {
    /// `train`, `validation` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }

    /// The images of this part.
    pub fn of(self, dataset: &Dataset) -> &Images {
        match self {
            Self::Train => &dataset.train,
            Self::Validation => &dataset.validation,
            Self::Test => &dataset.test,
        }
    }
}

/// An executor and batch buffers on one data set.
pub(crate) struct Workbench<'a> {
    pub dataset: &'a Dataset,
    pub executor: Executor,
    pub batch: Batch,
    inference: Batch,
    order: Vec<u32>,
    /// What was done on it so far.
    pub work: Work,
}

impl<'a> Workbench<'a> {
    /// A workbench whose calibration images are drawn from the training images by `seed`.
    pub fn new(space: &SearchSpace, dataset: &'a Dataset, seed: u64) -> Result<Self> {
        Self::on(space.input(), dataset, seed)
    }

    /// As [`new`](Self::new), for networks with this input.
    pub fn on(input: Input, dataset: &'a Dataset, seed: u64) -> Result<Self> {
        dataset.check_input(input.size, input.channels, input.classes)?;
        if dataset.train.is_empty() {
            return Err(SupernetError::EmptySplit { split: Part::Train.name() });
        }
        let mut order: Vec<u32> = (0..dataset.train.len() as u32).collect();
        order.shuffle(&mut stream(seed, Purpose::Images, [0; 3]));
        let (batch, inference) = (Batch::default(), Batch::default());
        Ok(Self { dataset, executor: Executor::new(), batch, inference, order, work: Work::default() })
    }

    /// Runs `visit` on batches of the first `count` calibration images (all of them if there are fewer).
    pub fn each_calibration_batch(
        &mut self,
        count: usize,
        mut visit: impl FnMut(&mut Executor, &[f32], usize) -> Result<()>,
    ) -> Result<()> {
        let count = count.clamp(1, self.order.len());
        for indices in even_chunks(&self.order[..count], inference_batch(self.dataset.train.size)) {
            load(&mut self.inference, self.dataset, Part::Train, indices);
            self.work.inferred_images += indices.len() as u64;
            visit(&mut self.executor, &self.inference.images, indices.len())?;
        }
        Ok(())
    }

    /// Batch-norm statistics of a network on `count` training images: the mean of the batches' statistics.
    pub fn recalibrate(
        &mut self,
        network: &Network,
        parameters: &[f32],
        count: usize,
    ) -> Result<Vec<NormStatistics>> {
        let mut mean = Mean::default();
        self.each_calibration_batch(count, |executor, pixels, images| {
            let statistics = executor.recalibrate(network, parameters, std::iter::once((pixels, images)))?;
            mean.add(statistics, images);
            Ok(())
        })?;
        Ok(mean.finish())
    }

    /// Top-1 accuracy on a whole split.
    pub fn accuracy(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        part: Part,
    ) -> Result<Accuracy> {
        let images = part.of(self.dataset).len();
        self.accuracy_on_some(network, parameters, statistics, (part, images))
    }

    /// Top-1 accuracy on `count` images of a split, at even distances (on all of them if there are fewer).
    pub fn accuracy_on_some(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        (part, count): (Part, usize),
    ) -> Result<Accuracy> {
        let images = part.of(self.dataset).len();
        let count = count.clamp(images.min(1), images);
        let indices: Vec<u32> = (0..count).map(|index| (index * images / count.max(1)) as u32).collect();
        let mut correct = 0;
        self.each_answer_to(network, parameters, statistics, (part, &indices), |logits, labels| {
            correct += sartor_engine::losses::correct(logits, labels);
        })?;
        Ok(Accuracy { correct, images: count })
    }

    /// Runs a network on a whole split and shows `visit` the logits and labels of every batch.
    pub fn each_answer(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        part: Part,
        visit: impl FnMut(&[f32], &[usize]),
    ) -> Result<()> {
        let indices: Vec<u32> = (0..part.of(self.dataset).len() as u32).collect();
        self.each_answer_to(network, parameters, statistics, (part, &indices), visit)
    }

    fn each_answer_to(
        &mut self,
        network: &Network,
        parameters: &[f32],
        statistics: &[NormStatistics],
        part: (Part, &[u32]),
        mut visit: impl FnMut(&[f32], &[usize]),
    ) -> Result<()> {
        self.each_batch(part, |executor, pixels, labels| {
            visit(executor.infer(network, parameters, statistics, pixels, labels.len())?, labels);
            Ok(())
        })
    }

    /// Shows `visit` images of a split as they are, batch by batch, with their labels.
    pub fn each_batch(
        &mut self,
        (part, indices): (Part, &[u32]),
        mut visit: impl FnMut(&mut Executor, &[f32], &[usize]) -> Result<()>,
    ) -> Result<()> {
        if indices.is_empty() {
            return Err(SupernetError::EmptySplit { split: part.name() });
        }
        for chunk in indices.chunks(inference_batch(self.dataset.train.size)) {
            load(&mut self.inference, self.dataset, part, chunk);
            self.work.inferred_images += chunk.len() as u64;
            visit(&mut self.executor, &self.inference.images, &self.inference.labels)?;
        }
        Ok(())
    }
}

/// Fills a batch with images as they are.
fn load(into: &mut Batch, dataset: &Dataset, part: Part, indices: &[u32]) {
    batch(part.of(dataset), indices, &dataset.normalization, None, &mut into.images, &mut into.labels);
}

/// Chunks of nearly equal length, none above `most`: a small last batch would give poor statistics.
fn even_chunks(indices: &[u32], most: usize) -> std::slice::Chunks<'_, u32> {
    let chunks = indices.len().div_ceil(most).max(1);
    indices.chunks(indices.len().div_ceil(chunks).max(1))
}

/// Weighted mean of batch-norm statistics, in `f64`.
#[derive(Default)]
pub(crate) struct Mean {
    sums: Vec<(Vec<f64>, Vec<f64>)>,
    weight: f64,
}

impl Mean {
    pub fn add(&mut self, statistics: Vec<NormStatistics>, images: usize) {
        let empty = |layer: &NormStatistics| (vec![0.0; layer.mean.len()], vec![0.0; layer.mean.len()]);
        if self.sums.is_empty() {
            self.sums = statistics.iter().map(empty).collect();
        }
        let weight = images as f64;
        self.weight += weight;
        for (sum, layer) in self.sums.iter_mut().zip(&statistics) {
            add_scaled(&mut sum.0, &layer.mean, weight);
            add_scaled(&mut sum.1, &layer.variance, weight);
        }
    }

    pub fn finish(self) -> Vec<NormStatistics> {
        let scale = |sums: &[f64]| sums.iter().map(|sum| (sum / self.weight) as f32).collect();
        self.sums
            .iter()
            .map(|(mean, variance)| NormStatistics { mean: scale(mean), variance: scale(variance) })
            .collect()
    }
}

fn add_scaled(sums: &mut [f64], values: &[f32], weight: f64) {
    sums.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * f64::from(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_even() {
        let indices: Vec<u32> = (0..260).collect();
        let lengths: Vec<usize> = even_chunks(&indices, 125).map(<[u32]>::len).collect();
        assert_eq!(lengths, [87, 87, 86]);
        assert_eq!(even_chunks(&indices[..3], 125).count(), 1);
    }

    #[test]
    fn mean_weighs_by_images() {
        let layer = |mean, variance| vec![NormStatistics { mean: vec![mean], variance: vec![variance] }];
        let mut mean = Mean::default();
        mean.add(layer(1.0, 2.0), 1);
        mean.add(layer(4.0, 6.0), 3);
        assert_eq!(mean.finish(), layer(3.25, 5.0));
    }
}
