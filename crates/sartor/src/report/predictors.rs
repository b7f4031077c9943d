//! How far the predictors can be believed.

use super::Facts;
use super::page::{Row, remark, table};
use crate::records::{Interval, PredictorMetrics, Quality};

const HEAD: [&str; 7] = [
    "predictor",
    "method",
    "pairs",
    "pairwise accuracy",
    "Kendall τ",
    "Spearman ρ",
    "mean abs. error (points)",
];

/// Full precision, transferred, and from scratch.
pub fn write(facts: &Facts) -> Option<String> {
    let mut rows = Vec::new();
    if let Some(metrics) = &facts.full_precision {
        rows.push(row("full precision", metrics, &metrics.quality));
    }
    if let Some(metrics) = &facts.mixed_precision {
        rows.push(row("mixed precision, transferred", metrics, &metrics.quality).styled("chosen"));
        rows.extend(
            metrics.scratch.as_ref().map(|scratch| row("mixed precision, from scratch", metrics, scratch)),
        );
    }
    let metrics = facts.mixed_precision.as_ref().or(facts.full_precision.as_ref())?;
    let note = format!(
        "On the {:.0} % of pairs held out, mean and 95 % interval over {} random splits.",
        100.0 * metrics.holdout,
        metrics.repeats
    );
    Some(table(&HEAD, &rows) + &remark(&note))
}

fn row(name: &str, metrics: &PredictorMetrics, quality: &Quality) -> Row {
    Row::plain([
        name.to_owned(),
        metrics.method.clone(),
        metrics.pairs.to_string(),
        interval(quality.pairwise_accuracy, 1.0),
        interval(quality.kendall_tau, 1.0),
        interval(quality.spearman, 1.0),
        interval(quality.mean_absolute_error, 100.0),
    ])
}

fn interval(interval: Interval, scale: f64) -> String {
    format!("{:.2} [{:.2}, {:.2}]", scale * interval.value, scale * interval.low, scale * interval.high)
}
