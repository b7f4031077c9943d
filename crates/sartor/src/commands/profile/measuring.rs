//! From measurements to a table.

use std::path::Path;

use anyhow::Result;
use sartor_hardware::units::{Cycles, Millijoules, Milliseconds};
use sartor_hardware::{CostTable, LayerKey, Provenance, Row};
use sartor_space::{Layer, SearchSpace};

use super::journal::Entry;
use crate::cli::ProfileArguments;
use crate::failure::Failure;

/// The keys of layers, each once and in their order.
pub fn distinct(layers: &[Layer]) -> Vec<LayerKey> {
    let mut seen = std::collections::HashSet::new();
    layers.iter().map(LayerKey::of).filter(|key| seen.insert(*key)).collect()
}

/// Where a measured table comes from.
pub fn provenance(
    arguments: &ProfileArguments,
    space: Option<&SearchSpace>,
    model: String,
    notes: Vec<String>,
) -> Provenance {
    Provenance {
        hardware: arguments.name.clone().unwrap_or_else(|| arguments.hardware.clone()),
        model,
        space: space.map_or(String::new(), |space| space.name().to_owned()),
        space_hash: space.map_or(String::new(), SearchSpace::hash),
        batch: arguments.batch as u64,
        marks_first: true,
        notes,
        ..Provenance::default()
    }
}

/// A table of what was measured, in the order of the keys.
///
/// # Errors
/// A measurement that is no price.
pub fn table(
    provenance: Provenance,
    keys: &[LayerKey],
    of: impl Fn(&LayerKey) -> Option<Entry>,
) -> Result<CostTable> {
    let rows = keys.iter().filter_map(|key| Some(row(*key, of(key)?))).collect();
    Ok(CostTable::from_rows(provenance, rows)?)
}

fn row(key: LayerKey, entry: Entry) -> Row {
    Row {
        key,
        cycles: Cycles::ZERO,
        latency_ms: Milliseconds(entry.latency_ms),
        energy_mj: Millijoules(entry.energy_mj.unwrap_or(0.0)),
        extrapolated: false,
    }
}

/// The file that a measured table must have: its journal lies beside it.
///
/// # Errors
/// When none was given.
pub fn out(arguments: &ProfileArguments) -> Result<&Path, Failure> {
    arguments.out.as_deref().ok_or_else(|| {
        Failure::bad_input(format!("--hardware {} needs a file to write", arguments.hardware)).hint(
            "give `--out costs.csv`; what is measured is kept beside it, so that it can go on after a stop",
        )
    })
}
