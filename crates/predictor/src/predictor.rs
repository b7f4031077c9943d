//! # The accuracy predictor, fitted
//!
//! Holds its space, so that it cannot be asked about candidates of another one.

use rayon::prelude::*;
use sartor_space::{Candidate, SearchSpace};

use crate::ensemble::{Ensemble, Lesson, Prediction};
use crate::error::PredictorError;
use crate::metrics::RankingReport;
use crate::mlp::train::{Frozen, MlpSettings};
use crate::mlp::{HeadPlacement, Shape};
use crate::pairs::Pairs;
use crate::process::Process;
use crate::sharing::Sharing;

/// How an ensemble of networks is fitted from scratch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitSettings {
    /// Networks in the ensemble.
    pub members: usize,
    /// Training of each.
    pub mlp: MlpSettings,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self { members: 5, mlp: MlpSettings::default() }
    }
}

impl FitSettings {
    fn check(&self) -> Result<(), PredictorError> {
        check_within("members", self.members as f64, 1.0, 100.0, "1 to 100")?;
        self.mlp.check()
    }
}

impl MlpSettings {
    pub(crate) fn check(&self) -> Result<(), PredictorError> {
        check_within("hidden", self.hidden as f64, 1.0, 4096.0, "1 to 4096")?;
        check_within("epochs", self.epochs as f64, 1.0, 1e6, "1 to 1000000")?;
        check_within("batch", self.batch as f64, 1.0, 1e6, "1 to 1000000")?;
        check_within("learning_rate", self.learning_rate, 1e-9, 1.0, "above 0, up to 1")?;
        check_within("weight_decay", self.weight_decay, 0.0, 1.0, "0 to 1")?;
        check_within("ranking", self.ranking, 0.0, 1e3, "0 to 1000")
    }
}

pub(crate) fn check_within(
    setting: &'static str,
    value: f64,
    low: f64,
    high: f64,
    expected: &'static str,
) -> Result<(), PredictorError> {
    let fits = (low..=high).contains(&value);
    fits.then_some(()).ok_or(PredictorError::BadSetting { setting, value, expected })
}

/// What a predictor looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Architecture only (FP).
    Full,
    /// Architecture and bits (MP).
    Mixed,
}

/// A fitted predictor.
#[derive(Debug, Clone)]
pub struct Predictor {
    pub(crate) space: SearchSpace,
    pub(crate) ensemble: Ensemble,
    pub(crate) process: Option<Process>,
}

impl Predictor {
    /// Fits from scratch: full precision if no pair has a policy, mixed precision if all have one.
    ///
    /// # Errors
    /// Too few pairs, constant accuracies, pairs of both kinds, settings outside their domain, divergence.
    pub fn fit(
        space: &SearchSpace,
        pairs: &Pairs,
        settings: &FitSettings,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        settings.check()?;
        pairs.check()?;
        let encoding = space.encoding();
        let policy = if precision_of(pairs)? == Precision::Mixed { encoding.policy_len() } else { 0 };
        let placement = HeadPlacement::BeforeActivation;
        let shape = Shape {
            architecture: encoding.architecture_len(),
            policy,
            hidden: settings.mlp.hidden,
            placement,
        };
        let lesson = Lesson {
            features: &features(space, &pairs.candidates, policy > 0),
            accuracies: &pairs.accuracies,
            sharing: &Sharing::as_set(space, policy > 0, settings.mlp.sharing),
            frozen: Frozen::new(),
            settings: &settings.mlp,
        };
        let ensemble = Ensemble::fit(shape, settings.members, &lesson, seed)?;
        Ok(Self { space: space.clone(), ensemble, process: None })
    }

    /// The space it was fitted on.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// Full or mixed precision.
    pub fn precision(&self) -> Precision {
        if self.shape().policy > 0 { Precision::Mixed } else { Precision::Full }
    }

    /// Networks in the ensemble.
    pub fn members(&self) -> usize {
        self.ensemble.members().len()
    }

    pub(crate) fn shape(&self) -> Shape {
        self.ensemble.members()[0].shape
    }

    /// Predicted accuracy (0–1) and spread of every candidate. A full-precision predictor ignores the bits.
    ///
    /// # Errors
    /// Only if the weights do not fit together.
    pub fn predict(&self, candidates: &[Candidate]) -> Result<Vec<Prediction>, PredictorError> {
        let features = features(&self.space, candidates, self.precision() == Precision::Mixed);
        let networks = self.ensemble.predict(&features)?;
        match &self.process {
            None => Ok(networks),
            Some(process) => Ok(process.blend(&self.space, candidates, &networks)?),
        }
    }

    /// Predicted accuracy (0–1) of every candidate.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn score(&self, candidates: &[Candidate]) -> Result<Vec<f64>, PredictorError> {
        let networks = || {
            let features = features(&self.space, candidates, self.precision() == Precision::Mixed);
            self.ensemble.predict(&features)
        };
        match &self.process {
            None => Ok(networks()?.into_iter().map(|prediction| prediction.mean).collect()),
            Some(process) => process.means(&self.space, candidates, networks),
        }
    }

    /// The first network alone: as many times faster as the ensemble has members, and less accurate.
    pub fn single(&self) -> Self {
        self.first(1)
    }

    /// The first networks, without a process.
    pub(crate) fn first(&self, members: usize) -> Self {
        let members = self.ensemble.members().iter().take(members).cloned().collect();
        Self { space: self.space.clone(), ensemble: Ensemble::new(members), process: None }
    }

    /// Ranking quality on held-out pairs, with bootstrap intervals; `None` if it is undefined (fewer than two pairs
    /// or constant accuracies).
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn evaluate(&self, pairs: &Pairs, seed: u64) -> Result<Option<RankingReport>, PredictorError> {
        Ok(RankingReport::of(&self.score(&pairs.candidates)?, &pairs.accuracies, seed))
    }
}

/// Whether pairs are of full or of mixed precision; both together cannot be fitted.
pub(crate) fn precision_of(pairs: &Pairs) -> Result<Precision, PredictorError> {
    let mixed = pairs.candidates.iter().filter(|candidate| candidate.policy.is_some()).count();
    match mixed {
        0 => Ok(Precision::Full),
        count if count == pairs.len() => Ok(Precision::Mixed),
        count => Err(PredictorError::BadSetting {
            setting: "number of pairs with bits",
            value: count as f64,
            expected: "none or all of the pairs",
        }),
    }
}

/// Fewest candidates that are worth another thread.
const FEATURES_AT_ONCE: usize = 8;

/// Active features of candidates; without the bits if `policy` is false.
pub(crate) fn features(space: &SearchSpace, candidates: &[Candidate], policy: bool) -> Vec<Vec<u32>> {
    let encoding = space.encoding();
    let architecture = encoding.architecture_len() as u32;
    let active = |candidate: &Candidate| {
        let mut active = encoding.active_features(candidate);
        if !policy {
            active.retain(|&feature| feature < architecture);
        }
        active
    };
    candidates.par_iter().with_min_len(FEATURES_AT_ONCE).map(active).collect()
}
