//! # Importing tables made elsewhere
//!
//! - A dictionary in JSON, as the authors of APQ keep theirs: `"(in, out, size, k, stride, pad, groups)-W4A8"` →
//!   latency in ms and energy in mJ, as `[latency, energy]` or as `{"latency": …, "energy": …}`.
//! - An array per layer as CSV, as the authors of HAQ keep theirs (53 layers × 8 weight widths × 8 activation
//!   widths): one line a layer, latencies in ms, activation widths fastest, both counted from 1 bit. It has no
//!   energies and no shapes; the network gives the shapes.
//!
//! - Any CSV with the columns of a layer and its costs ([`import_columns`]).
//!
//! The first two tell no input layer from an inner one, and hold no cycles.

mod columns;

use std::fmt;

use sartor_space::{Layer, Workload};
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use super::csv::{bad_cell, decimal, layer_key, whole};
use super::{CostTable, LayerKey, Provenance, Row};
use crate::HardwareError;
use crate::units::{Cycles, Millijoules, Milliseconds};

pub use columns::import_columns;

const DICTIONARY: &str = "JSON dictionary";

/// Reads a JSON dictionary.
///
/// # Errors
/// Bad JSON or keys, negative or non-finite costs, a second entry for a layer; entries count from 1.
pub fn import_dictionary(text: &str, hardware: &str) -> Result<CostTable, HardwareError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let bad = |error: serde_json::Error| HardwareError::BadImport {
        format: DICTIONARY,
        message: error.to_string(),
    };
    let entries = json.deserialize_map(Entries).map_err(bad)?;
    json.end().map_err(bad)?;
    let rows = entries.iter().enumerate().map(|(position, (key, value))| entry(position + 1, key, value));
    CostTable::from_rows(imported(hardware, DICTIONARY), rows.collect::<Result<_, _>>()?)
}

fn imported(hardware: &str, format: &str) -> Provenance {
    let model = format!("imported from a {format}");
    Provenance { hardware: hardware.to_owned(), model, batch: 1, ..Provenance::default() }
}

/// Keeps repeated keys, which a map would swallow.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object from layers to costs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = vec![];
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

fn entry(position: usize, key: &str, value: &Value) -> Result<Row, HardwareError> {
    let cells = split_key(key).ok_or_else(|| {
        bad_cell(position, "the key", "`(in, out, size, k, stride, pad, groups)-W4A8`", key)
    })?;
    let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
    let key = layer_key(position, &cells)?;
    let (latency, energy) = match value {
        Value::Array(pair) => (pair.first(), pair.get(1)),
        _ => (one_of(value, "latency", "latency_ms"), one_of(value, "energy", "energy_mj")),
    };
    let cost = |column: &str, value: Option<&Value>| match value.and_then(Value::as_f64) {
        Some(cost) => Ok(cost),
        None => {
            Err(bad_cell(position, column, "a number", &value.map_or("nothing".into(), Value::to_string)))
        }
    };
    let (latency_ms, energy_mj) = (cost("latency", latency)?, cost("energy", energy)?);
    Ok(row(key, latency_ms, energy_mj))
}

fn row(key: LayerKey, latency_ms: f64, energy_mj: f64) -> Row {
    let (latency_ms, energy_mj) = (Milliseconds(latency_ms), Millijoules(energy_mj));
    Row { key, cycles: Cycles::ZERO, latency_ms, energy_mj, extrapolated: false }
}

fn one_of<'a>(value: &'a Value, name: &str, other: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| value.get(other))
}

/// The nine numbers of `(…)-W4A8`.
fn split_key(key: &str) -> Option<Vec<String>> {
    let (shape, bits) = key.trim().strip_prefix('(')?.split_once(')')?;
    let (weight, activation) = bits.trim().strip_prefix("-W")?.split_once('A')?;
    let shape = shape.split(',').map(|cell| cell.trim().to_owned());
    let cells: Vec<String> = shape.chain([weight.to_owned(), activation.to_owned()]).collect();
    (cells.len() == 9).then_some(cells)
}

/// Reads an array per layer for the layers of a network, one line each and in their order. Layers of equal shape
/// get the mean of their lines.
///
/// # Errors
/// Another number of lines than the network has layers, a line whose length is no square, unreadable, negative or
/// non-finite latencies.
pub fn import_per_layer(text: &str, network: &Workload, hardware: &str) -> Result<CostTable, HardwareError> {
    let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    let lines: Vec<_> = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
    if lines.len() != network.layers.len() {
        let message = format!("{} lines for the {} layers of the network", lines.len(), network.layers.len());
        return Err(HardwareError::BadImport { format: "array per layer", message });
    }
    let mut sums: Vec<(LayerKey, f64, f64)> = vec![];
    for ((number, line), layer) in lines.into_iter().zip(&network.layers) {
        for (key, latency) in per_layer_line(number, line, layer)? {
            match sums.iter_mut().find(|(other, ..)| *other == key) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + latency, *count + 1.0),
                None => sums.push((key, latency, 1.0)),
            }
        }
    }
    let rows = sums.into_iter().map(|(key, sum, count)| row(key, sum / count, 0.0)).collect();
    let mut provenance = imported(hardware, "CSV array per layer");
    provenance.notes.push("energies are not in the source and are 0".to_owned());
    CostTable::from_rows(provenance, rows)
}

fn per_layer_line(number: usize, line: &str, layer: &Layer) -> Result<Vec<(LayerKey, f64)>, HardwareError> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let widths = cells.len().isqrt();
    if widths * widths != cells.len() || widths > 32 {
        return Err(bad_cell(number, "the row", "a square number of latencies", &cells.len().to_string()));
    }
    let priced = |(position, cell): (usize, &&str)| {
        let weight_bits = whole(number, "weight_bits", &(position / widths + 1).to_string())? as u8;
        let activation_bits = (position % widths + 1) as u8;
        let key = LayerKey { weight_bits, activation_bits, first: false, ..LayerKey::of(layer) };
        Ok((key, decimal(number, "latency_ms", cell)?))
    };
    cells.iter().enumerate().map(priced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sartor_space::networks;

    #[test]
    fn reads_the_dictionary_in_both_shapes() {
        let text = r#"{"(16, 96, 112, 1, 1, 0, 1)-W4A4": [0.8, 1.3],
            "(96, 96, 112, 3, 2, 1, 96)-W8A6": {"latency": 0.3, "energy": 0.5}}"#;
        let table = import_dictionary(text, "chip").unwrap();
        let rows: Vec<_> =
            table.rows().iter().map(|row| (row.key.to_string(), row.latency_ms.0, row.energy_mj.0)).collect();
        assert_eq!(rows[0], ("(16, 96, 112, 1, 1, 0, 1)-W4A4".to_owned(), 0.8, 1.3));
        assert_eq!(rows[1], ("(96, 96, 112, 3, 2, 1, 96)-W8A6".to_owned(), 0.3, 0.5));
    }

    #[test]
    fn refuses_bad_dictionaries() {
        let good = r#""(16, 96, 112, 1, 1, 0, 1)-W4A4": [0.8, 1.3]"#;
        let cases = [
            ("{".to_owned(), "cannot read"),
            ("[]".to_owned(), "cannot read"),
            (format!("{{{good}, {good}}}"), "second row"),
            (r#"{"(16, 96)-W4A4": [0.8, 1.3]}"#.to_owned(), "the key"),
            (good.replace("0.8", "-0.8").replacen('"', "{\"", 1) + "}", "finite number"),
            (good.replace("0.8", "\"x\"").replacen('"', "{\"", 1) + "}", "latency must be a number"),
        ];
        for (text, expected) in cases {
            let error = import_dictionary(&text, "chip").unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn reads_an_array_per_layer() {
        let network = networks::fixed("mobilenet-v2", 8, 8).unwrap();
        let line = (1..=64).map(|cell| cell.to_string()).collect::<Vec<_>>().join(",");
        let text = vec![line; network.layers.len()].join("\n");
        let table = import_per_layer(&text, &network, "board").unwrap();
        assert_eq!(table.price(&network).unwrap().latency_ms, Milliseconds(53.0 * 64.0));
        let four_six = networks::fixed("mobilenet-v2", 4, 6).unwrap();
        assert_eq!(table.price(&four_six).unwrap().latency_ms, Milliseconds(53.0 * (3.0 * 8.0 + 6.0)));
        assert!(import_per_layer("1,2,3,4", &network, "board").is_err());
    }
}
