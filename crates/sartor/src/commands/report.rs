//! `sartor report`: the page alone.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Global, Target};
use crate::session::Session;
use crate::stages::report;
use crate::talk;

/// Writes the report of a run.
///
/// # Errors
/// An artefact that cannot be understood, or an unwritable folder.
pub fn run(target: &Target, global: &Global) -> Result<()> {
    let session = Session::open(target, global)?;
    report::run(&session)?;
    if global.json {
        talk::data_line(&json!({ "report": session.folder.path(report::FILE) }).to_string())?;
    }
    Ok(())
}
