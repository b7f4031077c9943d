//! `sartor verify`: what a real runtime makes of the exported files.

use anyhow::Result;

use crate::cli::{Global, Target};
use crate::session::Session;
use crate::stages::{export, finetune, search, verify};
use crate::talk;

/// Verifies the models of a run.
///
/// # Errors
/// Whatever the stage fails with, or when nothing was exported yet.
pub fn run(target: &Target, global: &Global) -> Result<()> {
    let session = Session::open(target, global)?;
    let models = finetune::finished(&session, &search::finished(&session)?)?;
    let outcome = verify::run(&session, &export::finished(&session, models)?)?;
    if global.json {
        talk::data_line(&outcome.to_json(&session).to_string())?;
    }
    Ok(())
}
