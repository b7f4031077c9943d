//! `sartor export`: the deployable files alone.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Global, Target};
use crate::session::Session;
use crate::stages::{export, finetune, search};
use crate::talk;

/// Exports the models of a run.
///
/// # Errors
/// Whatever the stage fails with, or when nothing was fine-tuned yet.
pub fn run(target: &Target, global: &Global) -> Result<()> {
    let session = Session::open(target, global)?;
    let files = export::run(&session, finetune::finished(&session, &search::finished(&session)?)?)?;
    if global.json {
        let names: Vec<_> =
            files.artefacts().iter().map(|artefact| session.folder.path(&artefact.name)).collect();
        talk::data_line(&json!({ "files": names }).to_string())?;
    }
    Ok(())
}
