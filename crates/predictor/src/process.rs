//! # Beside the networks: a Gaussian process, ridge regression, and the choice between them
//!
//! On few pairs a process that is told how candidates are alike (`description`) usually orders better than the
//! papers' networks. [`Predictor::fit_with`] without a method tries all of them and keeps the one that ordered
//! best in cross-validation on the pairs given; held-out pairs take no part. The folds of a process are solved in
//! closed form from one fit ([`GaussianProcess::left_out`]), those of the networks are fitted side by side. On complete
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
use crate::mlp::train::MlpSettings;
use crate::pairs::{Pairs, shuffled};
use crate::predictor::{FitSettings, Predictor, features};
use crate::transfer::TransferSettings;

/// Parts of the cross-validation.
const FOLDS: usize = 4;
/// Networks of an ensemble that take part in it: the whole ensemble would take as long as four fits.
const CONTENDING_MEMBERS: usize = 2;
/// How much better another method must be than the mean of networks and process: the mean errs less than either where
/// they are about equal, and in cross-validation its networks are fewer.
const FAVOUR: f64 = 0.003;
/// Most pairs that the method is chosen on: a process's cross-validation inverts a matrix of that size.
const MOST_TO_CHOOSE_ON: usize = 1000;

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

    /// The prediction from that of the process and that of the networks; `None` if one is needed and missing.
    fn mixed(self, process: Option<Vec<f64>>, networks: Option<&[f64]>) -> Option<Vec<f64>> {
        match self {
            Self::Networks => networks.map(<[f64]>::to_vec),
            Self::Process | Self::Ridge => process,
            Self::Both => {
                let mean = |(a, b): (&f64, &f64)| self.share() * a + (1.0 - self.share()) * b;
                Some(process?.iter().zip(networks?).map(mean).collect())
            }
        }
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

    /// Networks that nobody will ask, for a method in which they have no share.
    fn idle_networks(&self, pairs: &Pairs, seed: u64) -> Result<Predictor, PredictorError> {
        let idle = |mlp: MlpSettings| MlpSettings { steps: 1, epochs: 1, ..mlp };
        match self {
            Self::Scratch { space, settings } => {
                Predictor::fit(space, pairs, &FitSettings { members: 1, mlp: idle(settings.mlp) }, seed)
            }
            Self::Transfer { from, settings } => {
                let settings = TransferSettings { mlp: idle(settings.mlp), ..**settings };
                from.first(1).fit_from(pairs, &settings, seed)
            }
        }
    }

    fn space(&self) -> &SearchSpace {
        match self {
            Self::Scratch { space, .. } => space,
            Self::Transfer { from, .. } => &from.space,
        }
    }

    fn base(&self) -> Option<&Ensemble> {
        match self {
            Self::Scratch { .. } => None,
            Self::Transfer { from, .. } => Some(&from.ensemble),
        }
    }

    fn process(&self, pairs: &Pairs, method: Method) -> Result<Option<Process>, PredictorError> {
        match method {
            Method::Networks => Ok(None),
            _ => Process::fit(self.space(), pairs, method, self.base()).map(Some),
        }
    }

    fn fit(
        &self,
        pairs: &Pairs,
        method: Option<Method>,
        purpose: Purpose,
        seed: u64,
    ) -> Result<Predictor, PredictorError> {
        pairs.check()?;
        let (method, process) = match method {
            Some(method) => (method, self.process(pairs, method)?),
            None if pairs.len() > MOST_PAIRS => (Method::Networks, None),
            None => self.chosen(pairs, seed)?,
        };
        let idle = purpose == Purpose::Scoring && method.share() == 1.0;
        let networks = if idle { self.idle_networks(pairs, seed)? } else { self.networks(pairs, seed)? };
        Ok(Predictor { process, ..networks })
    }

    /// The method that cross-validation prefers, with its process.
    fn chosen(&self, pairs: &Pairs, seed: u64) -> Result<(Method, Option<Process>), PredictorError> {
        let part = pairs.split(MOST_TO_CHOOSE_ON, seed).0;
        let whole = pairs.len() == part.len();
        let (mut scores, processes) = self.cross_validate(if whole { pairs } else { &part }, seed)?;
        let favour = |score: &MethodScore| {
            score.pairwise_accuracy + if score.method == Method::Both { FAVOUR } else { 0.0 }
        };
        scores.sort_by(|a, b| favour(b).total_cmp(&favour(a)));
        let method = scores.first().map_or(Method::Both, |score| score.method);
        if !whole {
            return Ok((method, self.process(pairs, method)?));
        }
        let process = processes.into_iter().find(|process| process.method.kernel() == method.kernel());
        let named = |process: Process| Process { method, ..process };
        Ok((method, process.map(named).filter(|_| method != Method::Networks)))
    }

    /// Pairwise accuracy of every method on the pairs, each pair predicted without its fold. A process keeps its
    /// constants in every fold (they are chosen by marginal likelihood, not by the folds).
    fn cross_validate(
        &self,
        pairs: &Pairs,
        seed: u64,
    ) -> Result<(Vec<MethodScore>, Vec<Process>), PredictorError> {
        let order = shuffled(pairs.len(), &mut ChaCha8Rng::seed_from_u64(seed));
        let folds: Vec<Vec<usize>> =
            (0..FOLDS).map(|fold| order.iter().copied().skip(fold).step_by(FOLDS).collect()).collect();
        let (networks, processes) = rayon::join(
            || self.networks_left_out(pairs, &folds, seed),
            || [Method::Process, Method::Ridge].map(|method| self.process(pairs, method)),
        );
        let networks = networks?;
        let [full, linear] = processes;
        let processes: Vec<Process> = full?.into_iter().chain(linear?).collect();
        let mut scores = Vec::new();
        for method in Method::ALL {
            let own = processes.iter().find(|process| process.method.kernel() == method.kernel());
            let own = own.and_then(|own| own.process.left_out(&pairs.accuracies, &folds));
            let predicted = method.mixed(own, networks.as_deref());
            let right = |predicted: Vec<f64>| pooled(&predicted, &pairs.accuracies, &folds);
            scores.extend(
                predicted.map(right).map(|pairwise_accuracy| MethodScore { method, pairwise_accuracy }),
            );
        }
        Ok((scores, processes))
    }

    /// What networks say about each pair without its fold; `None` if a fold leaves too few pairs.
    fn networks_left_out(
        &self,
        pairs: &Pairs,
        folds: &[Vec<usize>],
        seed: u64,
    ) -> Result<Option<Vec<f64>>, PredictorError> {
        let one = |fold: &Vec<usize>| -> Result<Option<Vec<f64>>, PredictorError> {
            let known: Vec<usize> = (0..pairs.len()).filter(|index| !fold.contains(index)).collect();
            let known = pairs.select(&known);
            if known.check().is_err() {
                return Ok(None);
            }
            self.few_networks(&known, seed)?.score(&pairs.select(fold).candidates).map(Some)
        };
        let parts = folds.par_iter().map(one).collect::<Result<Vec<_>, _>>()?;
        let mut all = vec![0.0; pairs.len()];
        for (fold, part) in folds.iter().zip(parts) {
            let Some(part) = part else { return Ok(None) };
            fold.iter().zip(part).for_each(|(&index, value)| all[index] = value);
        }
        Ok(Some(all))
    }
}

/// Mean over the folds of the pairwise accuracy inside each.
fn pooled(predicted: &[f64], truth: &[f64], folds: &[Vec<usize>]) -> f64 {
    let one = |fold: &Vec<usize>| {
        let at = |values: &[f64]| fold.iter().map(|&index| values[index]).collect::<Vec<_>>();
        pairwise_accuracy(&at(predicted), &at(truth)).unwrap_or(0.5)
    };
    folds.iter().map(one).sum::<f64>() / folds.len() as f64
}

/// How well a method ordered pairs that it had not seen, in cross-validation.
#[derive(Debug, Clone, Copy, PartialEq)]
struct MethodScore {
    method: Method,
    pairwise_accuracy: f64,
}

/// What a predictor is fitted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To be kept: networks are fitted in any case, a transfer starts from them.
    Keeping,
    /// To be asked and forgotten: networks without a share in the answer are left out.
    Scoring,
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
        Start::Scratch { space, settings }.fit(pairs, method, Purpose::Keeping, seed)
    }

    /// As [`fit_with`](Self::fit_with), for a predictor that is asked and forgotten: if its method gives the networks no
    /// share, they are not trained.
    ///
    /// # Errors
    /// As [`fit_with`](Self::fit_with).
    pub fn fit_to_judge(
        space: &SearchSpace,
        pairs: &Pairs,
        method: Option<Method>,
        settings: &FitSettings,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        Start::Scratch { space, settings }.fit(pairs, method, Purpose::Scoring, seed)
    }

    /// Every method on the same pairs, the networks and the process fitted once.
    ///
    /// # Errors
    /// As [`fit_with`](Self::fit_with).
    pub fn fit_every_method(
        space: &SearchSpace,
        pairs: &Pairs,
        settings: &FitSettings,
        seed: u64,
    ) -> Result<Vec<Self>, PredictorError> {
        let start = Start::Scratch { space, settings };
        pairs.check()?;
        let networks = start.networks(pairs, seed)?;
        let process = start.process(pairs, Method::Process)?;
        let one = |method: Method| {
            let process = match method {
                Method::Ridge => start.process(pairs, method)?,
                Method::Networks => None,
                _ => process.clone().map(|process| Process { method, ..process }),
            };
            Ok(Predictor { process, ..networks.clone() })
        };
        Method::ALL.into_iter().map(one).collect()
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
        Start::Transfer { from: self, settings }.fit(pairs, method, Purpose::Keeping, seed)
    }

    /// As [`fit_from_with`](Self::fit_from_with), for a predictor that is asked and forgotten.
    ///
    /// # Errors
    /// As [`fit_from_with`](Self::fit_from_with).
    pub fn transfer_to_judge(
        &self,
        pairs: &Pairs,
        method: Option<Method>,
        settings: &TransferSettings,
        seed: u64,
    ) -> Result<Self, PredictorError> {
        Start::Transfer { from: self, settings }.fit(pairs, method, Purpose::Scoring, seed)
    }

    /// How this predictor predicts.
    pub fn method(&self) -> Method {
        self.process.as_ref().map_or(Method::Networks, |process| process.method)
    }
}
