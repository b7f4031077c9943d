//! The chosen network, block by block, with its bits.

use sartor_space::{Block, BlockBits, BlockChoices, Candidate};

use super::Facts;
use super::page::{Row, meter, remark, table};

const HEAD: [&str; 10] = [
    "block",
    "in → out",
    "size",
    "stride",
    "kernel",
    "width",
    "1×1 weights",
    "1×1 inputs",
    "k×k weights",
    "k×k inputs",
];

/// A table with bars.
pub fn write(facts: &Facts) -> Option<String> {
    let best = facts.best.as_ref()?;
    let candidate = Candidate::from_json(&best.best.candidate.to_string(), &facts.space).ok()?;
    let rows: Vec<Row> = facts
        .space
        .blocks()
        .iter()
        .enumerate()
        .map(|(index, choices)| row(index, choices, &candidate))
        .collect();
    let active = candidate.subnet.active().count();
    let note = format!(
        "{active} of {} blocks are active. Bars: width as a share of the widest choice, bits as a share of 8. \
         Stem, head and classifier run at 8 bits.",
        rows.len()
    );
    Some(table(&HEAD, &rows) + &remark(&note))
}

fn row(index: usize, choices: &BlockChoices, candidate: &Candidate) -> Row {
    let name = format!("stage {} block {}", choices.stage, choices.position);
    let Some(block) = candidate.subnet.blocks[index] else {
        let mut cells = vec![name, "skipped".to_owned()];
        cells.resize(HEAD.len(), String::new());
        return Row::plain(cells).styled("skipped");
    };
    let bits = candidate.policy.as_ref().map(|policy| policy.blocks[index]);
    Row { class: "", cells: cells(name, choices, block, bits) }
}

fn cells(name: String, choices: &BlockChoices, block: Block, bits: Option<BlockBits>) -> Vec<String> {
    let widest = choices.options.max_width() as f64;
    let mut cells = vec![
        name,
        format!("{} → {}", choices.in_channels, choices.out_channels),
        format!("{0}×{0}", choices.input_size),
        choices.stride.to_string(),
        format!("{0}×{0}", block.kernel),
        meter(&block.width.to_string(), block.width as f64 / widest),
    ];
    match bits {
        Some(bits) => cells.extend(bits.fields().map(|bits| meter(&bits.to_string(), f64::from(bits) / 8.0))),
        None => cells.extend(["float"; 4].map(str::to_owned)),
    }
    cells
}
