//! Questions to a finished run: searches with its predictor alone, nothing measured, nothing in the folder changed.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use sartor_engine::pool::in_pool;
use sartor_predictor::Predictor;
use sartor_search::{
    Control, Domain, Evaluation, Filter, Limits, Metric, ObserverMode, ParetoFront, Remembered, Runner,
    SearchError, Strategy, enumerate,
};
use sartor_space::Candidate;

use super::fleet::Fleet;
use super::hunt;
use crate::config::sections::Search as Settings;

/// Generations without a better candidate after which a question is answered.
const PATIENCE: u64 = 60;
/// Candidates in a space that is simply tried out, so that the gap to the optimum is known.
const ENUMERABLE: usize = 20_000;

/// Someone who asks; scores are remembered from one question to the next.
pub struct Asking<'a> {
    settings: &'a Settings,
    predictor: &'a Predictor,
    known: Mutex<Remembered>,
}

/// What came out of a search.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Best by prediction.
    pub best: Evaluation,
    /// Candidates scored.
    pub evaluated: u64,
    /// Why it stopped.
    pub stop_reason: &'static str,
    /// Seconds it took.
    pub seconds: f64,
    /// How far from the best candidate there is, where that can be said.
    pub gap: Option<Gap>,
}

/// Accuracy that is lost at most against the best candidate there is.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// As a share, 0–1.
    pub accuracy: f64,
    /// How that is known.
    pub proof: &'static str,
}

const TRIED: Gap = Gap { accuracy: 0.0, proof: "every candidate was tried" };

/// How long to search.
#[derive(Debug, Clone, Copy)]
pub enum Effort {
    /// Until nothing better comes for a while.
    Patient,
    /// So many evaluations.
    Evaluations(u64),
}

impl<'a> Asking<'a> {
    /// Asks a predictor, with the settings of `[search]`.
    pub fn new(settings: &'a Settings, predictor: &'a Predictor) -> Self {
        Self { settings, predictor, known: Mutex::default() }
    }

    /// The settings it searches with.
    pub fn settings(&self) -> &Settings {
        self.settings
    }

    /// Evaluations of a search as `[search]` sets it.
    pub fn usual_evaluations(&self) -> u64 {
        (self.settings.population * (self.settings.generations + 1)) as u64
    }

    /// What the predictor says.
    ///
    /// # Errors
    /// What it fails with.
    pub fn scores(&self, candidates: &[Candidate]) -> Result<Vec<f64>, SearchError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.scores(candidates, |fresh| hunt::score(self.predictor, fresh))
    }

    /// The best candidate within all budgets of the fleet.
    ///
    /// # Errors
    /// An infeasible budget.
    pub fn best(&self, fleet: &Fleet<'_>, filter: Filter<'_>, effort: Effort, seed: u64) -> Result<Answer> {
        fleet.within(filter, |domain| self.run(domain, hunt::strategy(self.settings)?, effort, seed, |_| {}))
    }

    /// As [`best`](Self::best) without a filter and until nothing better comes; says how far from the optimum.
    ///
    /// # Errors
    /// An infeasible budget.
    pub fn answer(&self, fleet: &Fleet<'_>, seed: u64) -> Result<Answer> {
        fleet.within(&|_, _, _| true, |domain| {
            let strategy = hunt::strategy(self.settings)?;
            let answer = self.run(domain, strategy, Effort::Patient, seed, |_| {})?;
            self.completed(domain, answer)
        })
    }

    /// Where every candidate can be tried, the best of them; else with a bound, where the predictor has one.
    fn completed(&self, domain: &Domain<'_>, answer: Answer) -> Result<Answer> {
        let Ok(all) = enumerate(domain, ENUMERABLE) else {
            let gap = self.bounded(domain, &answer.best);
            return Ok(Answer { gap, ..answer });
        };
        let started = Instant::now();
        let (count, scores) = (all.len() as u64, self.scores(&all)?);
        let evaluations = domain.evaluations(all, &scores);
        let first = answer.best.clone();
        let better =
            |best: Evaluation, other: Evaluation| if other.score > best.score { other } else { best };
        let best = evaluations.into_iter().fold(first, better);
        let seconds = answer.seconds + started.elapsed().as_secs_f64();
        Ok(Answer { best, evaluated: answer.evaluated + count, seconds, gap: Some(TRIED), ..answer })
    }

    /// How much more than the best any candidate could have by this predictor, if it adds up over blocks.
    fn bounded(&self, domain: &Domain<'_>, best: &Evaluation) -> Option<Gap> {
        let sum = self.predictor.additive()?;
        let gain = |index, block, bits| sum.block(index, block, bits);
        let bound = domain.bound(sum.constant(), &gain, &best.candidate);
        Some(Gap { accuracy: (sum.accuracy(bound) - best.score).max(0.0), proof: "a Lagrangian bound" })
    }

    /// One search in a domain; `see` is shown every generation.
    ///
    /// # Errors
    /// Whatever the strategy or the predictor fails with.
    pub fn run(
        &self,
        domain: &Domain<'_>,
        strategy: Box<dyn Strategy>,
        effort: Effort,
        seed: u64,
        mut see: impl FnMut(&[Evaluation]) + Send,
    ) -> Result<Answer> {
        let started = Instant::now();
        let generations = self.settings.generations as u64;
        let limits = match effort {
            Effort::Patient => Limits { generations, evaluations: None, stalled: Some(PATIENCE) },
            Effort::Evaluations(evaluations) => {
                Limits { generations: u64::MAX - 1, evaluations: Some(evaluations), stalled: None }
            }
        };
        let search = || {
            Runner::new(domain, strategy, seed)
                .with_limits(limits)
                .with_observer(ObserverMode::Always, |seen| {
                    see(seen.batch);
                    Control::Continue
                })
                .run(|candidates| self.scores(candidates))
        };
        let outcome = in_pool(search)?;
        Ok(Answer {
            best: outcome.best,
            evaluated: outcome.evaluated,
            stop_reason: outcome.stop_reason.name(),
            seconds: started.elapsed().as_secs_f64(),
            gap: None,
        })
    }
}

/// Offers a generation to a front.
pub fn gather(front: &mut ParetoFront, batch: &[Evaluation]) {
    batch.iter().for_each(|evaluation| {
        front.offer(evaluation);
    });
}

/// What a front is measured by, beside accuracy.
pub const FRONT_METRICS: [Metric; 2] = [Metric::LatencyMs, Metric::EnergyMj];
