//! Report: one page about everything that is in the run folder.

use anyhow::Result;

use super::Stage;
use crate::report::{Facts, page};
use crate::session::Session;
use crate::talk;

/// File of the report.
pub const FILE: &str = "report.html";

/// Writes the page. It shows times, so it is written anew every time.
///
/// # Errors
/// An artefact that cannot be understood, or an unwritable folder.
pub fn run(session: &Session) -> Result<()> {
    let config = &session.config;
    let facts = Facts::gather(
        &session.folder,
        &config.name,
        config.seed,
        &config.hardware.accelerator,
        &config.space,
    )?;
    session.warn(&facts.warnings);
    session.folder.write(FILE, page(&facts).as_bytes())?;
    talk::stage_line(Stage::Report.title(), &session.folder.path(FILE).display().to_string());
    Ok(())
}
