//! `sartor export`: the deployable files alone.

use anyhow::Result;
use serde_json::json;

use crate::cli::{ExportArguments, Global};
use crate::session::Session;
use crate::stages::{export, finetune, search};
use crate::talk;

/// Exports the models of a run.
///
/// # Errors
/// Whatever the stage fails with, or when nothing was fine-tuned yet.
pub fn run(arguments: &ExportArguments, global: &Global) -> Result<()> {
    let session = Session::open(&arguments.target, &with_formats(arguments, global))?;
    let files = export::run(&session, finetune::finished(&session, &search::finished(&session)?)?)?;
    if global.json {
        let names: Vec<_> =
            files.artefacts().iter().map(|artefact| session.folder.path(&artefact.name)).collect();
        talk::data_line(&json!({ "files": names }).to_string())?;
    }
    Ok(())
}

/// The flags are short for config keys.
fn with_formats(arguments: &ExportArguments, global: &Global) -> Global {
    let mut global = global.clone();
    if !arguments.formats.is_empty() {
        global.overrides.push(format!("export.formats={}", json!(arguments.formats)));
    }
    if arguments.background_class {
        global.overrides.push("export.background_class=true".to_owned());
    }
    global
}
