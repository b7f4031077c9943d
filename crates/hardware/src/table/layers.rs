//! # Lists of layers to price
//!
//! The first nine columns of the table's header, optionally `first` (0 or 1), one layer a line.

use std::fmt::Write;

use sartor_space::Layer;

use super::LayerKey;
use super::csv::{LAYER_COLUMNS, bad_cell, flag, layer_key};
use crate::HardwareError;

/// Reads a list of layers; further columns are ignored, so that a cost table is a list too.
///
/// # Errors
/// Wrong columns or unreadable cells, with their line.
pub fn profile_layers_csv(text: &str) -> Result<Vec<Layer>, HardwareError> {
    let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let mut lines = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (number, header) = lines.next().unwrap_or((1, ""));
    let columns: Vec<&str> = header.split(',').map(str::trim).collect();
    if !columns.starts_with(&LAYER_COLUMNS) {
        let expected = LAYER_COLUMNS.join(",");
        return Err(HardwareError::WrongHeader { line: number, expected, got: header.to_owned() });
    }
    let first = columns.iter().position(|&column| column == "first");
    lines.map(|(number, line)| layer(number, line, columns.len(), first)).collect()
}

fn layer(number: usize, line: &str, columns: usize, first: Option<usize>) -> Result<Layer, HardwareError> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    if cells.len() != columns {
        return Err(bad_cell(number, "the row", &format!("{columns} cells"), line));
    }
    let mut key = layer_key(number, &cells)?;
    if let Some(column) = first {
        key.first = flag(number, cells[column])?;
    }
    Ok(key.layer(&format!("line {number}")))
}

/// The list of these layers, as [`profile_layers_csv`] reads it: for people who measure by other means.
pub fn layers_csv(layers: &[Layer]) -> String {
    let mut text = format!("{},first\n", LAYER_COLUMNS.join(","));
    for key in layers.iter().map(LayerKey::of) {
        let _ = writeln!(text, "{},{}", key.columns(), u8::from(key.first));
    }
    text
}
