//! `sartor fit`: the full-precision predictor, of a run or of any CSV of pairs.

use anyhow::Result;

use super::pairs_file;
use crate::cli::{Global, PairsArguments, Target};
use crate::session::Session;
use crate::stages::{Stage, fit, quality, sample};
use crate::talk;
use crate::warnings::Warning;

/// Fits the predictor.
///
/// # Errors
/// Whatever the stage fails with, or when there are no pairs.
pub fn run(arguments: &PairsArguments, global: &Global) -> Result<()> {
    if let (Some(pairs), Some(space)) = (&arguments.pairs, &arguments.space) {
        return pairs_file::fit(pairs, space, arguments, global);
    }
    let session =
        Session::open(&Target { config: arguments.config.clone(), run: arguments.run.clone() }, global)?;
    fit::run(&session, &sample::finished(&session, Stage::SampleFullPrecision)?)?;
    let metrics = session.folder.read_json(fit::METRICS)?;
    session.warn(&Warning::of_predictor("full-precision", &metrics));
    if global.json {
        talk::data_line(&quality::to_json(&metrics).to_string())?;
    }
    Ok(())
}
