//! How near searches by gradient come to their latency targets: a table and a picture of distances.

use std::fmt::Write;

use super::arms::Row;
use super::figures::Figure;
use super::written::alone;
use crate::report::svg::{Axis, Mark, Plot};

/// What is compared with the target.
type Latency = fn(&Row) -> Option<f64>;
/// Their names and shapes.
const KINDS: [(&str, Latency, Mark); 3] = [
    ("expected", |row| row.expected_latency_ms, Mark::Diamond),
    ("most probable path", |row| row.most_probable_latency_ms, Mark::Square),
    ("found", |row| row.latency_ms, Mark::Dot),
];
/// Colours of the arms.
const COLOURS: [&str; 3] = ["b", "a", "c"];

/// Percent above the target.
fn above(row: &Row, latency: Latency) -> Option<f64> {
    Some(100.0 * (latency(row)? / row.latency_limit_ms? - 1.0))
}

/// One row for every arm, target and seed.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| arm | target | seed | target (ms) | expected (ms) | most probable (ms) | found (ms) | search (s) | training steps |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let latency = |latency: Latency| match (latency(row), above(row, latency)) {
            (Some(value), Some(above)) => format!("{value:.4} ({above:+.2} %)"),
            _ => "–".to_owned(),
        };
        let cells = [
            row.arm.clone(),
            format!("{:.0} %", 100.0 * row.budget),
            row.seed.to_string(),
            row.latency_limit_ms.map_or("–".to_owned(), |limit| format!("{limit:.4}")),
            latency(KINDS[0].1),
            latency(KINDS[1].1),
            if row.note.is_empty() { latency(KINDS[2].1) } else { row.note.clone() },
            row.search_seconds.map_or("–".to_owned(), |seconds| format!("{seconds:.1}")),
            row.training_steps.to_string(),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// Distances from the target over the targets.
pub fn picture(figure: &Figure, rows: &[Row]) -> String {
    let all = || rows.iter().flat_map(|row| KINDS.map(|(name, latency, mark)| (row, name, latency, mark)));
    let mut plot = Plot::new(
        Axis::around("target (% of the largest network)", rows.iter().map(|row| 100.0 * row.budget)),
        Axis::around(
            "latency above the target (%)",
            all().filter_map(|(row, _, latency, _)| above(row, latency)),
        ),
    );
    let colour = |arm: &str| {
        let place = figure.arms.iter().position(|other| other.label == arm).unwrap_or(0);
        COLOURS[place.min(COLOURS.len() - 1)]
    };
    for (row, name, latency, mark) in all() {
        let Some(above) = above(row, latency) else { continue };
        let title = format!("{}, seed {}: {name} {above:+.2} %", row.arm, row.seed);
        plot.mark((100.0 * row.budget, above), mark, colour(&row.arm), &title);
    }
    let description = format!("{}: diamonds expected, squares most probable, dots found", figure.title);
    alone(
        &plot.finish(&description),
        figure.arms.iter().map(|arm| (arm.label, (colour(arm.label), Mark::Dot))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_relative_to_the_target() {
        let row = Row {
            arm: "proxyless".to_owned(),
            budget: 0.5,
            latency_ms: Some(1.96),
            latency_limit_ms: Some(2.0),
            expected_latency_ms: Some(2.1),
            ..Row::default()
        };
        let text = table(&[row]);
        let last = text.lines().last().unwrap();
        assert!(last.contains("| 50 % | 0 | 2.0000 | 2.1000 (+5.00 %) | – | 1.9600 (-2.00 %) |"), "{last}");
    }
}
