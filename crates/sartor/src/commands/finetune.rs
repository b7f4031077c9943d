//! `sartor finetune`: the winner and its references alone.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Global, Target};
use crate::session::Session;
use crate::stages::{finetune, search, train};
use crate::talk;

/// Fine-tunes the models of a run.
///
/// # Errors
/// Whatever the stage fails with, or when nothing was searched yet.
pub fn run(target: &Target, global: &Global) -> Result<()> {
    let session = Session::open(target, global)?;
    let models = finetune::run(&session, &train::finished(&session)?, &search::finished(&session)?)?;
    if global.json {
        talk::data_line(&json!({ "models": models.scores() }).to_string())?;
    }
    Ok(())
}
