//! Accuracy against latency and energy: everything that was measured after the search.

use super::Facts;
use super::headline::{amount, plain_name};
use super::page::{figure, remark};
use super::svg::{Axis, Mark, Plot};
use crate::records::{Best, Measured};

/// One picture per cost.
pub fn write(facts: &Facts) -> Option<String> {
    let best = facts.best.as_ref()?;
    let mut html = String::from("<div class=\"pictures\">\n");
    html += &picture(facts, best, "latency_ms", "ms")?;
    html += &picture(facts, best, "energy_mj", "mJ")?;
    html += "</div>\n";
    html += &remark(
        "Every mark was measured on the validation split after the short quantization-aware fine-tune, with its 95 % \
         interval. Blue dots: searched mixed-precision candidates, the chosen one ringed. Orange squares: uniform 8 \
         bits. Green diamonds: uniform 4 bits. Dashed: the budget.",
    );
    Some(html)
}

fn points<'a>(facts: &'a Facts, best: &'a Best) -> Vec<&'a Measured> {
    let chosen = &best.best;
    let others = facts.front.iter().filter(|other| other.id != chosen.id);
    let mut points: Vec<&Measured> = others.collect();
    points.push(chosen);
    points
}

fn picture(facts: &Facts, best: &Best, metric: &str, unit: &str) -> Option<String> {
    let points = points(facts, best);
    let cost = |measured: &Measured| measured.costs.get(metric).copied();
    let xs = points.iter().filter_map(|point| cost(point)).chain(best.budget.get(metric).copied());
    let ys = points
        .iter()
        .flat_map(|point| <[f64; 2]>::from(point.measured.interval()))
        .map(|share| 100.0 * share);
    let label = format!("{} ({unit}) on {}", plain_name(metric), facts.hardware);
    let mut plot = Plot::new(Axis::around(&label, xs), Axis::around("validation accuracy (%)", ys));
    if let Some(limit) = best.budget.get(metric) {
        plot.limit(*limit, "budget");
    }
    for point in &points {
        draw(&mut plot, point, cost(point)?, metric, point.id == best.best.id);
    }
    let caption = format!("Accuracy against {}", plain_name(metric));
    Some(figure(&plot.finish(&caption), &caption))
}

fn draw(plot: &mut Plot, point: &Measured, x: f64, metric: &str, chosen: bool) {
    let (class, mark) = look(&point.role, chosen);
    let (low, high) = point.measured.interval();
    plot.interval(x, (100.0 * low, 100.0 * high), class);
    let title = format!("{} {}: {}, {}", point.role, point.id, point.measured, amount(metric, x));
    plot.mark((x, 100.0 * point.measured.value), mark, class, &title);
}

/// Colour and shape of a role.
pub fn look(role: &str, chosen: bool) -> (&'static str, Mark) {
    match role {
        "uniform-8" => ("wide", Mark::Square),
        role if role.starts_with("uniform") => ("narrow", Mark::Diamond),
        _ if chosen => ("searched", Mark::Chosen),
        _ => ("searched", Mark::Dot),
    }
}
