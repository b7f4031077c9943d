//! How the supernet was trained.

use super::Facts;
use super::page::{figure, remark};
use super::svg::{Axis, Plot};

/// Training loss by epoch, and what the phases were.
pub fn write(facts: &Facts) -> Option<String> {
    let supernet = facts.supernet.as_ref()?;
    let points: Vec<(f64, f64)> =
        (1..).map(f64::from).zip(supernet.epochs.iter().map(|epoch| epoch.loss)).collect();
    let x = Axis::around("epoch, all phases", points.iter().map(|point| point.0));
    let mut plot = Plot::new(x, Axis::around("training loss", points.iter().map(|point| point.1)));
    plot.line(&points, "searched");
    for (index, _) in starts(facts) {
        plot.limit(index as f64 + 0.5, "");
    }
    let picture = figure(&plot.finish("Supernet training loss"), "Dashed: a new phase begins");
    let phases: Vec<String> = starts(facts).map(|(_, phase)| phase.to_owned()).collect();
    let text = format!(
        "Phases: {}. Losses of different phases are not comparable: with distillation a second term is added.",
        phases.join(" → ")
    );
    Some(format!("<div class=\"pictures\">\n{picture}<div>{}</div></div>\n", remark(&text)))
}

/// Index of the first epoch of each phase, and the phase.
fn starts(facts: &Facts) -> impl Iterator<Item = (usize, &str)> {
    let epochs = facts.supernet.as_ref().map_or(&[][..], |supernet| supernet.epochs.as_slice());
    epochs
        .iter()
        .enumerate()
        .filter(|(_, epoch)| epoch.epoch == 1)
        .map(|(index, epoch)| (index, epoch.phase.as_str()))
}
