//! # Strategy: what to try next (ask), what came of it (tell)
//!
//! A strategy proposes candidates inside the domain and learns from their evaluations. The loop, limits,
//! observers and checkpoints are the [`Runner`](crate::Runner)'s.

use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;

/// Ask/tell.
pub trait Strategy: Send {
    /// Name in configuration files, see [`strategies::NAMES`](crate::strategies::NAMES).
    fn name(&self) -> &'static str;

    /// The next candidates to evaluate, all inside the domain; empty when there is nothing left to try.
    ///
    /// # Errors
    /// [`SearchError::NothingFound`] when no candidate within the budget is found in a bounded number of tries.
    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError>;

    /// Evaluations of exactly what was asked, in order.
    fn tell(&mut self, evaluations: &[Evaluation]);

    /// Everything the strategy remembers.
    fn memory(&self) -> Memory;

    /// Goes back to a remembered state of the same strategy.
    fn restore(&mut self, memory: Memory);
}

/// What a strategy remembers between generations: evaluations in an order of its own, and counters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// Evaluations, for example the population.
    pub evaluations: Vec<Evaluation>,
    /// Counters, for example the number of generations.
    pub counters: Vec<u64>,
}
