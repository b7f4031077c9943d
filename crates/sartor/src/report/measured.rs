//! Is the search exploiting the predictor? What it said against what was measured.

use super::Facts;
use super::page::{figure, remark};
use super::pareto::look;
use super::svg::{Axis, Plot};
use crate::records::Measured;
use crate::statistics::mean_with_interval;

/// Picture and bias.
pub fn write(facts: &Facts) -> Option<String> {
    if facts.front.is_empty() {
        return None;
    }
    let span =
        || facts.front.iter().flat_map(|point| [100.0 * point.predicted, 100.0 * point.measured.value]);
    let intervals = facts.front.iter().flat_map(|point| <[f64; 2]>::from(point.measured.interval()));
    let tall = span().chain(intervals.map(|share| 100.0 * share));
    let mut plot = Plot::new(
        Axis::around("predicted accuracy (%)", span()),
        Axis::around("measured accuracy (%)", tall),
    );
    let (low, high) =
        span().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    plot.line(&[(low, low), (high, high)], "ideal");
    for point in &facts.front {
        let (class, mark) =
            look(&point.role, facts.best.as_ref().is_some_and(|best| best.best.id == point.id));
        let (low, high) = point.measured.interval();
        plot.interval(100.0 * point.predicted, (100.0 * low, 100.0 * high), class);
        let title = format!("{} {}", point.role, point.id);
        plot.mark((100.0 * point.predicted, 100.0 * point.measured.value), mark, class, &title);
    }
    let picture = figure(&plot.finish("Predicted against measured accuracy"), "Dotted: predicted = measured");
    Some(format!("<div class=\"pictures\">\n{picture}<div>{}</div></div>\n", remark(&bias(facts))))
}

/// Predicted minus measured, in points: over everything, then round by round.
fn bias(facts: &Facts) -> String {
    let mut text = format!(
        "Over {} measured candidates the predictor says {} points more than was measured. A positive bias is expected: \
         the search picks candidates on which the predictor errs upwards.",
        facts.front.len(),
        mean(&facts.front.iter().collect::<Vec<_>>())
    );
    let rounds = facts.front.iter().map(|point| point.round).max().unwrap_or(1);
    if rounds > 1 {
        let one = |round: usize| {
            let mine: Vec<&Measured> = facts.front.iter().filter(|point| point.round == round).collect();
            format!("round {round}: {}", mean(&mine))
        };
        let all: Vec<String> = (1..=rounds).map(one).collect();
        text += &format!(" What was measured is learnt before the next round: {}.", all.join(", "));
    }
    text
}

fn mean(points: &[&Measured]) -> String {
    let differences: Vec<f64> =
        points.iter().map(|point| 100.0 * (point.predicted - point.measured.value)).collect();
    let (mean, half) = mean_with_interval(&differences);
    let spread = half.map_or(String::new(), |half| format!(" ± {half:.2} (95 %)"));
    format!("{mean:+.2}{spread}")
}
