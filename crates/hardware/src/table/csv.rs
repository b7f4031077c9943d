//! # The table as CSV
//!
//! `#` lines with the provenance, the contract's header, one row a layer. Floats are written with the fewest digits
//! that read back to the same bits.

use std::collections::HashSet;
use std::fmt::Write;

use super::{CostTable, LayerKey, Provenance, Row};
use crate::HardwareError;
use crate::units::{Cycles, Millijoules, Milliseconds};

/// The first nine columns.
pub(super) const LAYER_COLUMNS: [&str; 9] = [
    "in_channels",
    "out_channels",
    "input_size",
    "kernel",
    "stride",
    "padding",
    "groups",
    "weight_bits",
    "activation_bits",
];
/// The last three.
const COST_COLUMNS: [&str; 3] = ["cycles", "latency_ms", "energy_mj"];
const TITLE: &str = "sartor cost table 1";
const UNITS: &str = "cycles, ms, mJ";

/// Priced layers as text: the table's format, in any order and with repeats. With repeats it is a list of prices, and
/// no table to read back.
pub fn rows_csv(provenance: &Provenance, rows: &[Row]) -> String {
    let keys: HashSet<LayerKey> = rows.iter().map(|row| row.key).collect();
    let both = rows.iter().any(|row| row.key.first && keys.contains(&inner(row.key)));
    let mut text = provenance_lines(provenance, rows, both);
    let _ = writeln!(text, "{}{}", contract(), if both { ",first" } else { "" });
    for row in rows {
        let first = if both { format!(",{}", u8::from(row.key.first)) } else { String::new() };
        let _ = writeln!(text, "{}{first}", row_line(row));
    }
    text
}

/// The contract's twelve cells.
pub(super) fn row_line(row: &Row) -> String {
    let Row { key, cycles, latency_ms, energy_mj, .. } = row;
    format!("{},{},{},{}", key.columns(), cycles.0, latency_ms.0, energy_mj.0)
}

/// Everything before the header.
pub(super) fn provenance_lines(provenance: &Provenance, rows: &[Row], first_is_column: bool) -> String {
    let Provenance { hardware, spec_hash, model, space, space_hash, batch, additivity, .. } = provenance;
    let first = |row: &&Row| row.key.first && !first_is_column;
    let (batch, first) = (batch.to_string(), marked(rows, first));
    let extrapolated = marked(rows, |row| row.extrapolated);
    let first_marks = if provenance.marks_first { "marked" } else { "not marked" };
    let additivity = additivity.map_or(String::new(), |error| error.to_string());
    let lines = [
        ("hardware", hardware.as_str()),
        ("spec_hash", spec_hash),
        ("model", model),
        ("space", space),
        ("space_hash", space_hash),
        ("batch", &batch),
        ("units", UNITS),
        ("additivity", &additivity),
        ("input_layers", first_marks),
        ("first", &first),
        ("extrapolated", &extrapolated),
    ];
    let notes = provenance.notes.iter().map(|note| ("note", note.as_str()));
    let written = lines.into_iter().chain(notes).filter(|(_, value)| !value.is_empty());
    written.fold(format!("# {TITLE}\n"), |text, (key, value)| format!("{text}# {key}: {}\n", one_line(value)))
}

/// Layers of the rows that have a mark, each once, separated by semicolons.
fn marked(rows: &[Row], mark: impl Fn(&&Row) -> bool) -> String {
    let mut seen = HashSet::new();
    let marked = rows.iter().filter(mark).filter(|row| seen.insert(row.key));
    marked.map(|row| row.key.columns()).collect::<Vec<_>>().join("; ")
}

impl CostTable {
    /// The table as text.
    pub fn to_csv(&self) -> String {
        rows_csv(&self.provenance, &self.rows)
    }

    /// Reads what [`to_csv`](Self::to_csv) wrote, or a table somebody made with the same columns.
    ///
    /// # Errors
    /// Wrong columns or units, unreadable cells, negative or non-finite costs, a second row for a layer; each with
    /// its line.
    pub fn from_csv(text: &str) -> Result<Self, HardwareError> {
        let mut reading = Reading::default();
        for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())) {
            match line.strip_prefix('#') {
                Some(comment) => reading.comment(number, comment.trim())?,
                None if line.is_empty() => {}
                None if reading.header.is_none() => reading.header = Some(header(number, line)?),
                None => reading.row(number, line)?,
            }
        }
        reading.finish()
    }
}

/// A table while it is read.
#[derive(Default)]
struct Reading {
    provenance: Provenance,
    header: Option<Header>,
    first: HashSet<String>,
    extrapolated: HashSet<String>,
    rows: Vec<(usize, Row)>,
}

/// Whether the optional column is there.
#[derive(Clone, Copy)]
struct Header {
    first: bool,
}

impl Reading {
    fn comment(&mut self, line: usize, comment: &str) -> Result<(), HardwareError> {
        let Some((key, value)) = comment.split_once(": ") else {
            return Ok(());
        };
        let layers = || value.split(';').map(|layer| layer.trim().to_owned());
        match key {
            "hardware" => self.provenance.hardware = value.to_owned(),
            "spec_hash" => self.provenance.spec_hash = value.to_owned(),
            "model" => self.provenance.model = value.to_owned(),
            "space" => self.provenance.space = value.to_owned(),
            "space_hash" => self.provenance.space_hash = value.to_owned(),
            "batch" => self.provenance.batch = whole(line, "batch", value)?,
            "units" => check_units(line, value)?,
            "additivity" => self.provenance.additivity = value.parse().ok(),
            "input_layers" => self.provenance.marks_first = value == "marked",
            "first" => self.first.extend(layers()),
            "extrapolated" => self.extrapolated.extend(layers()),
            "note" => self.provenance.notes.push(value.to_owned()),
            _ => self.provenance.notes.push(comment.to_owned()),
        }
        Ok(())
    }

    fn row(&mut self, number: usize, line: &str) -> Result<(), HardwareError> {
        let header = self.header.unwrap_or(Header { first: false });
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let expected = LAYER_COLUMNS.len() + COST_COLUMNS.len() + usize::from(header.first);
        if cells.len() != expected {
            return Err(bad_cell(number, "the row", &format!("{expected} cells"), line));
        }
        let mut key = layer_key(number, &cells)?;
        key.first = if header.first { flag(number, cells[12])? } else { self.first.contains(&key.columns()) };
        let row = Row {
            key,
            cycles: Cycles(whole(number, "cycles", cells[9])?),
            latency_ms: Milliseconds(decimal(number, "latency_ms", cells[10])?),
            energy_mj: Millijoules(decimal(number, "energy_mj", cells[11])?),
            extrapolated: self.extrapolated.contains(&key.columns()),
        };
        self.rows.push((number, row));
        Ok(())
    }

    fn finish(mut self) -> Result<CostTable, HardwareError> {
        if self.header.is_none() {
            return Err(HardwareError::WrongHeader { line: 1, expected: contract(), got: String::new() });
        }
        self.provenance.marks_first |= self.rows.iter().any(|(_, row)| row.key.first);
        CostTable::from_lines(self.provenance, self.rows.into_iter())
    }
}

fn header(number: usize, line: &str) -> Result<Header, HardwareError> {
    let plain = line.split(',').map(str::trim).collect::<Vec<_>>().join(",");
    let contract = contract();
    match plain.strip_prefix(&contract) {
        Some("") => Ok(Header { first: false }),
        Some(",first") => Ok(Header { first: true }),
        _ => Err(HardwareError::WrongHeader { line: number, expected: contract, got: line.to_owned() }),
    }
}

/// The twelve columns.
pub(super) fn contract() -> String {
    LAYER_COLUMNS.into_iter().chain(COST_COLUMNS).collect::<Vec<_>>().join(",")
}

pub(super) fn check_units(line: usize, got: &str) -> Result<(), HardwareError> {
    if got == UNITS {
        return Ok(());
    }
    Err(HardwareError::WrongUnits { line, expected: UNITS, got: got.to_owned() })
}

/// The key in the first nine cells; `cells` holds at least nine.
pub(super) fn layer_key(line: usize, cells: &[&str]) -> Result<LayerKey, HardwareError> {
    let size = |column: usize| whole(line, LAYER_COLUMNS[column], cells[column]);
    let bits = |column: usize| {
        let value = size(column)?;
        let bits = u8::try_from(value).ok().filter(|bits| (1..=32).contains(bits));
        bits.ok_or_else(|| bad_cell(line, LAYER_COLUMNS[column], "1 to 32 bits", cells[column]))
    };
    Ok(LayerKey {
        in_channels: size(0)? as usize,
        out_channels: size(1)? as usize,
        input_size: size(2)? as usize,
        kernel: size(3)? as usize,
        stride: size(4)? as usize,
        padding: size(5)? as usize,
        groups: size(6)? as usize,
        weight_bits: bits(7)?,
        activation_bits: bits(8)?,
        first: false,
    })
}

pub(super) fn flag(line: usize, cell: &str) -> Result<bool, HardwareError> {
    match cell {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(bad_cell(line, "first", "0 or 1", cell)),
    }
}

pub(super) fn whole(line: usize, column: &str, cell: &str) -> Result<u64, HardwareError> {
    cell.parse().map_err(|_| bad_cell(line, column, "a whole number of at least 0", cell))
}

pub(super) fn decimal(line: usize, column: &str, cell: &str) -> Result<f64, HardwareError> {
    let number: f64 = cell.parse().map_err(|_| bad_cell(line, column, "a number", cell))?;
    if number.is_finite() && number >= 0.0 {
        return Ok(number);
    }
    Err(HardwareError::BadCost { line, column: column.to_owned(), got: cell.to_owned() })
}

pub(super) fn bad_cell(line: usize, column: &str, expected: &str, got: &str) -> HardwareError {
    let owned = str::to_owned;
    HardwareError::BadCell { line, column: owned(column), expected: owned(expected), got: owned(got) }
}

fn inner(key: LayerKey) -> LayerKey {
    LayerKey { first: false, ..key }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
