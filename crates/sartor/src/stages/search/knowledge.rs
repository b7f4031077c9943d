//! What the search knows about accuracy, and how it learns more: what it measured joins the pairs, and the predictor
//! is transferred anew.

use anyhow::Result;
use sartor_predictor::Predictor;
use sartor_space::Candidate;

use crate::records::Measured;
use crate::run_folder::artefact::Artefact;
use crate::session::Session;
use crate::stages::Stage;
use crate::stages::fit::FittedPredictor;
use crate::stages::sample::Pairs;

/// The predictor, and what it was made from.
#[derive(Debug)]
pub struct Knowledge<'a> {
    /// Mixed precision.
    pub predictor: &'a FittedPredictor,
    /// Full precision, which it was transferred from.
    pub full_precision: &'a FittedPredictor,
    /// The mixed-precision pairs.
    pub pairs: &'a Pairs,
}

impl Knowledge<'_> {
    /// What a search depends on.
    pub fn artefacts(&self) -> Vec<Artefact> {
        [self.predictor.artefacts(), self.full_precision.artefacts(), self.pairs.artefacts()].concat()
    }

    /// The predictor after it has seen what was measured.
    ///
    /// # Errors
    /// Artefacts that cannot be read.
    pub fn after(&self, session: &Session, measured: &[Measured]) -> Result<Predictor> {
        let predictor = self.predictor.load(session)?;
        if measured.is_empty() {
            return Ok(predictor);
        }
        let mut pairs = self.pairs.load(session)?;
        for one in measured {
            let candidate = Candidate::from_json(&one.candidate.to_string(), &session.config.space)?;
            if !pairs.candidates.contains(&candidate) {
                pairs.push(candidate, one.measured.value);
            }
        }
        let (settings, base) = (&session.config.predictor, self.full_precision.load(session)?);
        let method = Some(predictor.method());
        Ok(base.fit_from_with(&pairs, method, &settings.transfer(), session.seed(Stage::Transfer))?)
    }
}
