//! `sartor transfer`: the mixed-precision predictor, of a run or of any two CSVs of pairs.

use anyhow::Result;

use super::pairs_file;
use crate::cli::{Global, Target, TransferArguments};
use crate::session::Session;
use crate::stages::contest::{self, Contest};
use crate::stages::{Stage, fit, quality, sample, transfer};
use crate::warnings::Warning;

/// Variants of transfer on equal pairs, in the run folder.
pub const VARIANTS: &str = "transfer-variants.json";

/// Transfers the predictor.
///
/// # Errors
/// Whatever the stage fails with, or when there are no pairs or no full-precision predictor.
pub fn run(arguments: &TransferArguments, global: &Global) -> Result<()> {
    let given = &arguments.pairs;
    if let (Some(pairs), Some(space)) = (&given.pairs, &given.space) {
        return pairs_file::transfer(pairs, space, arguments, global);
    }
    let session = Session::open(&Target { config: given.config.clone(), run: given.run.clone() }, global)?;
    let pairs = sample::finished(&session, Stage::SampleMixedPrecision)?;
    let full_precision = fit::finished(&session)?;
    transfer::run(&session, &full_precision, &pairs)?;
    let metrics = session.folder.read_json(transfer::METRICS)?;
    session.warn(&Warning::of_predictor("mixed-precision", &metrics));
    let mut object = quality::to_json(&metrics);
    let mut contenders = Vec::new();
    if arguments.ablate || arguments.curves {
        let (base, pairs) = (full_precision.load(&session)?, pairs.load(&session)?);
        let (settings, seed) = (&session.config.predictor, session.seed(Stage::Transfer));
        let contest = Contest { space: &session.config.space, base: &base, pairs: &pairs, settings, seed };
        if arguments.ablate {
            contenders = contest.variants()?;
            session.folder.write_json(VARIANTS, &contenders)?;
            contest::note(&mut object, "variants", &contenders)?;
        }
        if arguments.curves {
            let file = arguments.out.clone().unwrap_or_else(|| session.folder.path(contest::CURVES));
            contest::note_curves(&mut object, &contest.curves()?, &file)?;
        }
    }
    contest::say(&metrics, &contenders, &object, global.json)
}
