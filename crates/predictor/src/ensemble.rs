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
use crate::mlp::sums::{FixedRows, Steps};
use crate::mlp::train::{Examples, Frozen, MlpSettings, train};
use crate::mlp::{Activations, HeadPlacement, Mlp, Shape};
use crate::sharing::Sharing;

/// Most candidates per matrix product when scoring: enough rows for the kernel, few enough to stay in cache.
const CHUNK: usize = 64;
/// Fewest: the rows of a tile of the product.
const LEAST_CHUNK: usize = 8;

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
    members: Vec<Mlp>,
    /// First layer of each, for predicting.
    rows: Vec<FixedRows>,
}

impl Ensemble {
    /// Puts networks together.
    pub fn new(members: Vec<Mlp>) -> Self {
        let rows = members.iter().map(FixedRows::new).collect();
        Self { members, rows }
    }

    /// The networks.
    pub fn members(&self) -> &[Mlp] {
        &self.members
    }

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

    /// Mean and spread for every candidate, given by its active features. A row of a product does not depend on the
    /// rows beside it, nor a fixed-point sum on the way there, so how the candidates are split changes nothing.
    pub fn predict(&self, features: &[Vec<u32>]) -> Result<Vec<Prediction>, PredictorError> {
        let share = features.len().div_ceil(rayon::current_num_threads());
        let chunk = share.clamp(LEAST_CHUNK, CHUNK);
        let all = self.rows.first().map_or(0, FixedRows::features);
        let chunks = features.par_chunks(chunk).map_init(Activations::default, |activations, chunk| {
            let batch: Vec<&[u32]> = chunk.iter().map(Vec::as_slice).collect();
            let steps = Steps::new(&batch, all);
            let mut outputs = Vec::with_capacity(batch.len() * self.members.len());
            for (member, rows) in self.members.iter().zip(&self.rows) {
                member.infer(rows, &steps, activations)?;
                outputs.extend(activations.output.iter().map(|&output| member.accuracy(output)));
            }
            Ok(by_candidate(&outputs, batch.len()))
        });
        Ok(chunks.collect::<Result<Vec<_>, PredictorError>>()?.concat())
    }
}

/// Mean and spread of each candidate, from the outputs of the first member, of the second, …
fn by_candidate(outputs: &[f64], count: usize) -> Vec<Prediction> {
    let mut values = Vec::new();
    let one = |index: usize| {
        values.clear();
        values.extend(outputs.iter().skip(index).step_by(count).copied());
        summary(&values)
    };
    (0..count).map(one).collect()
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
        Ok(Ensemble::new(members))
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
