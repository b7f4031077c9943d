//! # Ensemble of predictor networks
//!
//! A few networks that differ in their random start and in the order of the pairs; their mean predicts, their
//! standard deviation says how much to trust it (deep ensembles, Lakshminarayanan et al. 2017). Members are
//! trained side by side, each on one thread, so the result does not depend on the number of threads.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::error::PredictorError;
use crate::metrics::mean;
use crate::mlp::train::{Examples, Frozen, MlpSettings, train};
use crate::mlp::{Activations, HeadPlacement, Mlp, Shape};

/// Candidates per matrix product when scoring: enough rows for the kernel, few enough to stay in cache.
const CHUNK: usize = 64;

/// Mean and spread of an ensemble.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Predicted accuracy.
    pub mean: f64,
    /// Standard deviation over the members (0 for a single one).
    pub spread: f64,
}

/// Networks of one shape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ensemble {
    pub members: Vec<Mlp>,
}

impl Ensemble {
    /// Fits `members` networks from random starts.
    pub fn fit(
        shape: Shape,
        members: usize,
        data: &Examples<'_>,
        unit: (f64, f64),
        settings: &MlpSettings,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        let active = data.features.iter().map(|features| features.len()).max().unwrap_or(1);
        let start = |rng: &mut ChaCha8Rng, _: usize| Mlp::random(shape, active, rng);
        Self::train_all(members, data, unit, settings, &Vec::new(), seed, start)
    }

    /// Fits networks that start from those of `from`, with a fresh policy head.
    #[allow(clippy::too_many_arguments)]
    pub fn fit_from(
        from: &Ensemble,
        policy: usize,
        transfer: (HeadPlacement, f32),
        data: &Examples<'_>,
        unit: (f64, f64),
        settings: &MlpSettings,
        frozen: &Frozen,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        let (placement, bound) = transfer;
        let start = |rng: &mut ChaCha8Rng, index: usize| {
            from.members[index].with_policy_head(policy, placement, bound, rng)
        };
        Self::train_all(from.members.len(), data, unit, settings, frozen, seed, start)
    }

    fn train_all(
        members: usize,
        data: &Examples<'_>,
        (mean, scale): (f64, f64),
        settings: &MlpSettings,
        frozen: &Frozen,
        seed: u64,
        start: impl Fn(&mut ChaCha8Rng, usize) -> Mlp + Sync,
    ) -> Result<Self, PredictorError> {
        let member = |index: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(index as u64);
            let mut mlp = Mlp { mean, scale, ..start(&mut rng, index) };
            train(&mut mlp, data, settings, frozen, &mut rng).map(|()| mlp)
        };
        let members = (0..members).into_par_iter().map(member).collect::<Result<_, _>>()?;
        Ok(Self { members })
    }

    /// Mean and spread for every candidate, given by its active features.
    pub fn predict(&self, features: &[Vec<u32>]) -> Result<Vec<Prediction>, PredictorError> {
        let chunks = features.par_chunks(CHUNK).map_init(Activations::default, |activations, chunk| {
            let batch: Vec<&[u32]> = chunk.iter().map(Vec::as_slice).collect();
            let mut outputs = vec![Vec::with_capacity(self.members.len()); batch.len()];
            for member in &self.members {
                member.forward(&batch, activations)?;
                let found = activations.output.iter().map(|&output| member.accuracy(output));
                outputs.iter_mut().zip(found).for_each(|(all, accuracy)| all.push(accuracy));
            }
            Ok(outputs.iter().map(|values| summary(values)).collect::<Vec<_>>())
        });
        Ok(chunks.collect::<Result<Vec<_>, PredictorError>>()?.concat())
    }
}

/// Mean and standard deviation (n − 1).
pub(crate) fn summary(values: &[f64]) -> Prediction {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    Prediction { mean: center, spread: (squares / (values.len().max(2) - 1) as f64).sqrt() }
}

/// Mean and standard deviation of the accuracies, and the accuracies in that unit.
pub(crate) fn standardise(accuracies: &[f64]) -> ((f64, f64), Vec<f32>) {
    let Prediction { mean, spread } = summary(accuracies);
    let scale = if spread > 0.0 { spread } else { 1.0 };
    ((mean, scale), accuracies.iter().map(|accuracy| ((accuracy - mean) / scale) as f32).collect())
}
