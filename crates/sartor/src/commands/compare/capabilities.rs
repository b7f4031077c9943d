//! `sartor compare --capabilities`: the papers' table 1, made of what each method's search was seen to do.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;
use crate::records::Counters;
use crate::standings::Standing;
use crate::talk;

/// The columns of EMS, table 1.
const COLUMNS: [&str; 5] = [
    "hardware-aware",
    "no training during search",
    "no evaluation during search",
    "channel pruning",
    "mixed precision",
];

/// EMS, table 1, as printed; shown beside what was measured, never mixed with it.
const PUBLISHED: [(&str, [bool; 5]); 6] = [
    ("proxyless", [true, false, false, false, false]),
    ("chamnet", [true, true, true, false, false]),
    ("spos", [true, true, false, false, true]),
    ("amc", [true, false, false, true, false]),
    ("haq", [true, false, false, false, true]),
    ("apq", [true, true, true, true, true]),
];

/// One row.
#[derive(Debug, Serialize)]
struct Row {
    method: String,
    folder: PathBuf,
    measured: [bool; 5],
    published: Option<[bool; 5]>,
    counters: Counters,
}

/// What counters say about a method.
fn marks(counters: &Counters) -> [bool; 5] {
    [
        counters.table_lookups > 0,
        counters.training_steps == 0,
        counters.accuracy_evaluations == 0 && counters.inferred_images == 0,
        counters.widths_per_block > 1,
        counters.bits_per_block > 1,
    ]
}

/// Prints the table.
///
/// # Errors
/// When nothing has been searched, or stdout is closed.
pub fn run(standings: &[Standing], json: bool) -> Result<()> {
    let rows: Vec<Row> = standings.iter().map(row).collect();
    if rows.is_empty() {
        let failure = Failure::bad_input("no method has searched here");
        return Err(failure
            .hint("`sartor run CONFIG --method NAME` first, for every method to compare")
            .into());
    }
    if json {
        let object = json!({ "columns": COLUMNS, "rows": rows });
        return Ok(talk::data_line(&object.to_string())?);
    }
    lines(&rows).iter().try_for_each(|line| Ok(talk::data_line(line)?))
}

fn row(standing: &Standing) -> Row {
    let (method, counters) = (standing.best.method.clone(), standing.best.counters);
    let published = PUBLISHED.iter().find(|(name, _)| *name == method).map(|(_, marks)| *marks);
    Row { measured: marks(&counters), folder: standing.folder.clone(), method, published, counters }
}

fn lines(rows: &[Row]) -> Vec<String> {
    let mut lines = vec![format!(
        "{:<11} {:>15} {:>13} {:>13} {:>9} {:>9}   {}",
        "method",
        "hardware-aware",
        "no training",
        "no evaluation",
        "channels",
        "bits",
        "counted during the search"
    )];
    lines.extend(rows.iter().map(line));
    lines.push(String::new());
    lines.push(
        "yes/no: measured here; in brackets: EMS, table 1. Proposals are measured after the search alike."
            .to_owned(),
    );
    lines.push("A space that offers widths lets every search of architectures choose channels.".to_owned());
    if rows.iter().any(|row| row.method == "apq" && row.counters.training_steps > 0) {
        lines.push("apq measured between its rounds; the papers' search is `search.rounds = 1`.".to_owned());
    }
    lines
}

fn line(row: &Row) -> String {
    let cell = |index: usize| {
        let word = |mark: bool| if mark { "yes" } else { "no" };
        let published = row.published.map(|marks| format!(" ({})", word(marks[index])));
        format!("{}{}", word(row.measured[index]), published.unwrap_or_default())
    };
    let Counters { training_steps, accuracy_evaluations, inferred_images, .. } = row.counters;
    let Counters { predictor_queries, table_lookups, widths_per_block, bits_per_block, .. } = row.counters;
    format!(
        "{:<11} {:>15} {:>13} {:>13} {:>9} {:>9}   {training_steps} steps, {accuracy_evaluations} evaluations, \
         {inferred_images} images, {predictor_queries} predictions, {table_lookups} look-ups, \
         {widths_per_block} widths and {bits_per_block} bit settings a block",
        row.method,
        cell(0),
        cell(1),
        cell(2),
        cell(3),
        cell(4)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_follow_from_counts() {
        let nothing = Counters::default();
        let cases = [
            (nothing, [false, true, true, false, false]),
            (Counters { table_lookups: 9, training_steps: 1, ..nothing }, [true, false, true, false, false]),
            (Counters { accuracy_evaluations: 1, ..nothing }, [false, true, false, false, false]),
            (Counters { inferred_images: 1, ..nothing }, [false, true, false, false, false]),
            (Counters { widths_per_block: 2, bits_per_block: 2, ..nothing }, [false, true, true, true, true]),
            (
                Counters { widths_per_block: 1, bits_per_block: 1, ..nothing },
                [false, true, true, false, false],
            ),
        ];
        for (counters, expected) in cases {
            assert_eq!(marks(&counters), expected, "{counters:?}");
        }
    }
}
