//! # The evolution of the authors' released code, faults included
//!
//! What the paper's evolution is compared with: crossed children are scored and then thrown away, and mutation never
//! changes a stage's depth. Not in the list of strategies; never use it to search.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use super::breeding::fresh;
use super::evolution::{Settings, best_first};
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::strategy::{Memory, Strategy};

/// Redraws of one child before a fresh draw takes its place (the release redraws for ever).
const REDRAWS: usize = 200;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Release {
    settings: Settings,
    parents: Vec<Evaluation>,
}

impl Release {
    fn mutated(&self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Candidate {
        let parent = self.parent(rng);
        let mut child = domain.mutate(parent, self.settings.mutation_probability, rng);
        for index in 0..child.subnet.blocks.len() {
            if child.subnet.blocks[index].is_some() != parent.subnet.blocks[index].is_some() {
                child.subnet.blocks[index] = parent.subnet.blocks[index];
                if let (Some(to), Some(from)) = (&mut child.policy, &parent.policy) {
                    to.blocks[index] = from.blocks[index];
                }
            }
        }
        child
    }

    fn parent(&self, rng: &mut impl Rng) -> &Candidate {
        &self.parents[rng.random_range(0..self.parents.len())].candidate
    }

    fn child(
        &self,
        domain: &Domain<'_>,
        crossed: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Candidate, SearchError> {
        for _ in 0..REDRAWS {
            let child = if crossed {
                let (first, second) = (self.parent(rng).clone(), self.parent(rng).clone());
                domain.space().crossover(&first, &second, rng)
            } else {
                self.mutated(domain, rng)
            };
            if domain.allows(&child) {
                return Ok(child);
            }
        }
        domain.sample(rng)
    }
}

impl Strategy for Release {
    fn name(&self) -> &'static str {
        "release"
    }

    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError> {
        if self.parents.is_empty() {
            return fresh(domain, self.settings.population, rng);
        }
        let Settings { mutated, crossed, .. } = self.settings;
        (0..mutated + crossed).map(|index| self.child(domain, index >= mutated, rng)).collect()
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        let kept = if self.parents.is_empty() { evaluations.len() } else { self.settings.mutated };
        let mut all: Vec<&Evaluation> = self.parents.iter().chain(evaluations.iter().take(kept)).collect();
        best_first(&mut all);
        self.parents = all.into_iter().take(self.settings.parents).cloned().collect();
    }

    fn memory(&self) -> Memory {
        Memory { evaluations: self.parents.clone(), counters: Vec::new() }
    }

    fn restore(&mut self, memory: Memory) {
        self.parents = memory.evaluations;
    }
}
