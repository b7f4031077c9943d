//! `sartor profile`: the cost table of a run, of a space, or of a list of layers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sartor_hardware::{Accelerator, CostTable, profile_layers_csv};
use serde_json::json;

use crate::cli::{Global, ProfileArguments, Target};
use crate::config::load_space;
use crate::failure::Failure;
use crate::run_folder::artefact;
use crate::session::Session;
use crate::stages::profile;
use crate::talk;

/// Prices layers.
///
/// # Errors
/// An unknown space or chip, or layers that the chip cannot run.
pub fn run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    if arguments.config.is_some() || arguments.run.is_some() {
        return of_run(arguments, global);
    }
    let accelerator = profile::accelerator(&arguments.hardware, Some(arguments.batch))?;
    let table = table(arguments, &accelerator)?;
    match &arguments.out {
        Some(path) => {
            artefact::write(path, table.to_csv().as_bytes())?;
            talk::stage_line("profile", &format!("{} rows in {}", table.rows().len(), path.display()));
        }
        None => std::io::Write::write_all(&mut std::io::stdout().lock(), table.to_csv().as_bytes())?,
    }
    say(global, &table, arguments.out.as_ref())
}

fn of_run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    let target = Target { config: arguments.config.clone(), run: arguments.run.clone() };
    let session = Session::open(&target, global)?;
    let prices = profile::run(&session)?;
    let file = prices.artefacts().first().map(|artefact| session.folder.path(&artefact.name));
    say(global, prices.table(), file.as_ref())
}

fn say(global: &Global, table: &CostTable, file: Option<&PathBuf>) -> Result<()> {
    if global.json {
        let object = json!({ "rows": table.rows().len(), "provenance": table.provenance, "file": file });
        talk::data_line(&object.to_string())?;
    }
    Ok(())
}

fn table(arguments: &ProfileArguments, accelerator: &Accelerator) -> Result<CostTable> {
    match (&arguments.space, &arguments.layers) {
        (Some(space), _) => Ok(CostTable::for_space(accelerator, &load_space(space)?)?),
        (None, Some(path)) => of_layers(accelerator, path),
        (None, None) => Err(Failure::bad_input("neither a space nor a list of layers was given").into()),
    }
}

fn of_layers(accelerator: &Accelerator, path: &Path) -> Result<CostTable> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("cannot read layers `{}`: {error}", path.display())))?;
    let layers =
        profile_layers_csv(&text).with_context(|| format!("cannot use layers `{}`", path.display()))?;
    Ok(CostTable::build(accelerator, &layers)?)
}
