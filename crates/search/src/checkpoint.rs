//! # Checkpoint: a search as text, to be resumed to the same history
//!
//! Candidates are stored as their JSON, scores as the shortest decimal text that reads back to the same bits,
//! costs are recomputed.

use rand_chacha::ChaCha8Rng;
use sartor_space::{Candidate, SearchSpace};
use serde::{Deserialize, Serialize};

use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::metric::Metric;
use crate::pareto::ParetoFront;
use crate::runner::{Runner, State};
use crate::strategy::Memory;

const VERSION: u32 = 1;

/// Everything needed to go on with a search over the same domain.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    version: u32,
    identity: String,
    generation: u64,
    evaluated: u64,
    stalled: u64,
    rng: ChaCha8Rng,
    best: Option<Stored>,
    front_metrics: Vec<Metric>,
    front: Vec<Stored>,
    memory: Vec<Stored>,
    counters: Vec<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    candidate: String,
    score: String,
}

impl Stored {
    fn new(evaluation: &Evaluation, space: &SearchSpace) -> Self {
        Self { candidate: evaluation.candidate.to_json(space), score: format!("{:?}", evaluation.score) }
    }

    fn read(&self, domain: &Domain<'_>) -> Result<Evaluation, SearchError> {
        let broken = |message: String| SearchError::BrokenCheckpoint { message };
        let candidate =
            Candidate::from_json(&self.candidate, domain.space()).map_err(|e| broken(e.to_string()))?;
        let score = self.score.parse().map_err(|_| broken(format!("`{}` is not a score", self.score)))?;
        let costs = domain.costs(&candidate);
        Ok(Evaluation { candidate, score, costs })
    }
}

/// What must be equal for a checkpoint to be resumed.
fn identity(runner: &Runner<'_>) -> String {
    let domain = runner.domain;
    let limits: Vec<String> =
        domain.budget().limits().iter().map(|(metric, limit)| format!("{metric} ≤ {limit:?}")).collect();
    format!("{} on space {} with [{}]", runner.strategy.name(), domain.space().hash(), limits.join(", "))
}

impl Runner<'_> {
    /// The state between generations, ready to be written.
    pub fn checkpoint(&self) -> Checkpoint {
        let space = self.domain.space();
        let store = |evaluations: &[Evaluation]| evaluations.iter().map(|e| Stored::new(e, space)).collect();
        let memory = self.strategy.memory();
        Checkpoint {
            version: VERSION,
            identity: identity(self),
            generation: self.state.generation,
            evaluated: self.state.evaluated,
            stalled: self.state.stalled,
            rng: self.state.rng.clone(),
            best: self.state.best.as_ref().map(|best| Stored::new(best, space)),
            front_metrics: self.state.front.metrics().to_vec(),
            front: store(self.state.front.members()),
            memory: store(&memory.evaluations),
            counters: memory.counters,
        }
    }

    /// Goes on from a checkpoint of the same strategy, space and budget.
    ///
    /// # Errors
    /// [`SearchError::ForeignCheckpoint`] or [`SearchError::BrokenCheckpoint`].
    pub fn resume(&mut self, checkpoint: &Checkpoint) -> Result<(), SearchError> {
        let got = identity(self);
        if checkpoint.identity != got || checkpoint.version != VERSION {
            return Err(SearchError::ForeignCheckpoint { expected: checkpoint.identity.clone(), got });
        }
        let read =
            |stored: &[Stored]| stored.iter().map(|s| s.read(self.domain)).collect::<Result<Vec<_>, _>>();
        let memory = Memory { evaluations: read(&checkpoint.memory)?, counters: checkpoint.counters.clone() };
        let mut front = ParetoFront::new(checkpoint.front_metrics.iter().copied());
        for member in read(&checkpoint.front)? {
            front.offer(&member);
        }
        self.state = State {
            generation: checkpoint.generation,
            evaluated: checkpoint.evaluated,
            stalled: checkpoint.stalled,
            best: checkpoint.best.as_ref().map(|best| best.read(self.domain)).transpose()?,
            front,
            rng: checkpoint.rng.clone(),
        };
        self.strategy.restore(memory);
        Ok(())
    }
}
