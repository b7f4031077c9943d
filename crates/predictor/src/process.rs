//! # Beside the networks: a Gaussian process, ridge regression, and the choice between them
//!
//! On few pairs a process that is told how candidates are alike (`description`) usually orders better than the
//! papers' networks. [`Predictor::fit_with`] without a method tries all of them and keeps the one that ordered
//! best in cross-validation on the pairs given; held-out pairs take no part. On complete
//! made-up tables (`examples/tables.rs`: 8 blocks × 3 options, 200 of 6,561 known, three laws) Kendall's τ on the rest
//! is 0.948, 0.954, 0.931 for the process and 0.848, 0.937, 0.849 for the networks. Made-up accuracies are no proof for
//! trained ones: hence the cross-validation.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sartor_space::{Candidate, SearchSpace};

use crate::description::{describe, ranges};
use crate::ensemble::{Ensemble, Prediction};
use crate::error::PredictorError;
use crate::gaussian_process::{GaussianProcess, Kernel, MOST_PAIRS, Table};
use crate::metrics::pairwise_accuracy;
use crate::pairs::{Pairs, shuffled};
use crate::predictor::{FitSettings, Predictor, features};
use crate::transfer::TransferSettings;

/// Parts of the cross-validation.
const FOLDS: usize = 4;
/// Networks of an ensemble that take part in it: the whole ensemble would take as long as four fits.
const CONTENDING_MEMBERS: usize = 1;

/// A way to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The papers' networks, an ensemble of them.
    Networks,
    /// The Gaussian process.
    Process,
    /// Ridge regression on the encoding.
    Ridge,
    /// Mean of networks and process.
    Both,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 4] = [Method::Networks, Method::Process, Method::Both, Method::Ridge];

    /// The method of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Name in configuration files and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Networks => "networks",
            Self::Process => "process",
            Self::Ridge => "ridge",
            Self::Both => "both",
        }
    }

    /// The covariance of the method's process.
    pub(crate) fn kernel(self) -> Kernel {
        if self == Self::Ridge { Kernel::Linear } else { Kernel::Full }
    }

    /// Share of the process in the prediction.
    fn share(self) -> f64 {
        match self {
            Self::Networks => 0.0,
            Self::Process | Self::Ridge => 1.0,
            Self::Both => 0.5,
        }
    }
}

/// A fitted process with what it needs to describe candidates.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub method: Method,
    pub process: GaussianProcess,
    /// The full-precision networks, after a transfer.
    pub base: Option<Ensemble>,
}

impl Process {
    fn fit(
        space: &SearchSpace,
        pairs: &Pairs,
        method: Method,
        base: Option<&Ensemble>,
    ) -> Result<Self, PredictorError> {
        let described = described(space, &pairs.candidates, base)?;
        let groups = ranges(&described[0]);
        let rows = described.iter().map(|groups| groups.concat()).collect();
        let process = GaussianProcess::fit(Table { rows, groups }, &pairs.accuracies, method.kernel())?;
        Ok(Self { method, process, base: base.cloned() })
    }

    /// The prediction of process and networks together.
    pub fn blend(
        &self,
        space: &SearchSpace,
        candidates: &[Candidate],
        networks: &[Prediction],
    ) -> Result<Vec<Prediction>, PredictorError> {
        let own = self.process.predict(&self.rows(space, candidates)?);
        let pairs = own.into_iter().zip(networks);
        Ok(pairs
            .map(|(own, other)| Prediction {
                mean: self.mix(own.mean, other.mean),
                spread: self.mix(own.spread, other.spread),
            })
            .collect())
    }

    /// The same without spreads, which cost a solve each. `networks` is asked only if they have a share.
    pub fn means(
        &self,
        space: &SearchSpace,
        candidates: &[Candidate],
        networks: impl FnOnce() -> Result<Vec<Prediction>, PredictorError>,
    ) -> Result<Vec<f64>, PredictorError> {
        let own = self.process.means(&self.rows(space, candidates)?);
        if self.method.share() == 1.0 {
            return Ok(own);
        }
        let pairs = own.into_iter().zip(networks()?);
        Ok(pairs.map(|(own, other)| self.mix(own, other.mean)).collect())
    }

    fn mix(&self, own: f64, networks: f64) -> f64 {
        let share = self.method.share();
        share * own + (1.0 - share) * networks
    }

    fn rows(&self, space: &SearchSpace, candidates: &[Candidate]) -> Result<Vec<Vec<f64>>, PredictorError> {
        let described = described(space, candidates, self.base.as_ref())?;
        Ok(described.iter().map(|groups| groups.concat()).collect())
    }
}

fn described(
    space: &SearchSpace,
    candidates: &[Candidate],
    base: Option<&Ensemble>,
) -> Result<Vec<Vec<Vec<f64>>>, PredictorError> {
    let bases = match base {
        Some(ensemble) => {
            ensemble.predict(&features(space, candidates, false))?.into_iter().map(|p| Some(p.mean)).collect()
        }
        None => vec![None; candidates.len()],
    };
    let pairs = candidates.par_iter().zip(bases);
    Ok(pairs.map(|(candidate, base)| describe(space, candidate, base)).collect())
}

/// How the networks of a fit come about.
#[derive(Clone, Copy)]
enum Start<'a> {
    Scratch { space: &'a SearchSpace, settings: &'a FitSettings },
    Transfer { from: &'a Predictor, settings: &'a TransferSettings },
}

impl Start<'_> {
    fn networks(&self, pairs: &Pairs, seed: u64) -> Result<Predictor, PredictorError> {
        match self {
            Self::Scratch { space, settings } => Predictor::fit(space, pairs, settings, seed),
            Self::Transfer { from, settings } => from.fit_from(pairs, settings, seed),
        }
    }

    /// The predictor with another method; a process that is there already is kept if it has the same covariance.
    fn with_method(
        &self,
        mut predictor: Predictor,
        pairs: &Pairs,
        method: Method,
    ) -> Result<Predictor, PredictorError> {
        match &mut predictor.process {
            Some(process) if method != Method::Networks && process.method.kernel() == method.kernel() => {
                process.method = method;
                Ok(predictor)
            }
            _ => self.add_process(predictor, pairs, method),
        }
    }

    /// At most [`CONTENDING_MEMBERS`] of the networks, for the cross-validation.
    fn few_networks(&self, pairs: &Pairs, seed: u64) -> Result<Predictor, PredictorError> {
        match self {
            Self::Scratch { space, settings } => {
                let members = settings.members.min(CONTENDING_MEMBERS);
                Predictor::fit(space, pairs, &FitSettings { members, ..**settings }, seed)
            }
            Self::Transfer { from, settings } => {
                from.first(CONTENDING_MEMBERS).fit_from(pairs, settings, seed)
            }
        }
    }

    fn add_process(
        &self,
        mut networks: Predictor,
        pairs: &Pairs,
        method: Method,
    ) -> Result<Predictor, PredictorError> {
        let base = match self {
            Self::Scratch { .. } => None,
            Self::Transfer { from, .. } => Some(&from.ensemble),
        };
        networks.process = match method {
            Method::Networks => None,
            _ => Some(Process::fit(&networks.space, pairs, method, base)?),
        };
        Ok(networks)
    }

    fn fit(&self, pairs: &Pairs, method: Option<Method>, seed: u64) -> Result<Predictor, PredictorError> {
        pairs.check()?;
        let method = match method {
            Some(method) => method,
            None if pairs.len() > MOST_PAIRS => Method::Networks,
            None => self.cross_validated(pairs, seed)?,
        };
        self.add_process(self.networks(pairs, seed)?, pairs, method)
    }

    /// The method that orders best in cross-validation (pooled over the folds).
    fn cross_validated(&self, pairs: &Pairs, seed: u64) -> Result<Method, PredictorError> {
        let contenders = Method::ALL;
        let order = shuffled(pairs.len(), &mut ChaCha8Rng::seed_from_u64(seed));
        let mut sums = [0.0; Method::ALL.len()];
        for fold in 0..FOLDS {
            let (inside, outside): (Vec<usize>, Vec<usize>) =
                (0..order.len()).partition(|place| place % FOLDS != fold);
            let at = |places: &[usize]| places.iter().map(|&place| order[place]).collect::<Vec<_>>();
            let (known, asked) = (pairs.select(&at(&inside)), pairs.select(&at(&outside)));
            if known.check().is_err() {
                return Ok(Method::Both);
            }
            let mut predictor = self.few_networks(&known, seed)?;
            for (sum, method) in sums.iter_mut().zip(contenders) {
                predictor = self.with_method(predictor, &known, method)?;
                *sum +=
                    pairwise_accuracy(&predictor.score(&asked.candidates)?, &asked.accuracies).unwrap_or(0.5);
            }
        }
        let best = (0..sums.len()).max_by(|&a, &b| sums[a].total_cmp(&sums[b])).unwrap_or(0);
        Ok(contenders[best])
    }
}

impl Predictor {
    /// Fits with one method, or, without one, with the method that cross-validation on these pairs prefers (above
    /// 3,000 pairs: the networks); see [`method`](Self::method). Networks are fitted in any case: a transfer starts
    /// from them.
    ///
    /// # Errors
    /// As [`fit`](Predictor::fit); more than 3,000 pairs for a process that was asked for.
    pub fn fit_with(
        space: &SearchSpace,
        pairs: &Pairs,
        method: Option<Method>,
        settings: &FitSettings,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        Start::Scratch { space, settings }.fit(pairs, method, seed)
    }

    /// Transfers with one method, or with the one that cross-validation prefers; a process is told what this
    /// predictor says about the architecture.
    ///
    /// # Errors
    /// As [`fit_from`](Predictor::fit_from); more than 3,000 pairs for a process that was asked for.
    pub fn fit_from_with(
        &self,
        pairs: &Pairs,
        method: Option<Method>,
        settings: &TransferSettings,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        Start::Transfer { from: self, settings }.fit(pairs, method, seed)
    }

    /// How this predictor predicts.
    pub fn method(&self) -> Method {
        self.process.as_ref().map_or(Method::Networks, |process| process.method)
    }
}
