//! How far the predictors can be believed.

use super::Facts;
use super::page::{Row, figure, remark, table};
use super::svg::{Axis, Mark, Plot};
use crate::records::{Contender, CurveRow, Interval, PredictorMetrics, Quality};

const HEAD: [&str; 8] = [
    "predictor",
    "method",
    "pairs",
    "pairwise accuracy",
    "Kendall τ",
    "Spearman ρ",
    "mean abs. error (points)",
    "inside ± 1.96 spreads",
];

/// Full precision, transferred, and from scratch; then what was compared.
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
        "On the {:.0} % of pairs held out, mean and 95 % interval over {} random splits. A spread is honest if 95 % of \
         the held-out accuracies lie inside.",
        100.0 * metrics.holdout,
        metrics.repeats
    );
    let compared = contenders("Methods on equal full-precision pairs", &facts.methods)
        + &contenders("Ways to transfer, and from scratch, on equal mixed-precision pairs", &facts.variants);
    Some(table(&HEAD, &rows) + &remark(&note) + &compared + &curves(&facts.curves).unwrap_or_default())
}

fn row(name: &str, metrics: &PredictorMetrics, quality: &Quality) -> Row {
    let coverage = quality.spread.map_or_else(String::new, |spread| interval(spread.coverage, 1.0));
    Row::plain([
        name.to_owned(),
        metrics.method.clone(),
        metrics.pairs.to_string(),
        interval(quality.pairwise_accuracy, 1.0),
        interval(quality.kendall_tau, 1.0),
        interval(quality.spearman, 1.0),
        interval(quality.mean_absolute_error, 100.0),
        coverage,
    ])
}

fn interval(interval: Interval, scale: f64) -> String {
    format!("{:.2} [{:.2}, {:.2}]", scale * interval.value, scale * interval.low, scale * interval.high)
}

fn contenders(title: &str, all: &[Contender]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let one = |contender: &Contender| {
        Row::plain([
            contender.what.clone(),
            interval(contender.quality.pairwise_accuracy, 1.0),
            interval(contender.quality.kendall_tau, 1.0),
            interval(contender.quality.mean_absolute_error, 100.0),
        ])
    };
    let rows: Vec<Row> = all.iter().map(one).collect();
    table(&[title, "pairwise accuracy", "Kendall τ", "mean abs. error (points)"], &rows)
}

/// Pairwise accuracy against pairs, as in figure 6 of the EMS and APQ papers.
fn curves(rows: &[CurveRow]) -> Option<String> {
    rows.first()?;
    let height = rows.iter().flat_map(|row| [row.low, row.high]);
    let mut plot = Plot::new(
        Axis::around("mixed-precision pairs", rows.iter().map(|row| row.pairs as f64)),
        Axis::around("pairwise accuracy", height),
    );
    for points in rows.chunk_by(|a, b| (&a.method, a.transfer) == (&b.method, b.transfer)) {
        let (class, mark) = look(points[0].method == "networks", points[0].transfer);
        let line: Vec<(f64, f64)> =
            points.iter().map(|row| (row.pairs as f64, row.pairwise_accuracy)).collect();
        plot.line(&line, class);
        for row in points {
            let (x, start) = (row.pairs as f64, if row.transfer { "with transfer" } else { "from scratch" });
            plot.interval(x, (row.low, row.high), class);
            let title = format!("{} {start}, {} pairs: {:.3}", row.method, row.pairs, row.pairwise_accuracy);
            plot.mark((x, row.pairwise_accuracy), mark, class, &title);
        }
    }
    let caption = "Learning curves of the mixed-precision predictor, 95 % intervals over seeds. Blue: the papers' kind \
                   of networks, round with transfer, orange squares from scratch. Green diamonds: the method that \
                   cross-validation prefers.";
    Some(figure(&plot.finish("Pairwise accuracy against pairs"), caption))
}

fn look(networks: bool, transfer: bool) -> (&'static str, Mark) {
    match (networks, transfer) {
        (true, true) => ("searched", Mark::Dot),
        (true, false) => ("wide", Mark::Square),
        (false, true) => ("narrow", Mark::Diamond),
        (false, false) => ("narrow", Mark::Dot),
    }
}
