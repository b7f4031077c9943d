//! `sartor profile`: the cost table of a run, of a space, or of a list of layers; priced, measured or imported.

mod check;
mod command;
mod dominance;
mod host;
mod import;
mod journal;
mod layers;
mod measuring;
mod onnx;
mod priced;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use sartor_hardware::CostTable;
use serde_json::json;

use crate::cli::{Global, ProfileAction, ProfileArguments, Target};
use crate::failure::Failure;
use crate::run_folder::artefact;
use crate::session::Session;
use crate::stages::profile;
use crate::talk;

/// `--hardware` that measures this machine.
const HOST: &str = "host";
/// `--hardware` that runs a command.
const COMMAND: &str = "command";

/// Makes a table, or does something else with one.
///
/// # Errors
/// An unknown space or chip, layers that cannot be priced or measured, a file that cannot be read or written.
pub fn run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    match &arguments.action {
        Some(ProfileAction::Import(arguments)) => import::run(arguments, global),
        Some(ProfileAction::Dominance(arguments)) => dominance::run(arguments, global),
        Some(ProfileAction::Check(arguments)) => check::run(arguments, global),
        None if arguments.config.is_some() || arguments.run.is_some() => of_run(arguments, global),
        None if arguments.list => layers::list(arguments, global),
        None => table(arguments, global),
    }
}

fn table(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    if arguments.command.is_some() && arguments.hardware != COMMAND {
        let failure = Failure::bad_input(format!("--command with --hardware {}", arguments.hardware));
        return Err(failure.hint("give `--hardware command`, and `--name` for the table's name").into());
    }
    match arguments.hardware.as_str() {
        HOST => host::run(arguments, global),
        COMMAND => command::run(arguments, global),
        _ => priced::run(arguments, global),
    }
}

fn of_run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    let target = Target { config: arguments.config.clone(), run: arguments.run.clone() };
    let session = Session::open(&target, global)?;
    let prices = profile::run(&session)?;
    let file = prices.artefacts().first().map(|artefact| session.folder.path(&artefact.name));
    say(global, prices.table(), file.as_ref())
}

/// Writes a text to the file, or to stdout.
fn write(text: &str, out: Option<&Path>, what: &str) -> Result<()> {
    match out {
        Some(path) => {
            artefact::write(path, text.as_bytes())?;
            talk::stage_line("profile", &format!("{what} in {}", path.display()));
        }
        None => std::io::stdout().lock().write_all(text.as_bytes())?,
    }
    Ok(())
}

fn say(global: &Global, table: &CostTable, file: Option<&PathBuf>) -> Result<()> {
    if global.json {
        let object = json!({ "rows": table.rows().len(), "provenance": table.provenance, "file": file });
        talk::data_line(&object.to_string())?;
    }
    Ok(())
}
