//! Transfer the predictor to mixed precision; the same pairs from scratch stand beside it.

use anyhow::Result;

use super::contest::Contest;
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
        let settings = &session.config.predictor;
        let predictor = base.fit_from_with(&pairs, settings.method(), &settings.transfer(), seed)?;
        let contest = Contest { space: &session.config.space, base: &base, pairs: &pairs, settings, seed };
        let metrics = PredictorMetrics { method: predictor.method().name().to_owned(), ..contest.judge()? };
        session.folder.write(WEIGHTS, &predictor.to_bytes()?)?;
        session.folder.write_json(METRICS, &metrics)?;
        talk::stage_line(Stage::Transfer.title(), &quality::line(&metrics));
        Ok(vec![WEIGHTS.to_owned(), METRICS.to_owned()])
    })?;
    Ok(FittedPredictor::new(artefacts, WEIGHTS))
}

/// The predictor that an earlier process transferred.
///
/// # Errors
/// When there is none.
pub fn finished(session: &Session) -> Result<FittedPredictor> {
    Ok(FittedPredictor::new(session.finished(Stage::Transfer)?, WEIGHTS))
}
