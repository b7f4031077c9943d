//! `sartor cost`: what one network costs, or many candidates; and what finding one costs.

mod ledger;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use sartor_hardware::{Accounting, CostTable, Costs};
use sartor_space::suggest::nearest;
use sartor_space::{Candidate, Layer, SearchSpace, Workload, networks};
use serde_json::{Value, json};

use crate::cli::{CostAction, CostArguments, Global};
use crate::config::load_space;
use crate::failure::Failure;
use crate::report::{amount, plain_name};
use crate::stages::profile::{self, Source};
use crate::talk;

/// Widths that can be asked for.
const BITS: std::ops::RangeInclusive<u8> = 1..=32;

/// Prices.
///
/// # Errors
/// An unknown network or chip, a candidate outside its space, widths that the chip cannot run.
pub fn run(arguments: &CostArguments, global: &Global) -> Result<()> {
    if let Some(CostAction::Ledger(arguments)) = &arguments.action {
        return ledger::run(arguments, global);
    }
    let source = Source::open(&arguments.hardware, arguments.batch)?;
    let accounting = if arguments.accounting == "release" { Accounting::Release } else { Accounting::Full };
    match (&arguments.candidates, &arguments.network) {
        (Some(path), _) => many(path, arguments, &source, accounting),
        (None, Some(network)) => {
            one(&workload(network, arguments)?, arguments, &source, accounting, global.json)
        }
        (None, None) => Err(Failure::bad_input("neither a network nor candidates were given").into()),
    }
}

/// A known network, or a candidate's file.
fn workload(network: &str, arguments: &CostArguments) -> Result<Workload> {
    let (weights, activations) = bits(&arguments.bits)?;
    if let Some(workload) = networks::fixed(network, weights, activations) {
        return Ok(workload);
    }
    let text = std::fs::read_to_string(network).map_err(|error| unknown_network(network, &error))?;
    let (space, candidate) = read_candidate(&text, arguments.space.as_deref(), &mut HashMap::new())?;
    Ok(space.lower(&candidate))
}

fn unknown_network(network: &str, error: &std::io::Error) -> Failure {
    let names: Vec<&str> = networks::names().collect();
    let failure = Failure::bad_input(format!(
        "`{network}` is neither a known network nor a candidate's file ({error})"
    ));
    match nearest(network, names.iter().copied()) {
        Some(name) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint(format!("known networks: {}", names.join(", "))),
    }
}

/// `8` or `4:8`.
fn bits(text: &str) -> Result<(u8, u8), Failure> {
    let (weights, activations) = text.split_once(':').unwrap_or((text, text));
    let width = |text: &str| text.parse::<u8>().ok().filter(|width| BITS.contains(width));
    width(weights).zip(width(activations)).ok_or_else(|| {
        Failure::bad_input(format!("--bits {text}: expected a width of 1 to 32, or two with a colon"))
            .hint("`--bits 4:8` is 4-bit weights and 8-bit activations")
    })
}

fn one(
    workload: &Workload,
    arguments: &CostArguments,
    source: &Source,
    accounting: Accounting,
    json: bool,
) -> Result<()> {
    let table = source.table(&workload.layers)?;
    let totals = table.price_as(workload, accounting)?;
    if json {
        let layers: Vec<Value> = workload.layers.iter().map(|layer| layer_json(&table, layer)).collect();
        let object = json!({
            "totals": totals,
            "layers": layers,
            "hardware": source.name(),
            "batch": arguments.batch,
            "extrapolated": table.extrapolates(workload),
        });
        return Ok(talk::data_line(&object.to_string())?);
    }
    if arguments.layers {
        workload.layers.iter().try_for_each(|layer| talk::data_line(&layer_line(&table, layer)))?;
    }
    print_totals(&totals)?;
    if table.extrapolates(workload) {
        talk::warning_line("prices marked with * are extrapolated: outside what the model was checked on");
    }
    Ok(())
}

fn print_totals(totals: &Costs) -> Result<()> {
    talk::data_line(&format!("{:<24} {}", "cycles", totals.cycles.value()))?;
    for (name, value) in &profile::named(totals) {
        talk::data_line(&format!("{:<24} {}", plain_name(name), amount(name, *value)))?;
    }
    Ok(talk::data_line(&format!("{:<24} {}", "parameters", totals.parameters.value()))?)
}

fn layer_json(table: &CostTable, layer: &Layer) -> Value {
    let mut object = json!({
        "name": layer.name,
        "macs": layer.macs(),
        "bitops": layer.bitops(),
        "parameters": layer.parameters(),
    });
    if let (Some(row), Some(fields)) = (table.get(layer), object.as_object_mut()) {
        let row = serde_json::to_value(row).unwrap_or_default();
        fields.extend(row.as_object().cloned().unwrap_or_default());
    }
    object
}

fn layer_line(table: &CostTable, layer: &Layer) -> String {
    let Layer {
        name,
        in_channels,
        out_channels,
        input_size,
        kernel,
        stride,
        weight_bits,
        activation_bits,
        ..
    } = layer;
    let price = table.get(layer).map(|row| {
        let mark = if row.extrapolated { " *" } else { "" };
        format!("{:>11.6} ms {:>11.6} mJ{mark}", row.latency_ms.value(), row.energy_mj.value())
    });
    format!(
        "{name:<24} {in_channels:>5} → {out_channels:<5} {input_size:>3}² k{kernel} s{stride} W{weight_bits}A{activation_bits} {}",
        price.unwrap_or_default()
    )
}

/// One totals object a line.
fn many(path: &Path, arguments: &CostArguments, source: &Source, accounting: Accounting) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::bad_input(format!("cannot read candidates `{}`: {error}", path.display()))
    })?;
    let mut spaces = HashMap::new();
    let mut lowered = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}, line {}", path.display(), number + 1);
        let (space, candidate) =
            read_candidate(line, arguments.space.as_deref(), &mut spaces).with_context(place)?;
        lowered.push(space.lower(&candidate));
    }
    let layers: Vec<Layer> = lowered.iter().flat_map(|workload| workload.layers.iter().cloned()).collect();
    let table = source.table(&layers)?;
    for workload in &lowered {
        talk::data_line(&json!(table.price_as(workload, accounting)?).to_string())?;
    }
    Ok(())
}

/// A candidate and its space: the one given, else the preset that the candidate names.
fn read_candidate(
    text: &str,
    space: Option<&str>,
    spaces: &mut HashMap<String, SearchSpace>,
) -> Result<(SearchSpace, Candidate)> {
    let named = || -> Result<String> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Failure::bad_input(format!("not a candidate: {error}")))?;
        let name = value.get("space").and_then(Value::as_str);
        Ok(name.ok_or_else(|| Failure::bad_input("a candidate without the name of its space"))?.to_owned())
    };
    let name = space.map_or_else(named, |space| Ok(space.to_owned()))?;
    if !spaces.contains_key(&name) {
        spaces.insert(name.clone(), load_space(&name)?);
    }
    let space = spaces[&name].clone();
    let candidate = Candidate::from_json(text, &space)?;
    Ok((space, candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_one_or_two_widths() {
        for (text, expected) in
            [("8", Some((8, 8))), ("4:8", Some((4, 8))), ("0", None), ("4:", None), ("x", None), ("33", None)]
        {
            assert_eq!(bits(text).ok(), expected, "{text}");
        }
    }
}
