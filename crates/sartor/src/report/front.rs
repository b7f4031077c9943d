//! A page with nothing but a front.

use sartor_search::{Evaluation, Metric};

use super::page::{assemble, figure, remark};
use super::svg::{Axis, Mark, Plot};

/// Accuracy against latency and against energy.
pub fn front_page(name: &str, hardware: &str, members: &[Evaluation]) -> String {
    let pictures = picture(hardware, members, Metric::LatencyMs, "latency (ms)")
        + &picture(hardware, members, Metric::EnergyMj, "energy (mJ)");
    let text = format!(
        "{} candidates, none of them dominated in predicted accuracy, latency and energy together. Nothing here was \
         measured: `sartor search` measures what it recommends.",
        members.len()
    );
    let html = format!("<div class=\"pictures\">\n{pictures}</div>\n{}", remark(&text));
    assemble(&format!("Sartor: front of {name}"), std::iter::once(("Accuracy against cost", html)))
}

fn picture(hardware: &str, members: &[Evaluation], metric: Metric, label: &str) -> String {
    let point = |member: &Evaluation| (member.costs.get(metric), 100.0 * member.score);
    let (xs, ys) = (members.iter().map(|m| point(m).0), members.iter().map(|m| point(m).1));
    let mut plot = Plot::new(
        Axis::around(&format!("{label} on {hardware}"), xs),
        Axis::around("predicted accuracy (%)", ys),
    );
    for member in members {
        let (x, y) = point(member);
        plot.mark((x, y), Mark::Dot, "searched", &format!("{}: {y:.2} %, {x:.4}", member.candidate.id()));
    }
    figure(&plot.finish(&format!("Accuracy against {label}")), &format!("Predicted accuracy against {label}"))
}
