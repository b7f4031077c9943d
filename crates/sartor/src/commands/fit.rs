//! `sartor fit`: the full-precision predictor, of a run or of any CSV of pairs.

use anyhow::Result;

use super::pairs_file;
use crate::cli::{FitArguments, Global, Target};
use crate::session::Session;
use crate::stages::{Stage, contest, fit, quality, sample};
use crate::warnings::Warning;

/// Methods on equal pairs, in the run folder.
pub const METHODS: &str = "predictor-methods.json";

/// Fits the predictor.
///
/// # Errors
/// Whatever the stage fails with, or when there are no pairs.
pub fn run(arguments: &FitArguments, global: &Global) -> Result<()> {
    let given = &arguments.pairs;
    if let (Some(pairs), Some(space)) = (&given.pairs, &given.space) {
        return pairs_file::fit(pairs, space, arguments, global);
    }
    let session = Session::open(&Target { config: given.config.clone(), run: given.run.clone() }, global)?;
    let pairs = sample::finished(&session, Stage::SampleFullPrecision)?;
    fit::run(&session, &pairs)?;
    let metrics = session.folder.read_json(fit::METRICS)?;
    session.warn(&Warning::of_predictor("full-precision", &metrics));
    let mut contenders = Vec::new();
    if arguments.compare {
        let (config, seed) = (&session.config, session.seed(Stage::Fit));
        contenders = contest::methods(&config.space, &pairs.load(&session)?, &config.predictor, seed)?;
        session.folder.write_json(METHODS, &contenders)?;
    }
    let mut object = quality::to_json(&metrics);
    contest::note(&mut object, "methods", &contenders)?;
    contest::say(&metrics, &contenders, &object, global.json)
}
