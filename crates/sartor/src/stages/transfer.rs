//! Transfer the predictor to mixed precision; the same pairs from scratch stand beside it.

use anyhow::Result;
use sartor_predictor::Predictor;

use super::fit::FittedPredictor;
use super::sample::Pairs;
use super::{Stage, quality};
use crate::records::PredictorMetrics;
use crate::session::Session;
use crate::talk;

const WEIGHTS: &str = "predictor-mp.safetensors";
/// Artefact of the metrics.
pub const METRICS: &str = "predictor-mp.json";

/// Transfers, or keeps what is there.
///
/// # Errors
/// Too few or constant pairs.
pub fn run(session: &Session, full_precision: &FittedPredictor, pairs: &Pairs) -> Result<FittedPredictor> {
    let inputs = session.inputs().section("predictor", &session.config.predictor);
    let inputs = inputs.artefacts(full_precision.artefacts()).artefacts(pairs.artefacts()).build();
    let artefacts = session.stage(Stage::Transfer, inputs, |_| {
        let pairs = pairs.load(session)?;
        let base = full_precision.load(session)?;
        let seed = session.seed(Stage::Transfer);
        let metrics = judge(session, &base, &pairs, seed)?;
        let predictor = base.fit_from(&pairs, &session.config.predictor.transfer(), seed)?;
        session.folder.write(WEIGHTS, &predictor.to_bytes()?)?;
        session.folder.write_json(METRICS, &metrics)?;
        talk::stage_line(Stage::Transfer.title(), &quality::line(&metrics));
        Ok(vec![WEIGHTS.to_owned(), METRICS.to_owned()])
    })?;
    Ok(FittedPredictor::new(artefacts, WEIGHTS))
}

fn judge(
    session: &Session,
    base: &Predictor,
    pairs: &sartor_predictor::Pairs,
    seed: u64,
) -> Result<PredictorMetrics> {
    let (settings, space) = (&session.config.predictor, &session.config.space);
    let transferred = quality::judge(pairs, settings, seed, |known, seed| {
        Ok(base.fit_from(known, &settings.transfer(), seed)?)
    })?;
    let scratch = quality::judge(pairs, settings, seed, |known, seed| {
        Ok(Predictor::fit(space, known, &settings.fit(), seed)?)
    })?;
    let (repeats, holdout) = (settings.repeats, settings.holdout);
    Ok(PredictorMetrics {
        pairs: pairs.len(),
        repeats,
        holdout,
        quality: transferred,
        scratch: Some(scratch),
    })
}

/// The predictor that an earlier process transferred.
///
/// # Errors
/// When there is none.
pub fn finished(session: &Session) -> Result<FittedPredictor> {
    Ok(FittedPredictor::new(session.finished(Stage::Transfer)?, WEIGHTS))
}
