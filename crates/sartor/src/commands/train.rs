//! `sartor train`: the supernet alone.

use anyhow::Result;

use crate::cli::{Global, Target};
use crate::session::Session;
use crate::stages::train;

/// Trains the supernet of a run.
///
/// # Errors
/// Whatever the stage fails with.
pub fn run(target: &Target, global: &Global) -> Result<()> {
    let session = Session::open(target, global)?;
    train::run(&session)?;
    super::print_artefact(&session, global.json, train::METRICS)
}
