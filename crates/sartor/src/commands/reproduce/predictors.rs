//! EMS, figure 6: pairwise accuracy against the number of mixed-precision pairs, with and without transfer.

use anyhow::Result;
use sartor_predictor::Method;

use super::claims::{Verdict, word};
use super::written::Record;
use crate::cli::ReproduceArguments;
use crate::records::CurveRow;
use crate::session::Session;
use crate::stages::contest::Contest;
use crate::stages::{Stage, fit, sample};
use crate::statistics::mean_with_interval;
use crate::talk;

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
    settings.repeats = 1;
    let (space, first) = (&session.config.space, session.seed(Stage::Transfer));
    let splits = arguments.seeds.max(2);
    let curves = (0..splits)
        .map(|split| {
            talk::stage_line("learning curves", &format!("split {} of {splits}", split + 1));
            let seed = first.wrapping_add(split);
            Contest { space, base: &base, pairs: &pairs, settings: &settings, seed }.curves()
        })
        .collect::<Result<Vec<_>>>()?;
    record.curves(&mean(&curves))?;
    Ok(vec![verdict(&curves)])
}

/// The mean of each row over the splits.
fn mean(curves: &[Vec<CurveRow>]) -> Vec<CurveRow> {
    let row = |(index, row): (usize, &CurveRow)| {
        let over = |of: fn(&CurveRow) -> f64| {
            mean_with_interval(&curves.iter().map(|curve| of(&curve[index])).collect::<Vec<f64>>())
        };
        let (pairwise_accuracy, half) = over(|row| row.pairwise_accuracy);
        let half = half.unwrap_or(1.0);
        let (low, high) = ((pairwise_accuracy - half).max(0.0), (pairwise_accuracy + half).min(1.0));
        CurveRow { pairwise_accuracy, low, high, kendall_tau: over(|row| row.kendall_tau).0, ..row.clone() }
    };
    curves.first().map(|curve| curve.iter().enumerate().map(row).collect()).unwrap_or_default()
}

/// Both ways see the same pairs in a split, so it is their differences that count.
fn verdict(curves: &[Vec<CurveRow>]) -> Verdict {
    let fewest = |curve: &[CurveRow], transfer: bool| {
        let rows = curve.iter().filter(|row| row.transfer == transfer);
        rows.min_by_key(|row| row.pairs).map(|row| (row.pairs, row.pairwise_accuracy))
    };
    let difference = |curve: &Vec<CurveRow>| {
        let ((pairs, with), (_, without)) = (fewest(curve, true)?, fewest(curve, false)?);
        Some((pairs, 100.0 * (with - without)))
    };
    let found: Vec<(usize, f64)> = curves.iter().filter_map(difference).collect();
    let (difference, half) = mean_with_interval(&found.iter().map(|(_, points)| *points).collect::<Vec<_>>());
    let pairs = found.first().map_or("few".to_owned(), |(pairs, _)| pairs.to_string());
    Verdict {
        claim: format!("with {pairs} pairs, transfer orders candidates better"),
        verdict: half.map_or("not measured", |half| word(difference, half)),
        difference: half.map(|_| difference),
        half_width: half,
        unit: "points",
        seeds: curves.len(),
        published: PUBLISHED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(with: f64, without: f64) -> Vec<CurveRow> {
        let row = |transfer, pairs, pairwise_accuracy| CurveRow {
            method: "networks".to_owned(),
            transfer,
            pairs,
            pairwise_accuracy,
            low: 0.0,
            high: 1.0,
            kendall_tau: 0.0,
        };
        vec![row(true, 10, with), row(true, 20, 0.9), row(false, 10, without), row(false, 20, 0.9)]
    }

    #[test]
    fn splits_are_compared_one_by_one() {
        // Splits differ by ten points and more, transfer is always four to six better.
        let curves = [curve(0.66, 0.61), curve(0.80, 0.76), curve(0.56, 0.50)];
        let verdict = verdict(&curves);
        assert_eq!((verdict.verdict, verdict.seeds), ("holds", 3));
        assert!((verdict.difference.unwrap_or_default() - 5.0).abs() < 1e-9);
        assert!((verdict.half_width.unwrap_or_default() - 2.48).abs() < 0.01);
        let rows = mean(&curves);
        assert!((rows[0].pairwise_accuracy - 0.673_333).abs() < 1e-5 && rows[0].low < 0.4);
    }
}
