//! `sartor transfer`: the mixed-precision predictor of a run.

use anyhow::Result;

use crate::cli::{Global, PairsArguments, Target};
use crate::failure::Failure;
use crate::session::Session;
use crate::stages::{Stage, fit, quality, sample, transfer};
use crate::talk;
use crate::warnings::Warning;

/// Transfers the predictor.
///
/// # Errors
/// Whatever the stage fails with, or when there are no pairs or no full-precision predictor.
pub fn run(arguments: &PairsArguments, global: &Global) -> Result<()> {
    if arguments.pairs.is_some() {
        let failure =
            Failure::bad_input("transfer starts from a run's full-precision predictor, a CSV alone has none");
        return Err(failure
            .hint("use `--run FOLDER`, or `sartor fit --pairs FILE` to fit from scratch")
            .into());
    }
    let session =
        Session::open(&Target { config: arguments.config.clone(), run: arguments.run.clone() }, global)?;
    let pairs = sample::finished(&session, Stage::SampleMixedPrecision)?;
    transfer::run(&session, &fit::finished(&session)?, &pairs)?;
    let metrics = session.folder.read_json(transfer::METRICS)?;
    session.warn(&Warning::of_predictor("mixed-precision", &metrics));
    if global.json {
        talk::data_line(&quality::to_json(&metrics).to_string())?;
    }
    Ok(())
}
