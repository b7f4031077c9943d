//! # Multi-objective evolution (NSGA-II)
//!
//! Deb et al. 2002: parents and children are sorted into non-dominated ranks, ties in rank broken by crowding
//! distance; binary tournaments by (rank, crowding) choose parents. Objectives: score up, the given costs down.
//! Hard budgets are met by construction, so no constrained dominance is needed. Half of the children are mutated,
//! half crossed over and then mutated by the next generations.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use super::breeding::{Kind, children, fresh};
use super::evolution::{check_count, check_probability};
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::metric::Metric;
use crate::pareto::{crowding, objectives, ranks};
use crate::strategy::{Memory, Strategy};

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Members kept, and children a generation.
    pub population: usize,
    /// Chance that a block's choices are redrawn.
    pub mutation_probability: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { population: 100, mutation_probability: 0.1 }
    }
}

/// See the module. The population is ordered best first (rank, then crowding).
#[derive(Debug, Clone)]
pub struct Nsga {
    settings: Settings,
    objectives: Vec<Metric>,
    population: Vec<Evaluation>,
}

impl Nsga {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SearchError::BadSetting`].
    pub fn new(settings: Settings, objectives: &[Metric]) -> Result<Self, SearchError> {
        check_count("population", settings.population)?;
        check_probability("mutation_probability", settings.mutation_probability)?;
        Ok(Self { settings, objectives: objectives.to_vec(), population: Vec::new() })
    }

    /// Better of two members, which is the earlier one.
    fn tournament(&self, rng: &mut ChaCha8Rng) -> &Candidate {
        let mut draw = || rng.random_range(0..self.population.len());
        &self.population[draw().min(draw())].candidate
    }
}

impl Strategy for Nsga {
    fn name(&self) -> &'static str {
        "nsga"
    }

    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError> {
        if self.population.is_empty() {
            return fresh(domain, self.settings.population, rng);
        }
        let parents: Vec<&Candidate> = (0..self.settings.population).map(|_| self.tournament(rng)).collect();
        let mutated = Kind::Mutated { probability: self.settings.mutation_probability };
        let kinds: Vec<Kind> =
            [mutated, Kind::Crossed].into_iter().cycle().take(self.settings.population).collect();
        children(domain, &parents, &kinds, rng)
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        self.population.extend_from_slice(evaluations);
        self.population.sort_by(|a, b| a.candidate.cmp(&b.candidate));
        self.population.dedup_by(|a, b| a.candidate == b.candidate);
        self.population =
            survivors(std::mem::take(&mut self.population), &self.objectives, self.settings.population);
    }

    fn memory(&self) -> Memory {
        Memory { evaluations: self.population.clone(), counters: Vec::new() }
    }

    fn restore(&mut self, memory: Memory) {
        self.population = memory.evaluations;
    }
}

/// The best by rank, then by crowding distance, best first.
fn survivors(members: Vec<Evaluation>, metrics: &[Metric], count: usize) -> Vec<Evaluation> {
    let points: Vec<Vec<f64>> = members.iter().map(|member| objectives(member, metrics)).collect();
    let ranks = ranks(&points);
    let distances = crowding_by_rank(&points, &ranks);
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|&a, &b| {
        ranks[a].cmp(&ranks[b]).then(distances[b].total_cmp(&distances[a])).then(a.cmp(&b))
    });
    order.into_iter().take(count).map(|index| members[index].clone()).collect()
}

fn crowding_by_rank(points: &[Vec<f64>], ranks: &[usize]) -> Vec<f64> {
    let mut distances = vec![0.0; points.len()];
    for rank in 0..=ranks.iter().copied().max().unwrap_or(0) {
        let members: Vec<usize> = (0..points.len()).filter(|&index| ranks[index] == rank).collect();
        let of_rank: Vec<Vec<f64>> = members.iter().map(|&index| points[index].clone()).collect();
        members.iter().zip(crowding(&of_rank)).for_each(|(&index, distance)| distances[index] = distance);
    }
    distances
}
