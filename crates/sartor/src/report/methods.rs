//! Every method that has searched with this run's supernet, side by side.

use super::Facts;
use super::headline::amount;
use super::page::{Row, percent, remark, table};
use crate::progress::seconds;
use crate::standings::Standing;

/// One row per method; nothing unless there are several.
pub fn write(facts: &Facts) -> Option<String> {
    if facts.standings.len() < 2 {
        return None;
    }
    let own = facts.best.as_ref().map(|best| best.method.as_str());
    let rows: Vec<Row> = facts.standings.iter().map(|standing| row(standing, own)).collect();
    let head =
        ["method", "validation", "test", "latency", "energy", "training steps", "evaluations", "search"];
    let note = "Same supernet, chip, budget and fine-tuning. Validation: fine-tuned model; test: the same, looked at \
                once. Steps and evaluations: during the search alone. Search: time with measuring its proposals.";
    Some(table(&head, &rows) + &remark(note))
}

fn row(standing: &Standing, own: Option<&str>) -> Row {
    let best = &standing.best;
    let cost = |name: &str| best.best.costs.get(name).map_or(String::new(), |value| amount(name, *value));
    let score = standing.score.as_ref();
    let share = |value: Option<f64>| value.map_or(String::new(), percent);
    let cells = vec![
        best.method.clone(),
        share(score.map(|score| score.validation.value)),
        share(score.map(|score| score.test.value)),
        cost("latency_ms"),
        cost("energy_mj"),
        best.counters.training_steps.to_string(),
        best.counters.accuracy_evaluations.to_string(),
        standing.seconds.map_or(String::new(), seconds),
    ];
    Row { class: if own == Some(best.method.as_str()) { "chosen" } else { "" }, cells }
}
