//! `sartor compare`: what was searched in a run folder, side by side.

mod capabilities;

use anyhow::Result;

use crate::cli::{CompareArguments, Global};
use crate::config::Config;
use crate::standings;

/// Compares.
///
/// # Errors
/// When nothing has been searched, or a record cannot be understood.
pub fn run(arguments: &CompareArguments, global: &Global) -> Result<()> {
    let config = Config::load(&arguments.target, global)?;
    capabilities::run(&standings::of(&config.folder)?, global.json)
}
