//! Joint search beside baselines.

use super::Facts;
use super::headline::{amount, plain_name};
use super::page::{Row, assemble, figure, remark, table};
use super::svg::{Axis, Mark, Plot};
use crate::records::{Compared, Comparison, Interval};

/// Of a run, if baselines were run on it.
pub fn write(facts: &Facts) -> Option<String> {
    facts.comparison.as_ref().map(section)
}

/// A page with nothing but the comparison.
pub fn page(name: &str, comparison: &Comparison) -> String {
    assemble(
        &format!("Sartor: {name}, joint against baselines"),
        std::iter::once(("Joint search beside baselines", section(comparison))),
    )
}

fn section(comparison: &Comparison) -> String {
    let rows: Vec<Row> = comparison.baselines.iter().map(row).collect();
    let head = ["baseline", "predicted (%)", "measured (%)", "latency", "energy", "weights", "what it does"];
    let budget: Vec<String> = comparison
        .budget
        .iter()
        .map(|(name, limit)| format!("{} ≤ {}", plain_name(name), amount(name, *limit)))
        .collect();
    let note = format!(
        "On {} under {}; {} evaluations each; mean and 95 % interval over {} seeds; costs of the first seed's winner. \
         Predicted by the run's predictor, which searched for all of them but `without-transfer`; measured on the \
         validation split after the short fine-tune.",
        comparison.hardware,
        budget.join(", "),
        comparison.evaluations,
        comparison.seeds
    );
    let claim = [
        ("Predicted", comparison.joint_minus_sequential),
        ("Measured", comparison.joint_minus_sequential_measured),
    ]
    .into_iter()
    .filter_map(|(name, difference)| {
        let Interval { value, low, high } = difference?;
        Some(format!("{name}, joint minus sequential: {value:+.2} points [{low:+.2}, {high:+.2}]."))
    });
    let claim: Vec<String> = claim.collect();
    format!("<p>{}</p>\n{}{}{}", claim.join(" "), picture(comparison), table(&head, &rows), remark(&note))
}

fn row(baseline: &Compared) -> Row {
    let percent = |interval: &Option<Interval>| {
        interval.map_or(String::new(), |Interval { value, low, high }| {
            format!("{:.2} [{:.2}, {:.2}]", 100.0 * value, 100.0 * low, 100.0 * high)
        })
    };
    let cost = |name: &str| {
        let first = baseline.found.first().and_then(|found| found.costs.get(name));
        first.map_or(String::new(), |value| amount(name, *value))
    };
    let predicted = match &baseline.infeasible {
        Some(_) => "nothing meets the budget".to_owned(),
        None => percent(&baseline.predicted),
    };
    Row::plain([
        baseline.name.clone(),
        predicted,
        percent(&baseline.measured),
        cost("latency_ms"),
        cost("energy_mj"),
        cost("size_bytes"),
        baseline.what.clone(),
    ])
}

/// Every winner: accuracy against latency.
fn picture(comparison: &Comparison) -> String {
    let all = || {
        comparison
            .baselines
            .iter()
            .flat_map(|baseline| baseline.found.iter().map(move |found| (baseline, found)))
    };
    let measured = all().all(|(_, found)| found.measured.is_some());
    let accuracy = |found: &crate::records::Found| {
        100.0 * found.measured.filter(|_| measured).map_or(found.predicted, |measured| measured.value)
    };
    let latency = |found: &crate::records::Found| found.costs.get("latency_ms").copied().unwrap_or(0.0);
    let label = if measured { "validation accuracy (%)" } else { "predicted accuracy (%)" };
    let limit = comparison.budget.get("latency_ms").copied();
    let mut plot = Plot::new(
        Axis::around(
            &format!("latency (ms) on {}", comparison.hardware),
            all().map(|(_, found)| latency(found)).chain(limit),
        ),
        Axis::around(label, all().map(|(_, found)| accuracy(found))),
    );
    if let Some(limit) = limit {
        plot.limit(limit, "budget");
    }
    for (baseline, found) in all() {
        let (class, mark) = look(&baseline.name);
        let title = format!("{}, seed {}: {:.2} %", baseline.name, found.seed, accuracy(found));
        plot.mark((latency(found), accuracy(found)), mark, class, &title);
    }
    let caption =
        "Blue: joint search. Green diamonds: the sequential pipeline. Orange squares: the other baselines.";
    figure(&plot.finish("Winners of joint search and of baselines"), caption)
}

fn look(name: &str) -> (&'static str, Mark) {
    match name {
        "joint" => ("searched", Mark::Dot),
        "sequential" => ("narrow", Mark::Diamond),
        _ => ("wide", Mark::Square),
    }
}
