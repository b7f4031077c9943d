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
use crate::sharing::Sharing;

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
    pub fn fit(shape: Shape, members: usize, lesson: &Lesson<'_>, seed: u64) -> Result<Self, PredictorError> {
        let active = lesson.features.iter().map(Vec::len).max().unwrap_or(1);
        lesson.teach_all(members, seed, |rng, _| Mlp::random(shape, active, rng))
    }

    /// Fits networks that start from those of `from`, with a fresh policy head whose rows lie within ± `bound`; what
    /// the old networks say about accuracy is first multiplied by `slope`.
    pub fn fit_from(
        from: &Ensemble,
        policy: usize,
        (placement, bound, slope): (HeadPlacement, f32, f64),
        lesson: &Lesson<'_>,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        let ((_, scale), _) = standardise(lesson.accuracies);
        let start = |rng: &mut ChaCha8Rng, index: usize| {
            let old = &from.members[index];
            old.with_policy_head(policy, placement, bound, rng).amplified((slope * old.scale / scale) as f32)
        };
        lesson.teach_all(from.members.len(), seed, start)
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

/// Everything the members of an ensemble are taught with.
pub(crate) struct Lesson<'a> {
    /// Active features of every pair.
    pub features: &'a [Vec<u32>],
    /// Measured accuracies.
    pub accuracies: &'a [f64],
    /// Which rows are shared while training.
    pub sharing: &'a Sharing,
    /// Weights that stay as they are.
    pub frozen: Frozen,
    /// Training of each member.
    pub settings: &'a MlpSettings,
}

impl Lesson<'_> {
    fn teach_all(
        &self,
        members: usize,
        seed: u64,
        start: impl Fn(&mut ChaCha8Rng, usize) -> Mlp + Sync,
    ) -> Result<Ensemble, PredictorError> {
        let ((mean, scale), targets) = standardise(self.accuracies);
        let widened: Vec<_> =
            self.features.iter().map(|features| self.sharing.widen_features(features)).collect();
        let examples = Examples { features: widened.iter().map(Vec::as_slice).collect(), targets };
        let member = |index: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(index as u64);
            let plain = Mlp { mean, scale, ..start(&mut rng, index) };
            let mut wide = self.sharing.widen(&plain);
            train(&mut wide, &examples, self.settings, &self.frozen, &mut rng)?;
            Ok(self.sharing.fold(&wide, plain.shape))
        };
        let members = (0..members).into_par_iter().map(member).collect::<Result<_, PredictorError>>()?;
        Ok(Ensemble { members })
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
