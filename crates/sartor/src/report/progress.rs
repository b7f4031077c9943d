//! How the search went.

use super::Facts;
use super::page::{figure, remark};
use super::svg::{Axis, Plot};

/// Best and mean predicted accuracy by generation.
pub fn write(facts: &Facts) -> Option<String> {
    let best = facts.best.as_ref()?;
    let points = |value: fn(&crate::records::Generation) -> f64| -> Vec<(f64, f64)> {
        facts.history.iter().map(|row| (row.generation as f64, 100.0 * value(row))).collect()
    };
    let (bests, means) = (points(|row| row.best), points(|row| row.mean));
    let both = || bests.iter().chain(&means);
    let x = Axis::around("generation", both().map(|point| point.0));
    let mut plot = Plot::new(x, Axis::around("predicted accuracy (%)", both().map(|point| point.1)));
    plot.line(&means, "wide");
    plot.line(&bests, "searched");
    let picture = figure(
        &plot.finish("Search progress"),
        "Blue, above: the best so far. Orange, below: mean of the population.",
    );
    let text = format!(
        "{} candidates were scored; the search stopped: {}. Of random candidates, {:.1} % meet the budget.",
        best.evaluated,
        best.stop_reason,
        100.0 * best.feasible_share
    );
    Some(format!("<div class=\"pictures\">\n{picture}<div>{}</div></div>\n", remark(&text)))
}
