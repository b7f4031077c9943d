//! How good a predictor is on pairs it has not seen: repeated random splits, mean and 95 % interval over them.

use anyhow::Result;
use rayon::prelude::*;
use sartor_predictor::{
    Interval as LibraryInterval, Method, Pairs, Prediction, Predictor, RankingReport, SpreadCalibration,
};
use serde_json::{Map, Value, json};

use crate::config::sections::Predictor as Settings;
use crate::failure::Failure;
use crate::records::{Interval, PredictorMetrics, Quality, SpreadQuality};

/// What repeated splits say.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Metrics with intervals.
    pub quality: Quality,
    /// How the predictor of the first split predicted.
    pub method: Method,
}

/// What one split says.
struct Split {
    report: RankingReport,
    spread: Option<Spread>,
    method: Method,
}

/// How honest the spread of one split's predictor was.
#[derive(Debug, Clone, Copy)]
struct Spread {
    coverage: f64,
    scale: f64,
    scaled_coverage: f64,
    error_correlation: f64,
}

/// Fits on a part of the pairs and judges on the rest, `repeats` times, side by side.
///
/// # Errors
/// Whatever fitting fails with; held-out pairs that cannot be ranked.
pub fn judge(
    pairs: &Pairs,
    settings: &Settings,
    seed: u64,
    fit: impl Fn(&Pairs, u64) -> Result<Predictor> + Sync,
) -> Result<Judged> {
    Ok(judge_all(pairs, settings, seed, |known, seed| Ok(vec![fit(known, seed)?]))?.remove(0))
}

/// As [`judge`], for several predictors fitted at once on the same splits.
///
/// # Errors
/// As [`judge`].
pub fn judge_all(
    pairs: &Pairs,
    settings: &Settings,
    seed: u64,
    fit: impl Fn(&Pairs, u64) -> Result<Vec<Predictor>> + Sync,
) -> Result<Vec<Judged>> {
    let fitted = pairs.len() - held_out(pairs.len(), settings.holdout);
    let single = settings.repeats == 1;
    let one = |repeat: u64| -> Result<Vec<Split>> {
        let seed = seed.wrapping_add(repeat);
        let (known, held_out) = pairs.split(fitted, seed);
        fit(&known, seed)?.iter().map(|predictor| split(predictor, &held_out, single, seed)).collect()
    };
    let repeats = (0..settings.repeats as u64).into_par_iter().map(one).collect::<Result<Vec<_>>>()?;
    let count = repeats.first().map_or(0, Vec::len);
    (0..count)
        .map(|which| summarise(&repeats.iter().map(|split| &split[which]).collect::<Vec<_>>()))
        .collect()
}

fn split(predictor: &Predictor, held_out: &Pairs, single: bool, seed: u64) -> Result<Split> {
    let predictions = predictor.predict(&held_out.candidates)?;
    let means: Vec<f64> = predictions.iter().map(|prediction| prediction.mean).collect();
    let report = match single {
        true => RankingReport::of(&means, &held_out.accuracies, seed),
        false => RankingReport::point(&means, &held_out.accuracies),
    };
    let report = report.ok_or_else(|| cannot_rank(held_out.len()))?;
    Ok(Split { report, spread: spread(&predictions, &held_out.accuracies), method: predictor.method() })
}

/// The scale is fitted on every other held-out pair and tried on the rest.
fn spread(predictions: &[Prediction], truth: &[f64]) -> Option<Spread> {
    let half = |first: usize, scale: f64| {
        let chosen = predictions.iter().zip(truth).skip(first).step_by(2);
        let (mut means, mut spreads, mut truths) = (Vec::new(), Vec::new(), Vec::new());
        for (prediction, &value) in chosen {
            means.push(prediction.mean);
            spreads.push(scale * prediction.spread);
            truths.push(value);
        }
        SpreadCalibration::of(&means, &spreads, &truths)
    };
    let means: Vec<f64> = predictions.iter().map(|prediction| prediction.mean).collect();
    let spreads: Vec<f64> = predictions.iter().map(|prediction| prediction.spread).collect();
    let whole = SpreadCalibration::of(&means, &spreads, truth)?;
    let scale = half(0, 1.0)?.scale;
    Some(Spread {
        coverage: whole.coverage,
        scale,
        scaled_coverage: half(1, scale)?.coverage,
        error_correlation: whole.spread_error_spearman,
    })
}

/// What a stage notes down about a predictor.
pub fn metrics(method: Method, pairs: usize, settings: &Settings, judged: Judged) -> PredictorMetrics {
    PredictorMetrics {
        method: method.name().to_owned(),
        pairs,
        repeats: settings.repeats,
        holdout: settings.holdout,
        quality: judged.quality,
        scratch: None,
    }
}

fn summarise(splits: &[&Split]) -> Result<Judged> {
    let reports: Vec<RankingReport> = splits.iter().map(|split| split.report).collect();
    let report = match reports.as_slice() {
        [one] => Some(*one),
        many => RankingReport::over_seeds(many),
    };
    let report = report.ok_or_else(|| cannot_rank(0))?;
    let spreads: Vec<Spread> = splits.iter().filter_map(|split| split.spread).collect();
    let quality = Quality { spread: spread_over_seeds(&spreads), ..quality(report) };
    Ok(Judged { quality, method: splits.first().map_or(Method::Networks, |split| split.method) })
}

fn spread_over_seeds(spreads: &[Spread]) -> Option<SpreadQuality> {
    let over = |field: fn(&Spread) -> f64, least: f64, most: f64| {
        let interval = LibraryInterval::over_seeds(&spreads.iter().map(field).collect::<Vec<_>>())?;
        let (low, high) = (interval.low.max(least), interval.high.min(most));
        Some(Interval { value: interval.value, low, high })
    };
    Some(SpreadQuality {
        coverage: over(|spread| spread.coverage, 0.0, 1.0)?,
        scale: over(|spread| spread.scale, 0.0, f64::INFINITY)?,
        scaled_coverage: over(|spread| spread.scaled_coverage, 0.0, 1.0)?,
        error_correlation: over(|spread| spread.error_correlation, -1.0, 1.0)?,
    })
}

/// Pairs held out of `count`.
pub fn held_out(count: usize, share: f64) -> usize {
    ((count as f64 * share).round() as usize).clamp(2, count.saturating_sub(2).max(2))
}

fn cannot_rank(pairs: usize) -> Failure {
    Failure::bad_input(format!(
        "the {pairs} held-out pairs cannot be ranked: fewer than two, or all equally accurate"
    ))
    .hint("measure more pairs, or on more validation images")
}

/// Rounded nowhere, cut to what the metrics can be.
pub fn quality(report: RankingReport) -> Quality {
    Quality {
        pairwise_accuracy: within(report.pairwise_accuracy, 0.0),
        kendall_tau: within(report.kendall_tau, -1.0),
        spearman: within(report.spearman, -1.0),
        mean_absolute_error: within(report.mean_absolute_error, 0.0),
        spread: None,
    }
}

/// An interval cut to what the metric can be: from `least` to 1.
fn within(interval: LibraryInterval, least: f64) -> Interval {
    Interval { value: interval.value, low: interval.low.max(least), high: interval.high.min(1.0) }
}

/// The flat object of `sartor fit --json` and `sartor transfer --json`.
pub fn to_json(metrics: &PredictorMetrics) -> Map<String, Value> {
    let mut object = Map::new();
    insert(&mut object, "", &metrics.quality);
    if let Some(scratch) = &metrics.scratch {
        insert(&mut object, "scratch_", scratch);
    }
    object.insert("method".to_owned(), json!(metrics.method));
    object.insert("pairs".to_owned(), json!(metrics.pairs));
    object.insert("repeats".to_owned(), json!(metrics.repeats));
    object
}

/// Every metric with its interval, under names that start with `prefix`.
pub fn insert(object: &mut Map<String, Value>, prefix: &str, quality: &Quality) {
    for (name, interval) in fields(quality) {
        object.insert(format!("{prefix}{name}"), json!(interval.value));
        object.insert(format!("{prefix}{name}_low"), json!(interval.low));
        object.insert(format!("{prefix}{name}_high"), json!(interval.high));
    }
}

fn fields(quality: &Quality) -> Vec<(&'static str, Interval)> {
    let mut fields = vec![
        ("pairwise_accuracy", quality.pairwise_accuracy),
        ("kendall_tau", quality.kendall_tau),
        ("spearman", quality.spearman),
        ("mean_absolute_error", quality.mean_absolute_error),
    ];
    if let Some(spread) = quality.spread {
        fields.push(("spread_coverage", spread.coverage));
        fields.push(("spread_scale", spread.scale));
        fields.push(("spread_scaled_coverage", spread.scaled_coverage));
        fields.push(("spread_error_correlation", spread.error_correlation));
    }
    fields
}

/// One line for people.
pub fn line(metrics: &PredictorMetrics) -> String {
    let text = |quality: &Quality| format!("pairwise accuracy {}", interval(quality.pairwise_accuracy));
    let scratch = metrics.scratch.as_ref().map(|scratch| format!("   from scratch: {}", text(scratch)));
    format!(
        "{} pairs, {}   {}{}",
        metrics.pairs,
        metrics.method,
        text(&metrics.quality),
        scratch.unwrap_or_default()
    )
}

/// All metrics for people, one a line.
pub fn lines(quality: &Quality) -> Vec<String> {
    let plain = |name: &str| name.replace('_', " ");
    fields(quality)
        .into_iter()
        .map(|(name, value)| format!("{:<26} {}", plain(name), precise(value)))
        .collect()
}

/// A number with its interval, three digits.
pub fn interval(interval: Interval) -> String {
    let Interval { value, low, high } = interval;
    format!("{value:.3} [{low:.3}, {high:.3}]")
}

fn precise(interval: Interval) -> String {
    let Interval { value, low, high } = interval;
    format!("{value:.4}  95 % interval {low:.4} to {high:.4}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_always_held_out_and_something_kept() {
        for (count, share, expected) in [(100, 0.2, 20), (10, 0.01, 2), (10, 0.99, 8), (4, 0.5, 2)] {
            assert_eq!(held_out(count, share), expected, "{count} {share}");
        }
    }

    #[test]
    fn a_scale_repairs_spreads_that_are_too_small() {
        let truth: Vec<f64> = (0..200).map(|i| f64::from(i * 37 % 101) / 100.0).collect();
        let predictions: Vec<Prediction> =
            truth.iter().map(|_| Prediction { mean: 0.5, spread: 0.01 }).collect();
        let found = spread(&predictions, &truth).expect("pairs");
        assert!(found.coverage < 0.1 && found.scaled_coverage > 0.9 && found.scale > 20.0, "{found:?}");
    }

    #[test]
    fn json_has_the_contracts_names() {
        let one = Interval { value: 0.8, low: 0.7, high: 0.9 };
        let spread =
            SpreadQuality { coverage: one, scale: one, scaled_coverage: one, error_correlation: one };
        let quality = Quality {
            pairwise_accuracy: one,
            kendall_tau: one,
            spearman: one,
            mean_absolute_error: one,
            spread: Some(spread),
        };
        let metrics = PredictorMetrics {
            method: "both".to_owned(),
            pairs: 9,
            repeats: 3,
            holdout: 0.2,
            quality,
            scratch: Some(quality),
        };
        let value = to_json(&metrics);
        for name in ["pairwise_accuracy", "kendall_tau", "spearman", "mean_absolute_error", "spread_coverage"]
        {
            for end in ["", "_low", "_high"] {
                assert!(value.get(&format!("{name}{end}")).is_some(), "{name}{end}");
                assert!(value.get(&format!("scratch_{name}{end}")).is_some(), "scratch {name}{end}");
            }
        }
    }
}
