//! `sartor profile import`: tables made elsewhere.

use anyhow::{Context, Result};
use sartor_hardware::{
    CostTable, Provenance, import_columns, import_dictionary, import_per_layer, reachable_layers,
};
use sartor_space::networks;

use crate::cli::{Global, ImportArguments};
use crate::config::load_space;
use crate::failure::Failure;

/// Widths of a per-layer file's lines are read from the file; these only give the shapes.
const ANY_BITS: u8 = 8;
/// How the header of our own tables ends.
const OUR_LAST_COLUMNS: &str = ",activation_bits,cycles,latency_ms,energy_mj";

/// Reads a foreign table and writes it as ours.
///
/// # Errors
/// A file that is not what it should be, or lacks layers that the space needs.
pub fn run(arguments: &ImportArguments, global: &Global) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.file).map_err(|error| {
        Failure::bad_input(format!("cannot read the table `{}`: {error}", arguments.file.display()))
    })?;
    let mut table =
        read(&text, arguments).with_context(|| format!("cannot import `{}`", arguments.file.display()))?;
    if let Some(hardware) = &arguments.hardware {
        table.provenance.hardware = hardware.clone();
    }
    if let Some(space) = &arguments.space {
        let space = load_space(space)?;
        table.check_covers(&reachable_layers(&space))?;
        (table.provenance.space, table.provenance.space_hash) = (space.name().to_owned(), space.hash());
    }
    let rows = format!("{} rows", table.rows().len());
    super::write(&table.to_csv(), arguments.out.as_deref(), &rows)?;
    super::say(global, &table, arguments.out.as_ref())
}

fn read(text: &str, arguments: &ImportArguments) -> Result<CostTable> {
    let name = hardware(arguments);
    let mut table = match arguments.format.as_deref().unwrap_or_else(|| format(text)) {
        "dictionary" => import_dictionary(text, &name)?,
        "per-layer" => {
            let network = networks::fixed(&arguments.network, ANY_BITS, ANY_BITS);
            import_per_layer(text, &network.ok_or_else(|| unknown(&arguments.network))?, &name)?
        }
        _ if is_ours(text) => CostTable::from_csv(text)?,
        _ => import_columns(text, provenance(&name, arguments.batch))?,
    };
    table.provenance.batch = table.provenance.batch.max(1);
    if table.provenance.hardware.is_empty() {
        table.provenance.hardware = name;
    }
    if arguments.batch != 1 {
        table.provenance.batch = arguments.batch as u64;
    }
    Ok(table)
}

/// Whether the columns are those of our own tables, which say more in their `#` lines.
fn is_ours(text: &str) -> bool {
    let header = first_line(text).unwrap_or_default().replace(' ', "");
    header.starts_with("in_channels,") && header.trim_end_matches(",first").ends_with(OUR_LAST_COLUMNS)
}

fn first_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A JSON object, a CSV with a header, or else numbers only.
fn format(text: &str) -> &'static str {
    match first_line(text) {
        Some(line) if line.starts_with('{') => "dictionary",
        Some(line) if line.split(',').all(|cell| cell.trim().parse::<f64>().is_ok()) => "per-layer",
        _ => "csv",
    }
}

fn hardware(arguments: &ImportArguments) -> String {
    let stem = || arguments.file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    arguments.hardware.clone().or_else(stem).unwrap_or_default()
}

fn provenance(hardware: &str, batch: usize) -> Provenance {
    let model = "imported from a CSV".to_owned();
    Provenance { hardware: hardware.to_owned(), model, batch: batch as u64, ..Provenance::default() }
}

fn unknown(network: &str) -> Failure {
    let names: Vec<&str> = networks::names().collect();
    Failure::bad_input(format!("unknown network `{network}`"))
        .hint(format!("known networks: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_seen_from_their_beginning() {
        let cases = [
            ("{\"(1, 2)\": 3}", "dictionary"),
            ("# a\n\n1,2.5,3\n", "per-layer"),
            ("in_channels,out_channels\n", "csv"),
            ("", "csv"),
        ];
        for (text, expected) in cases {
            assert_eq!(format(text), expected, "{text}");
        }
    }
}
