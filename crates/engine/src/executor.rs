//! Runs a [`Network`]: training forward and backward, inference, recalibration, observation.

use crate::error::EngineError;
use crate::network::{Activation, Network, NormStatistics, Tap};
use crate::oracle::{Oracle, Tape};

/// Runs networks; keeps its buffers between calls.
#[derive(Debug, Default)]
pub struct Executor {
    tape: Option<Tape>,
    logits: Vec<f32>,
    statistics: Vec<NormStatistics>,
}

impl Executor {
    /// An executor on the current rayon pool.
    pub fn new() -> Self {
        Self::default()
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
        self.tape = None;
        check(network, parameters, images, batch)?;
        let tape = Oracle::new(network, parameters).forward(images, batch, None);
        self.statistics = tape.layers.iter().map(|entry| statistics(&entry.mean, &entry.variance)).collect();
        self.finish(network, tape)
    }

    /// Adds d loss / d parameters into `gradients`. Must follow `forward_train` of the same network.
    ///
    /// # Errors
    /// No such forward pass, lengths that do not fit, gradients that are not finite.
    pub fn backward(
        &mut self,
        network: &Network,
        parameters: &[f32],
        logits_gradient: &[f32],
        gradients: &mut [f32],
    ) -> Result<(), EngineError> {
        let tape = self.tape.take().ok_or(EngineError::NoForward)?;
        length("gradients", parameters.len(), gradients.len())?;
        length("logits gradient", tape.logits.len(), logits_gradient.len())?;
        let wide: Vec<f64> = logits_gradient.iter().map(|&v| f64::from(v)).collect();
        let added = Oracle::new(network, parameters).backward(&tape, &wide);
        gradients.iter_mut().zip(added).for_each(|(g, a)| *g += a as f32);
        Ok(())
    }

    /// Batch statistics of the last `forward_train`, per layer.
    pub fn batch_statistics(&self) -> &[NormStatistics] {
        &self.statistics
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
        self.tape = None;
        check(network, parameters, images, batch)?;
        check_statistics(network, statistics)?;
        let tape = Oracle::new(network, parameters).forward(images, batch, Some(statistics));
        self.finish(network, tape)
    }

    /// Batch-norm statistics over several batches: batch statistics averaged, weighted by images.
    ///
    /// # Errors
    /// As [`Executor::forward_train`]; no batch at all.
    pub fn recalibrate<'a>(
        &mut self,
        network: &Network,
        parameters: &[f32],
        batches: impl Iterator<Item = (&'a [f32], usize)>,
    ) -> Result<Vec<NormStatistics>, EngineError> {
        let mut average = Average::default();
        for (images, batch) in batches {
            self.forward_train(network, parameters, images, batch)?;
            average.add(&self.statistics, batch);
        }
        average.finish().ok_or(EngineError::Length { what: "recalibration batches", expected: 1, got: 0 })
    }

    /// Like `infer`, and calls `observe(tap, values)` for every tensor a quantizer could sit on, dense NHWC.
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
        self.tape = None;
        check(network, parameters, images, batch)?;
        check_statistics(network, statistics)?;
        let tape = Oracle::new(network, parameters).forward(images, batch, Some(statistics));
        let mut tell = |tap: Tap, values: &[f64]| {
            let narrow: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            observe(tap, &narrow);
        };
        for (index, (layer, entry)) in network.layers.iter().zip(&tape.layers).enumerate() {
            tell(Tap::Input(index), &entry.loaded);
            if layer.activation == Activation::Linear {
                tell(Tap::Output(index), &entry.normalised);
                tell(Tap::Sum(index), &entry.sum);
            }
        }
        tell(Tap::HeadInput, &tape.layers[network.head.input].output);
        tell(Tap::Pooled, &tape.pooled);
        self.finish(network, tape)
    }

    fn finish(&mut self, network: &Network, tape: Tape) -> Result<&[f32], EngineError> {
        for (layer, entry) in network.layers.iter().zip(&tape.layers) {
            if !entry.convolved.iter().all(|v| v.is_finite()) {
                return Err(EngineError::NotFinite { layer: layer.name.clone() });
            }
        }
        self.logits = tape.logits.iter().map(|&v| v as f32).collect();
        self.tape = Some(tape);
        Ok(&self.logits)
    }
}

/// Average of batch statistics, weighted by images.
#[derive(Debug, Default)]
struct Average {
    sums: Vec<[Vec<f64>; 2]>,
    images: usize,
}

impl Average {
    fn add(&mut self, statistics: &[NormStatistics], batch: usize) {
        self.sums.resize_with(statistics.len(), Default::default);
        for (sums, entry) in self.sums.iter_mut().zip(statistics) {
            for (sum, values) in sums.iter_mut().zip([&entry.mean, &entry.variance]) {
                sum.resize(values.len(), 0.0);
                sum.iter_mut().zip(values).for_each(|(s, &v)| *s += f64::from(v) * batch as f64);
            }
        }
        self.images += batch;
    }

    fn finish(self) -> Option<Vec<NormStatistics>> {
        let images = self.images as f64;
        let narrow = |sum: &[f64]| sum.iter().map(|s| (s / images) as f32).collect();
        let entry = |[mean, variance]: &[Vec<f64>; 2]| NormStatistics {
            mean: narrow(mean),
            variance: narrow(variance),
        };
        (self.images > 0).then(|| self.sums.iter().map(entry).collect())
    }
}

fn statistics(mean: &[f64], variance: &[f64]) -> NormStatistics {
    let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
    NormStatistics { mean: narrow(mean), variance: narrow(variance) }
}

fn check(network: &Network, parameters: &[f32], images: &[f32], batch: usize) -> Result<(), EngineError> {
    network.check(parameters.len())?;
    length("images", network.image_length() * batch.max(1), images.len())
}

fn check_statistics(network: &Network, statistics: &[NormStatistics]) -> Result<(), EngineError> {
    length("statistics", network.layers.len(), statistics.len())?;
    for (layer, entry) in network.layers.iter().zip(statistics) {
        for (what, got) in [("mean entries", entry.mean.len()), ("variance entries", entry.variance.len())] {
            if got != layer.out_channels {
                return Err(EngineError::Shape {
                    layer: layer.name.clone(),
                    what,
                    expected: layer.out_channels,
                    got,
                });
            }
        }
    }
    Ok(())
}

fn length(what: &'static str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got { Ok(()) } else { Err(EngineError::Length { what, expected, got }) }
}
