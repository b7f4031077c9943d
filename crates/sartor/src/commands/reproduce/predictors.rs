//! EMS, figure 6: pairwise accuracy against the number of mixed-precision pairs, with and without transfer.

use anyhow::Result;
use sartor_predictor::Method;

use super::claims::Verdict;
use super::written::Record;
use crate::cli::ReproduceArguments;
use crate::records::CurveRow;
use crate::session::Session;
use crate::stages::contest::Contest;
use crate::stages::{Stage, fit, sample};

/// What the papers print.
const PUBLISHED: &str = "64.6 % to 75.6 % when data is scarce; 85 % from under 3,000 pairs with transfer, 4,000 without \
                         (EMS, figure 6)";

/// Draws both curves with the papers' kind of predictor and judges the claim at the fewest pairs.
///
/// # Errors
/// Whatever fitting fails with.
pub fn run(session: &Session, arguments: &ReproduceArguments, record: &mut Record) -> Result<Vec<Verdict>> {
    let base = fit::finished(session)?.load(session)?;
    let pairs = sample::finished(session, Stage::SampleMixedPrecision)?.load(session)?;
    let mut settings = session.config.predictor.clone();
    settings.method = Method::Networks.name().to_owned();
    settings.repeats = (arguments.seeds as usize).max(2);
    let (space, seed) = (&session.config.space, session.seed(Stage::Transfer));
    let rows = Contest { space, base: &base, pairs: &pairs, settings: &settings, seed }.curves()?;
    record.curves(&rows)?;
    Ok(verdicts(&rows, settings.repeats))
}

fn verdicts(rows: &[CurveRow], seeds: usize) -> Vec<Verdict> {
    let at = |transfer: bool| rows.iter().filter(|row| row.transfer == transfer).min_by_key(|row| row.pairs);
    let mut verdict = Verdict {
        claim: "with few pairs, transfer orders candidates better".to_owned(),
        verdict: "not measured",
        difference: None,
        half_width: None,
        unit: "points",
        seeds,
        published: PUBLISHED.to_owned(),
    };
    if let (Some(with), Some(without)) = (at(true), at(false)) {
        let half = |row: &CurveRow| 50.0 * (row.high - row.low);
        let difference = 100.0 * (with.pairwise_accuracy - without.pairwise_accuracy);
        let half = half(with).hypot(half(without));
        verdict.claim = format!("with {} pairs, transfer orders candidates better", with.pairs);
        verdict.verdict = match () {
            () if difference > half => "holds",
            () if difference < -half => "does not hold",
            () => "undecided",
        };
        (verdict.difference, verdict.half_width) = (Some(difference), Some(half));
    }
    vec![verdict]
}
