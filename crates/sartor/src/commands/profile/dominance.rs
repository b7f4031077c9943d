//! `sartor profile dominance`: which bit-widths never pay.

use anyhow::Result;
use sartor_hardware::dominance::{Dominance, Operand, Pays, Priced, Saving, dominance};
use sartor_hardware::{Accelerator, CostTable, LayerKey, reachable_layers};
use sartor_space::Layer;
use serde_json::json;

use crate::cli::{DominanceArguments, Global};
use crate::config::load_space;
use crate::failure::Failure;
use crate::stages::profile::Source;
use crate::talk;

/// Space that is compared when none is named.
const DEFAULT_SPACE: &str = "apq";

/// Compares every width with the next wider one.
///
/// # Errors
/// An unknown space or chip, layers that cannot be priced, or fewer than two widths.
pub fn run(arguments: &DominanceArguments, global: &Global) -> Result<()> {
    let source = Source::open(&arguments.hardware, arguments.batch)?;
    let rows = match &source {
        Source::Chip(chip) => modelled(chip, &layers(arguments)?)?,
        Source::Table(table) => tabled(table, arguments)?,
    };
    let widths = dominance(&rows);
    if widths.is_empty() {
        return Err(Failure::bad_input("no two layers differ in one bit-width only").into());
    }
    if global.json {
        let object = json!({ "hardware": source.name(), "batch": arguments.batch, "widths": widths });
        return Ok(talk::data_line(&object.to_string())?);
    }
    print(source.name(), &widths)
}

fn layers(arguments: &DominanceArguments) -> Result<Vec<Layer>> {
    match &arguments.layers {
        Some(path) => super::layers::read(path),
        None => {
            let space = load_space(arguments.space.as_deref().unwrap_or(DEFAULT_SPACE))?;
            Ok(reachable_layers(&space))
        }
    }
}

fn modelled(chip: &Accelerator, layers: &[Layer]) -> Result<Vec<Priced>> {
    let costs = chip.price_layers(layers)?;
    let priced = layers.iter().zip(&costs).map(|(layer, cost)| Priced {
        key: LayerKey::of(layer),
        compute_cycles: Some(cost.compute_cycles.value()),
        latency_ms: cost.latency.value(),
        energy_mj: cost.energy.value(),
    });
    Ok(priced.collect())
}

/// A table's own rows, or those of the layers named.
fn tabled(table: &CostTable, arguments: &DominanceArguments) -> Result<Vec<Priced>> {
    let priced = |row: &sartor_hardware::Row| Priced {
        key: row.key,
        compute_cycles: None,
        latency_ms: row.latency_ms.value(),
        energy_mj: row.energy_mj.value(),
    };
    if arguments.space.is_none() && arguments.layers.is_none() {
        return Ok(table.rows().iter().map(priced).collect());
    }
    let layers = layers(arguments)?;
    table.check_covers(&layers)?;
    Ok(layers.iter().filter_map(|layer| table.get(layer)).map(priced).collect())
}

fn print(hardware: &str, widths: &[Dominance]) -> Result<()> {
    talk::data_line(&format!("what narrower operands save on {hardware}, against the next wider width"))?;
    talk::data_line(&format!(
        "{:<10} {:<12} {:>7} {:>7}  {:>14} {:>14} {:>14}",
        "kind", "operand", "bits", "layers", "compute", "latency", "energy"
    ))?;
    for width in widths {
        let operand = match width.operand {
            Operand::Weights => "weights",
            Operand::Activations => "activations",
        };
        let bits = format!("{} vs {}", width.bits, width.wider_bits);
        talk::data_line(&format!(
            "{:<10} {operand:<12} {bits:>7} {:>7}  {:>14} {:>14} {:>14}",
            width.kind,
            width.layers,
            cell(width.compute),
            cell(Some(width.latency)),
            cell(width.energy)
        ))?;
    }
    Ok(())
}

fn cell(saving: Option<Saving>) -> String {
    match saving {
        None => "unknown".into(),
        Some(Saving { pays: Pays::Never, .. }) => "never".into(),
        Some(Saving { pays: Pays::Hardly, share, .. }) => format!("hardly {:+.1} %", -100.0 * share),
        Some(Saving { pays: Pays::Yes, share, .. }) => format!("{:+.1} %", -100.0 * share),
    }
}
