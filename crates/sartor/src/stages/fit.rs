//! Fit the full-precision predictor, and say how far it can be believed.

use anyhow::{Context, Result};
use sartor_predictor::Predictor;

use super::sample::Pairs;
use super::{Stage, quality};
use crate::run_folder::artefact::Artefact;
use crate::session::Session;
use crate::talk;

const WEIGHTS: &str = "predictor-fp.safetensors";
/// Artefact of the metrics.
pub const METRICS: &str = "predictor-fp.json";

/// A fitted predictor in the run folder.
#[derive(Debug)]
pub struct FittedPredictor {
    artefacts: Vec<Artefact>,
    file: &'static str,
}

impl FittedPredictor {
    /// A predictor whose weights are in `file`.
    pub fn new(artefacts: Vec<Artefact>, file: &'static str) -> Self {
        Self { artefacts, file }
    }

    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// The predictor itself.
    ///
    /// # Errors
    /// A file that is not a predictor of this space.
    pub fn load(&self, session: &Session) -> Result<Predictor> {
        let path = session.folder.path(self.file);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let predictor = Predictor::from_bytes(&bytes, &session.config.space);
        predictor.with_context(|| format!("cannot use `{}`", path.display()))
    }
}

/// Fits, or keeps what is there.
///
/// # Errors
/// Too few or constant pairs.
pub fn run(session: &Session, pairs: &Pairs) -> Result<FittedPredictor> {
    let settings = &session.config.predictor;
    let inputs = session.inputs().section("predictor", settings).artefacts(pairs.artefacts()).build();
    let artefacts = session.stage(Stage::Fit, inputs, |_| {
        let pairs = pairs.load(session)?;
        let (space, seed) = (&session.config.space, session.seed(Stage::Fit));
        let judged = quality::judge(&pairs, settings, seed, |known, seed| {
            Ok(Predictor::fit_to_judge(space, known, settings.method(), &settings.fit(), seed)?)
        })?;
        let predictor = Predictor::fit_with(space, &pairs, settings.method(), &settings.fit(), seed)?;
        let metrics = quality::metrics(predictor.method(), pairs.len(), settings, judged);
        session.folder.write(WEIGHTS, &predictor.to_bytes()?)?;
        session.folder.write_json(METRICS, &metrics)?;
        talk::stage_line(Stage::Fit.title(), &quality::line(&metrics));
        Ok(vec![WEIGHTS.to_owned(), METRICS.to_owned()])
    })?;
    Ok(FittedPredictor::new(artefacts, WEIGHTS))
}

/// The predictor that an earlier process fitted.
///
/// # Errors
/// When there is none.
pub fn finished(session: &Session) -> Result<FittedPredictor> {
    Ok(FittedPredictor::new(session.finished(Stage::Fit)?, WEIGHTS))
}
