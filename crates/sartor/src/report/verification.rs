//! What a real runtime makes of the exported files.

use super::Facts;
use super::page::{Row, percent, remark, table};
use crate::records::{FormatVerification, Verification};

const HEAD: [&str; 7] =
    ["model", "format", "same top-1", "accuracy", "reference", "largest difference", "runtime"];

/// One row per model and format.
pub fn write(facts: &Facts) -> Option<String> {
    if facts.verifications.is_empty() {
        return None;
    }
    let rows: Vec<Row> = facts.verifications.iter().flat_map(rows).collect();
    let mut html = table(&HEAD, &rows);
    html += &remark(
        "The reference is Sartor's own integer executor on the same images of the test split; `same top-1` is the share \
         of images on which both answer alike.",
    );
    html.extend(
        facts.verifications.iter().find_map(skipped).map(|reason| remark(&format!("Skipped: {reason}."))),
    );
    Some(html)
}

fn skipped(verification: &Verification) -> Option<&str> {
    verification.formats.values().find_map(|outcome| match outcome {
        FormatVerification::Skipped { reason } => Some(reason.as_str()),
        FormatVerification::Run { .. } => None,
    })
}

fn rows(verification: &Verification) -> Vec<Row> {
    let model = format!("{} {}", verification.role, verification.id);
    let reference = percent(verification.reference.value);
    let row = |(format, outcome): (&String, &FormatVerification)| match outcome {
        FormatVerification::Run { agreement, accuracy, max_difference, runtime, .. } => Row::plain([
            model.clone(),
            format.clone(),
            percent(*agreement),
            format!("{} of {} images", percent(accuracy.value), accuracy.images),
            reference.clone(),
            format!("{max_difference:.3e}"),
            runtime.clone(),
        ]),
        FormatVerification::Skipped { .. } => Row::plain([
            model.clone(),
            format.clone(),
            "skipped".to_owned(),
            String::new(),
            reference.clone(),
            String::new(),
            "none".to_owned(),
        ]),
    };
    verification.formats.iter().map(row).collect()
}
