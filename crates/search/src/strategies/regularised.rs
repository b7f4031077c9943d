//! # Regularised (ageing) evolution
//!
//! Real et al. 2019, algorithm 1: a tournament picks the parent, its mutated child joins the population, the
//! *oldest* member leaves. Here a batch of tournaments is held at once, so that scoring can be batched; with a
//! batch of one it is the paper's algorithm.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use super::breeding::{Kind, children, fresh};
use super::evolution::{check_count, check_probability};
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::strategy::{Memory, Strategy};

/// Settings; population and tournament as in the paper's CIFAR-10 search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Members alive.
    pub population: usize,
    /// Members in one tournament.
    pub tournament: usize,
    /// Children a generation.
    pub batch: usize,
    /// Chance that a block's choices are redrawn.
    pub mutation_probability: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { population: 100, tournament: 25, batch: 20, mutation_probability: 0.1 }
    }
}

/// See the module. The population is ordered by age, oldest first.
#[derive(Debug, Clone)]
pub struct Regularised {
    settings: Settings,
    population: Vec<Evaluation>,
}

impl Regularised {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SearchError::BadSetting`].
    pub fn new(settings: Settings) -> Result<Self, SearchError> {
        check_count("population", settings.population)?;
        check_count("tournament", settings.tournament)?;
        check_count("batch", settings.batch)?;
        check_probability("mutation_probability", settings.mutation_probability)?;
        Ok(Self { settings, population: Vec::new() })
    }

    fn tournament(&self, rng: &mut ChaCha8Rng) -> &Candidate {
        let drawn = (0..self.settings.tournament).map(|_| rng.random_range(0..self.population.len()));
        let best = drawn
            .max_by(|&a, &b| self.population[a].score.total_cmp(&self.population[b].score).then(b.cmp(&a)));
        &self.population[best.unwrap_or(0)].candidate
    }
}

impl Strategy for Regularised {
    fn name(&self) -> &'static str {
        "regularised"
    }

    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError> {
        if self.population.len() < self.settings.population {
            return fresh(domain, self.settings.population - self.population.len(), rng);
        }
        let kind = [Kind::Mutated { probability: self.settings.mutation_probability }];
        let parents: Vec<Candidate> =
            (0..self.settings.batch).map(|_| self.tournament(rng).clone()).collect();
        let families = parents.iter().map(|parent| children(domain, &[parent], &kind, rng));
        Ok(families.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        self.population.extend_from_slice(evaluations);
        let dead = self.population.len().saturating_sub(self.settings.population);
        self.population.drain(..dead);
    }

    fn memory(&self) -> Memory {
        Memory { evaluations: self.population.clone(), counters: Vec::new() }
    }

    fn restore(&mut self, memory: Memory) {
        self.population = memory.evaluations;
    }
}
