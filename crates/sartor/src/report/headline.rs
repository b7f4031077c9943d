//! What came out, in one glance.

use super::Facts;
use super::page::{paragraph, percent, remark, tile};
use crate::records::{Costs, Score};

/// The chosen model's accuracy and costs, beside the uniform references.
pub fn write(facts: &Facts) -> Option<String> {
    let best = facts.best.as_ref()?;
    let mut html = String::from("<div class=\"tiles\">\n");
    match facts.scores.first() {
        Some(score) => html += &tile(&percent(score.test.value), "test accuracy"),
        None => html += &tile(&percent(best.best.measured.value), "validation accuracy, short fine-tune"),
    }
    html += &cost_tiles(&best.best.costs, &best.budget);
    html += "</div>\n";
    html += &paragraph(&sentence(facts));
    html += &remark(&format!(
        "{} Space {}, seed {}.",
        budget_line(&best.budget, &best.largest),
        facts.space.name(),
        facts.seed
    ));
    Some(html)
}

fn cost_tiles(costs: &Costs, budget: &Costs) -> String {
    let shown = ["latency_ms", "energy_mj", "size_bytes", "bitops"];
    let tiles = shown.iter().filter_map(|name| Some((name, *costs.get(*name)?)));
    tiles.map(|(name, value)| tile(&amount(name, value), &described(name, budget.get(*name)))).collect()
}

fn described(name: &str, limit: Option<&f64>) -> String {
    let plain = plain_name(name);
    limit.map_or(plain.to_owned(), |limit| format!("{plain}, limit {}", amount(name, *limit)))
}

/// A cost with its unit.
pub fn amount(name: &str, value: f64) -> String {
    match name {
        "latency_ms" => format!("{value:.4} ms"),
        "energy_mj" => format!("{value:.4} mJ"),
        "size_bytes" | "peak_activation_bytes" => format!("{:.1} kB", value / 1000.0),
        _ if value >= 1e9 => format!("{:.2} G", value / 1e9),
        _ => format!("{:.2} M", value / 1e6),
    }
}

/// A cost's name in words.
pub fn plain_name(name: &str) -> &str {
    match name {
        "latency_ms" => "latency",
        "energy_mj" => "energy",
        "size_bytes" => "weights",
        "peak_activation_bytes" => "peak activation memory",
        "bitops" => "BitOps",
        "macs" => "MACs",
        other => other,
    }
}

fn sentence(facts: &Facts) -> String {
    let Some((winner, references)) = facts.scores.split_first() else {
        return "The chosen candidate has not been fine-tuned yet.".to_owned();
    };
    let beside: Vec<String> = references.iter().map(beside).collect();
    let beside = if beside.is_empty() {
        String::new()
    } else {
        format!(" Under the same budget: {}.", beside.join("; "))
    };
    format!("Model {} reaches {} of the test split on {}.{beside}", winner.id, winner.test, facts.hardware)
}

fn beside(score: &Score) -> String {
    format!("the best {} candidate {}", score.role, score.test)
}

fn budget_line(budget: &Costs, largest: &Costs) -> String {
    let one = |(name, limit): (&String, &f64)| {
        let share = largest
            .get(name)
            .map(|whole| format!(" ({:.0} % of the largest network at 8 bits)", 100.0 * limit / whole));
        format!("{} at most {}{}", plain_name(name), amount(name, *limit), share.unwrap_or_default())
    };
    let limits: Vec<String> = budget.iter().map(one).collect();
    if limits.is_empty() {
        "No budget was set.".to_owned()
    } else {
        format!("Budget: {}.", limits.join(", "))
    }
}
