//! Tables from a cost model: a space's, or a list in its own order, with the breakdown if asked for.

use anyhow::Result;
use sartor_hardware::{Accelerator, CostTable, LayerKey, Provenance, Row, breakdown_csv, rows_csv};
use sartor_space::{Layer, SearchSpace};
use serde_json::json;
use std::collections::HashSet;

use super::layers::{Wanted, wanted};
use crate::cli::{Global, ProfileArguments};
use crate::stages::profile;
use crate::talk;

/// Prices layers with a chip's model.
///
/// # Errors
/// An unknown space or chip, or layers that the chip cannot run.
pub fn run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    let accelerator = profile::accelerator(&arguments.hardware, Some(arguments.batch))?;
    let Wanted { layers, space } = wanted(&arguments.layers)?;
    let provenance = provenance(&accelerator, space.as_ref())?;
    let text = match arguments.breakdown {
        true => breakdown_csv(&provenance, &layers, &accelerator.price_layers(&layers)?),
        false => rows_csv(&provenance, &rows(&accelerator, &layers)?),
    };
    super::write(&text, arguments.out.as_deref(), &format!("{} rows", layers.len()))?;
    warn_of_repeats(&layers);
    if global.json {
        let object = json!({ "rows": layers.len(), "provenance": provenance, "file": arguments.out });
        talk::data_line(&object.to_string())?;
    }
    Ok(())
}

/// One row per layer asked for; equal layers are priced once.
fn rows(accelerator: &Accelerator, layers: &[Layer]) -> Result<Vec<Row>> {
    let table = CostTable::build(accelerator, layers)?;
    Ok(layers.iter().filter_map(|layer| table.get(layer).copied()).collect())
}

fn provenance(accelerator: &Accelerator, space: Option<&SearchSpace>) -> Result<Provenance> {
    let mut provenance = Provenance::of(accelerator)?;
    if let Some(space) = space {
        (provenance.space, provenance.space_hash) = (space.name().to_owned(), space.hash());
    }
    Ok(provenance)
}

fn warn_of_repeats(layers: &[Layer]) {
    let distinct: HashSet<LayerKey> = layers.iter().map(LayerKey::of).collect();
    let repeated = layers.len() - distinct.len();
    if repeated > 0 {
        talk::warning_line(&format!(
            "{repeated} of the rows repeat a layer; as a cost table the file is refused"
        ));
        talk::hint_line("leave the repeats out of the list to search with it");
    }
}
