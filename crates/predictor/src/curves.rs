//! # Learning curves, and which pairs to measure next
//!
//! EMS/APQ, figure 6: pairwise accuracy against the number of mixed-precision pairs, with and without transfer. The
//! fit is a function given, so that both curves (and every method) are drawn by the same code on the same pairs.

use rayon::prelude::*;
use sartor_space::Candidate;

use crate::error::PredictorError;
use crate::metrics::RankingReport;
use crate::pairs::Pairs;
use crate::predictor::Predictor;

/// One point of a learning curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurvePoint {
    /// Pairs fitted on.
    pub pairs: usize,
    /// Ranking quality on the held-out pairs, mean and interval over seeds.
    pub report: RankingReport,
}

/// Fits on `sizes` of the known pairs and asks about the held-out ones: one split (known, held out) per seed, the same for
/// every size, and another part of the known pairs for every seed. Sizes above the number of known pairs are left out.
/// Seeds are fitted side by side.
///
/// # Errors
/// Whatever `fit` reports; [`PredictorError::TooFewPairs`] if held-out pairs cannot be ordered.
pub fn learning_curve(
    splits: &[(Pairs, Pairs)],
    sizes: &[usize],
    seeds: &[u64],
    fit: impl Fn(&Pairs, u64) -> Result<Predictor, PredictorError> + Sync,
) -> Result<Vec<CurvePoint>, PredictorError> {
    let unordered = |got: usize| PredictorError::TooFewPairs { got, needed: 2 };
    let report = |size: usize, (known, held_out): &(Pairs, Pairs), seed: u64| {
        let scores = fit(&known.split(size, seed).0, seed)?.score(&held_out.candidates)?;
        RankingReport::point(&scores, &held_out.accuracies).ok_or_else(|| unordered(held_out.len()))
    };
    let point = |&size: &usize| {
        let reports = splits.par_iter().zip(seeds).map(|(split, &seed)| report(size, split, seed));
        let report = RankingReport::over_seeds(&reports.collect::<Result<Vec<_>, _>>()?);
        Ok(CurvePoint { pairs: size, report: report.ok_or_else(|| unordered(0))? })
    };
    let most = splits.iter().map(|(known, _)| known.len()).min().unwrap_or(0);
    sizes.iter().filter(|&&size| size <= most).map(point).collect()
}

/// Positions in `pool` of the `count` candidates that the predictor is least sure of, least sure first.
///
/// # Errors
/// As [`Predictor::predict`].
pub fn choose_next(
    predictor: &Predictor,
    pool: &[Candidate],
    count: usize,
) -> Result<Vec<usize>, PredictorError> {
    let predictions = predictor.predict(pool)?;
    let mut order: Vec<usize> = (0..pool.len()).collect();
    order.sort_by(|&a, &b| predictions[b].spread.total_cmp(&predictions[a].spread).then(a.cmp(&b)));
    order.truncate(count);
    Ok(order)
}
