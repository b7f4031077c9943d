//! Report: one page about everything that is in the run folder.

use std::path::Path;

use anyhow::Result;

use super::Stage;
use crate::cli::{Global, Target};
use crate::report::{Facts, page};
use crate::run_folder::artefact;
use crate::session::Session;
use crate::standings;
use crate::talk;

/// File of the report.
pub const FILE: &str = "report.html";

/// Writes the page. It shows times, so it is written anew every time.
///
/// # Errors
/// An artefact that cannot be understood, or an unwritable folder.
pub fn run(session: &Session) -> Result<()> {
    let facts = facts(session)?;
    session.warn(&facts.warnings);
    session.folder.write(FILE, page(&facts).as_bytes())?;
    talk::stage_line(Stage::Report.title(), &session.folder.path(FILE).display().to_string());
    match standings::owner(session.folder.root()) {
        owner if owner == session.folder.root() => Ok(()),
        owner => renew(owner),
    }
}

/// Writes another run's page again, in which this run's method now stands beside its own.
fn renew(owner: &Path) -> Result<()> {
    let target = Target { config: None, run: Some(owner.to_owned()) };
    let session = Session::read_only(&target, &Global::default())?;
    artefact::write(&owner.join(FILE), page(&facts(&session)?).as_bytes())
}

fn facts(session: &Session) -> Result<Facts> {
    let config = &session.config;
    let (name, chip) = (&config.name, &config.hardware.accelerator);
    let target = config.sections().space.target.as_deref();
    Facts::gather(&session.folder, name, config.seed, chip, (&config.space, target))
}
