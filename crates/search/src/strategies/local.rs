//! # Local search with restarts
//!
//! Climbs from a feasible draw: a batch of neighbours of the current candidate is scored, the best one replaces
//! it if it is better. After `patience` batches without progress it restarts from a fresh draw. A neighbour is a
//! mutation with a probability that changes about `changes` blocks.

use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use super::breeding::{Kind, children, fresh};
use super::evolution::check_count;
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::strategy::{Memory, Strategy};

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Neighbours a generation.
    pub batch: usize,
    /// Batches without progress before a restart.
    pub patience: u64,
    /// Blocks that a neighbour differs in, on average.
    pub changes: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 50, patience: 10, changes: 1.5 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct LocalSearch {
    settings: Settings,
    current: Option<Evaluation>,
    stalled: u64,
}

impl LocalSearch {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SearchError::BadSetting`].
    pub fn new(settings: Settings) -> Result<Self, SearchError> {
        check_count("batch", settings.batch)?;
        check_count("patience", settings.patience as usize)?;
        if !(settings.changes > 0.0 && settings.changes.is_finite()) {
            let expected = "a positive number";
            return Err(SearchError::BadSetting { setting: "changes", value: settings.changes, expected });
        }
        Ok(Self { settings, current: None, stalled: 0 })
    }
}

impl Strategy for LocalSearch {
    fn name(&self) -> &'static str {
        "local"
    }

    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError> {
        let blocks = domain.space().blocks().len() as f64;
        let probability = (self.settings.changes / blocks).min(1.0);
        match &self.current {
            None => fresh(domain, self.settings.batch, rng),
            Some(current) => {
                let kinds = vec![Kind::Mutated { probability }; self.settings.batch];
                children(domain, &[&current.candidate], &kinds, rng)
            }
        }
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        let best = evaluations.iter().max_by(|a, b| a.score.total_cmp(&b.score));
        let progress = match (best, &self.current) {
            (Some(best), Some(current)) => best.score > current.score,
            (best, None) => best.is_some(),
            _ => false,
        };
        if progress {
            self.current = best.cloned();
            self.stalled = 0;
        } else {
            self.stalled += 1;
        }
        if self.stalled >= self.settings.patience {
            (self.current, self.stalled) = (None, 0);
        }
    }

    fn memory(&self) -> Memory {
        Memory { evaluations: self.current.iter().cloned().collect(), counters: vec![self.stalled] }
    }

    fn restore(&mut self, memory: Memory) {
        self.current = memory.evaluations.into_iter().next();
        self.stalled = memory.counters.first().copied().unwrap_or(0);
    }
}
