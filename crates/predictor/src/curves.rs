//! # Learning curves, and which pairs to measure next
//!
//! EMS/APQ, figure 6: pairwise accuracy against the number of mixed-precision pairs, with and without transfer. The
//! fit is a function given, so that both curves (and every method) are drawn by the same code on the same pairs.

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

/// Fits on `sizes` of the pairs, once per seed (another part of the pairs each time), and asks about the held-out ones.
/// Sizes above the number of pairs are left out.
///
/// # Errors
/// Whatever `fit` reports; [`PredictorError::TooFewPairs`] if the held-out pairs cannot be ordered.
pub fn learning_curve(
    pairs: &Pairs,
    held_out: &Pairs,
    sizes: &[usize],
    seeds: &[u64],
    fit: impl Fn(&Pairs, u64) -> Result<Predictor, PredictorError>,
) -> Result<Vec<CurvePoint>, PredictorError> {
    let unordered = || PredictorError::TooFewPairs { got: held_out.len(), needed: 2 };
    let report = |size: usize, seed: u64| {
        let (known, _) = pairs.split(size, seed);
        fit(&known, seed)?.evaluate(held_out, seed)?.ok_or_else(unordered)
    };
    let point = |&size: &usize| {
        let reports = seeds.iter().map(|&seed| report(size, seed)).collect::<Result<Vec<_>, _>>()?;
        let report = RankingReport::over_seeds(&reports).ok_or_else(unordered)?;
        Ok(CurvePoint { pairs: size, report })
    };
    sizes.iter().filter(|&&size| size <= pairs.len()).map(point).collect()
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
