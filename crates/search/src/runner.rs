//! # Runner: the one search loop
//!
//! Owns limits, observers, the best so far, the Pareto front, the random stream and the checkpoint; the strategy
//! owns what to try. The loop never fails to end: it stops for a [`StopReason`]. It does not read the clock:
//! whoever wants a time limit lets an observer say [`Control::Stop`].

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::metric::Metric;
use crate::pareto::ParetoFront;
use crate::strategy::Strategy;

/// When to stop; whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Generations after the first population (the papers: 500).
    pub generations: u64,
    /// Evaluations; checked between generations.
    pub evaluations: Option<u64>,
    /// Generations in a row without a better score.
    pub stalled: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { generations: 500, evaluations: None, stalled: None }
    }
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// All generations done.
    Generations,
    /// All evaluations spent.
    Evaluations,
    /// No better score for as many generations as allowed.
    Stalled,
    /// The strategy has nothing left to try.
    Exhausted,
    /// An observer asked for it.
    Interrupted,
}

impl StopReason {
    /// One lower-case word for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generations => "generations",
            Self::Evaluations => "evaluations",
            Self::Stalled => "stalled",
            Self::Exhausted => "exhausted",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What an observer is told after a generation.
pub struct Progress<'a> {
    /// Generations done; 1 after the first population.
    pub generation: u64,
    /// Generations there will be at most.
    pub generations: u64,
    /// Evaluations so far.
    pub evaluated: u64,
    /// Best so far.
    pub best: &'a Evaluation,
    /// Whether this generation found it.
    pub improved: bool,
    /// This generation.
    pub batch: &'a [Evaluation],
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// End the search after this generation.
    Stop,
}

/// When an observer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObserverMode {
    /// After every generation.
    Always,
    /// When a better candidate was found.
    NewBest,
    /// After every n-th generation.
    Every(u64),
}

impl ObserverMode {
    fn applies(self, progress: &Progress<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::NewBest => progress.improved,
            Self::Every(period) => progress.generation.is_multiple_of(period.max(1)),
        }
    }
}

type Observer<'a> = (ObserverMode, Box<dyn FnMut(&Progress<'_>) -> Control + 'a>);

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Best score; the first found of equals.
    pub best: Evaluation,
    /// Candidates evaluated, over all parts of a resumed search.
    pub evaluated: u64,
    /// Generations done.
    pub generations: u64,
    /// Why it ended.
    pub stop_reason: StopReason,
    /// Score against the metrics asked for; empty if none was asked for.
    pub front: ParetoFront,
}

/// The state of the loop; see [`Checkpoint`](crate::Checkpoint) for its text form.
#[derive(Debug, Clone)]
pub struct State {
    /// Generations done.
    pub generation: u64,
    /// Evaluations so far.
    pub evaluated: u64,
    /// Generations since the best was found.
    pub stalled: u64,
    /// Best so far.
    pub best: Option<Evaluation>,
    /// The front so far.
    pub front: ParetoFront,
    /// The random stream.
    pub rng: ChaCha8Rng,
}

/// Gives one score per candidate, in order.
type Score<'s> = dyn FnMut(&[Candidate]) -> Result<Vec<f64>, SearchError> + 's;

/// The loop.
pub struct Runner<'a> {
    pub(crate) domain: &'a Domain<'a>,
    pub(crate) strategy: Box<dyn Strategy>,
    limits: Limits,
    observers: Vec<Observer<'a>>,
    pub(crate) state: State,
}

impl<'a> Runner<'a> {
    /// A search from scratch with the default limits, no observers and no front.
    pub fn new(domain: &'a Domain<'a>, strategy: Box<dyn Strategy>, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let state =
            State { generation: 0, evaluated: 0, stalled: 0, best: None, front: ParetoFront::new([]), rng };
        Self { domain, strategy, limits: Limits::default(), observers: Vec::new(), state }
    }

    /// Sets the limits; default: 500 generations.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Collects the Pareto front of score against these costs; default: none.
    pub fn with_front(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {
        self.state.front = ParetoFront::new(metrics);
        self
    }

    /// Adds an observer.
    pub fn with_observer(
        mut self,
        mode: ObserverMode,
        observer: impl FnMut(&Progress<'_>) -> Control + 'a,
    ) -> Self {
        self.observers.push((mode, Box::new(observer)));
        self
    }

    /// The state between generations.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Runs to the end. `score` returns one number per candidate, in order; larger is better.
    ///
    /// # Errors
    /// Whatever the strategy or `score` reports; [`SearchError::WrongCount`] and [`SearchError::BadScore`] for
    /// results that cannot be used.
    pub fn run(
        &mut self,
        mut score: impl FnMut(&[Candidate]) -> Result<Vec<f64>, SearchError>,
    ) -> Result<Outcome, SearchError> {
        loop {
            if let Some(reason) = self.step(&mut score)? {
                return self.outcome(reason);
            }
        }
    }

    /// One generation; tells why to stop, if it is time.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn step(&mut self, score: &mut Score<'_>) -> Result<Option<StopReason>, SearchError> {
        if let Some(reason) = self.limit_reached() {
            return Ok(Some(reason));
        }
        let candidates = self.strategy.ask(self.domain, &mut self.state.rng)?;
        if candidates.is_empty() {
            return Ok(Some(StopReason::Exhausted));
        }
        let scores = score(&candidates)?;
        check_scores(candidates.len(), &scores)?;
        let batch = self.domain.evaluations(candidates, &scores);
        self.strategy.tell(&batch);
        let improved = self.record(&batch);
        let stop = self.observe(&batch, improved) == Control::Stop;
        Ok(stop.then_some(StopReason::Interrupted))
    }

    fn limit_reached(&self) -> Option<StopReason> {
        let State { generation, evaluated, stalled, .. } = self.state;
        let reached = |limit: Option<u64>, value: u64| limit.is_some_and(|limit| value >= limit);
        if generation > self.limits.generations {
            Some(StopReason::Generations)
        } else if reached(self.limits.evaluations, evaluated) {
            Some(StopReason::Evaluations)
        } else {
            reached(self.limits.stalled, stalled).then_some(StopReason::Stalled)
        }
    }

    fn record(&mut self, batch: &[Evaluation]) -> bool {
        let state = &mut self.state;
        state.generation += 1;
        state.evaluated += batch.len() as u64;
        let before = state.best.as_ref().map_or(f64::NEG_INFINITY, |best| best.score);
        let mut best = before;
        for evaluation in batch {
            if evaluation.score > best {
                best = evaluation.score;
                state.best = Some(evaluation.clone());
            }
            if !state.front.metrics().is_empty() {
                state.front.offer(evaluation);
            }
        }
        state.stalled = if best > before { 0 } else { state.stalled + 1 };
        best > before
    }

    fn observe(&mut self, batch: &[Evaluation], improved: bool) -> Control {
        let Some(best) = &self.state.best else { return Control::Continue };
        let progress = Progress {
            generation: self.state.generation,
            generations: self.limits.generations + 1,
            evaluated: self.state.evaluated,
            best,
            improved,
            batch,
        };
        let mut control = Control::Continue;
        for (mode, observer) in &mut self.observers {
            if mode.applies(&progress) && observer(&progress) == Control::Stop {
                control = Control::Stop;
            }
        }
        control
    }

    fn outcome(&self, stop_reason: StopReason) -> Result<Outcome, SearchError> {
        let nothing = || SearchError::BadSetting {
            setting: "evaluations",
            value: 0.0,
            expected: "at least one evaluation",
        };
        Ok(Outcome {
            best: self.state.best.clone().ok_or_else(nothing)?,
            evaluated: self.state.evaluated,
            generations: self.state.generation,
            stop_reason,
            front: self.state.front.clone(),
        })
    }
}

fn check_scores(expected: usize, scores: &[f64]) -> Result<(), SearchError> {
    if scores.len() != expected {
        return Err(SearchError::WrongCount { expected, got: scores.len() });
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(index) => Err(SearchError::BadScore { index, score: scores[index] }),
        None => Ok(()),
    }
}
