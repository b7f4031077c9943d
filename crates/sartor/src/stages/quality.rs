//! How good a predictor is on pairs it has not seen: repeated random splits, mean and 95 % interval over them.

use anyhow::Result;
use sartor_predictor::{Interval as LibraryInterval, Method, Pairs, Predictor, RankingReport};
use serde_json::{Map, Value, json};

use crate::config::sections::Predictor as Settings;
use crate::failure::Failure;
use crate::records::{Interval, PredictorMetrics, Quality};

/// What repeated splits say.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// Metrics with intervals.
    pub quality: Quality,
    /// How the predictor of the first split predicted.
    pub method: Method,
}

/// Fits on a part of the pairs and judges on the rest, `repeats` times.
///
/// # Errors
/// Whatever fitting fails with; held-out pairs that cannot be ranked.
pub fn judge(
    pairs: &Pairs,
    settings: &Settings,
    seed: u64,
    mut fit: impl FnMut(&Pairs, u64) -> Result<Predictor>,
) -> Result<Judged> {
    let fitted = pairs.len() - held_out(pairs.len(), settings.holdout);
    let (mut reports, mut method) = (Vec::new(), Method::Networks);
    for repeat in 0..settings.repeats as u64 {
        let seed = seed.wrapping_add(repeat);
        let (known, held_out) = pairs.split(fitted, seed);
        let predictor = fit(&known, seed)?;
        let predicted = predictor.score(&held_out.candidates)?;
        let report = match settings.repeats {
            1 => RankingReport::of(&predicted, &held_out.accuracies, seed),
            _ => RankingReport::point(&predicted, &held_out.accuracies),
        };
        reports.push(report.ok_or_else(|| cannot_rank(held_out.len()))?);
        method = if repeat == 0 { predictor.method() } else { method };
    }
    Ok(Judged { quality: summarise(&reports)?, method })
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

/// One fit on `fitted` pairs, judged on the rest, repeated over seeds.
///
/// # Errors
/// When there is no report.
pub fn summarise(reports: &[RankingReport]) -> Result<Quality> {
    let report = match reports {
        [one] => Some(*one),
        many => RankingReport::over_seeds(many),
    };
    Ok(report.map(quality).ok_or_else(|| cannot_rank(0))?)
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

fn quality(report: RankingReport) -> Quality {
    Quality {
        pairwise_accuracy: within(report.pairwise_accuracy, 0.0),
        kendall_tau: within(report.kendall_tau, -1.0),
        spearman: within(report.spearman, -1.0),
        mean_absolute_error: within(report.mean_absolute_error, 0.0),
    }
}

/// An interval cut to what the metric can be: from `least` to 1.
fn within(interval: LibraryInterval, least: f64) -> Interval {
    Interval { value: interval.value, low: interval.low.max(least), high: interval.high.min(1.0) }
}

/// The flat object of `sartor fit --json` and `sartor transfer --json`.
pub fn to_json(metrics: &PredictorMetrics) -> Value {
    let mut object = Map::new();
    insert(&mut object, "", &metrics.quality);
    if let Some(scratch) = &metrics.scratch {
        insert(&mut object, "scratch_", scratch);
    }
    object.insert("method".to_owned(), json!(metrics.method));
    object.insert("pairs".to_owned(), json!(metrics.pairs));
    object.insert("repeats".to_owned(), json!(metrics.repeats));
    Value::Object(object)
}

fn insert(object: &mut Map<String, Value>, prefix: &str, quality: &Quality) {
    let fields = [
        ("pairwise_accuracy", quality.pairwise_accuracy),
        ("kendall_tau", quality.kendall_tau),
        ("spearman", quality.spearman),
        ("mean_absolute_error", quality.mean_absolute_error),
    ];
    for (name, interval) in fields {
        object.insert(format!("{prefix}{name}"), json!(interval.value));
        object.insert(format!("{prefix}{name}_low"), json!(interval.low));
        object.insert(format!("{prefix}{name}_high"), json!(interval.high));
    }
}

/// One line for people.
pub fn line(metrics: &PredictorMetrics) -> String {
    let text = |quality: &Quality| {
        let Interval { value, low, high } = quality.pairwise_accuracy;
        format!("pairwise accuracy {value:.3} [{low:.3}, {high:.3}]")
    };
    let scratch = metrics.scratch.as_ref().map(|scratch| format!("   from scratch: {}", text(scratch)));
    format!(
        "{} pairs, {}   {}{}",
        metrics.pairs,
        metrics.method,
        text(&metrics.quality),
        scratch.unwrap_or_default()
    )
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
    fn json_has_the_contracts_names() {
        let one = Interval { value: 0.8, low: 0.7, high: 0.9 };
        let quality =
            Quality { pairwise_accuracy: one, kendall_tau: one, spearman: one, mean_absolute_error: one };
        let metrics = PredictorMetrics {
            method: "both".to_owned(),
            pairs: 9,
            repeats: 3,
            holdout: 0.2,
            quality,
            scratch: Some(quality),
        };
        let value = to_json(&metrics);
        for name in ["pairwise_accuracy", "kendall_tau", "spearman", "mean_absolute_error"] {
            for end in ["", "_low", "_high"] {
                assert!(value.get(format!("{name}{end}")).is_some(), "{name}{end}");
                assert!(value.get(format!("scratch_{name}{end}")).is_some(), "scratch {name}{end}");
            }
        }
    }
}
