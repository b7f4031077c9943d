//! # Evolution under hard budgets
//!
//! EMS/APQ, section 3.3 (after Single Path One-Shot, Guo et al. 2019, algorithm 1): a population of 100, its best
//! 25 are the parents of 50 mutated and 50 crossed-over children; every block's choices are redrawn with
//! probability 0.1; 500 generations.
//!
//! The authors' released procedure differs from their text, and this follows the text: the bits are part of
//! what is scored, crossed-over children stay in the population, depth mutates, and the search for a child within
//! the budget is bounded (redraw, then repair, then a fresh draw). Ours are:
//! * the first population is drawn within the budget instead of being waited for; equal candidates count once among the
//!   parents;
//! * of the mutations, a third redraws one choice of a block (its kernel, its width or one of its bit-widths) instead of all
//!   of them: where a block has 10,000 combinations, redrawing all of them hardly ever improves what is good already;
//! * a third changes the depth of one stage: what wakes up imitates the block before it, and single choices pay for it;
//! * at most a third of the parents keep the same blocks. Without these two, one combination of depths fills the parents
//!   within some ten generations, and a candidate of another, not yet tuned, never gets in again.
//!
//! On a network fitted to a made-up landscape over `apq` (`cargo bench -p sartor -- quality`), 500 generations without the last
//! two end in one of two groups of seeds, 0.3 points apart.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use super::breeding::{Kind, children, fresh};
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::strategy::{Memory, Strategy};

/// The papers' settings by default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Size of the first population.
    pub population: usize,
    /// Best of the population that breed.
    pub parents: usize,
    /// Mutated children a generation.
    pub mutated: usize,
    /// Crossed-over children a generation.
    pub crossed: usize,
    /// Chance that a block's choices (a stage's depth) are redrawn in a mutation.
    pub mutation_probability: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { population: 100, parents: 25, mutated: 50, crossed: 50, mutation_probability: 0.1 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Evolution {
    settings: Settings,
    parents: Vec<Evaluation>,
}

impl Evolution {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SearchError::BadSetting`].
    pub fn new(settings: Settings) -> Result<Self, SearchError> {
        check_count("population", settings.population)?;
        check_count("parents", settings.parents)?;
        check_count("mutated + crossed", settings.mutated + settings.crossed)?;
        check_probability("mutation_probability", settings.mutation_probability)?;
        Ok(Self { settings, parents: Vec::new() })
    }

    fn kinds(&self) -> Vec<Kind> {
        let probability = self.settings.mutation_probability;
        let mutations = [Kind::Mutated { probability }, Kind::Tweaked { probability }, Kind::Reshaped];
        let mut kinds: Vec<Kind> = mutations.into_iter().cycle().take(self.settings.mutated).collect();
        kinds.extend(vec![Kind::Crossed; self.settings.crossed]);
        kinds
    }
}

impl Strategy for Evolution {
    fn name(&self) -> &'static str {
        "evolution"
    }

    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError> {
        if self.parents.is_empty() {
            return fresh(domain, self.settings.population, rng);
        }
        let parents: Vec<&Candidate> = self.parents.iter().map(|parent| &parent.candidate).collect();
        children(domain, &parents, &self.kinds(), rng)
    }

    fn tell(&mut self, evaluations: &[Evaluation]) {
        let mut all: Vec<&Evaluation> = self.parents.iter().chain(evaluations).collect();
        best_first(&mut all);
        let diverse = all.into_iter().filter(limit_alike(self.settings.parents.div_ceil(3)));
        self.parents = diverse.take(self.settings.parents).cloned().collect();
    }

    fn memory(&self) -> Memory {
        Memory { evaluations: self.parents.clone(), counters: Vec::new() }
    }

    fn restore(&mut self, memory: Memory) {
        self.parents = memory.evaluations;
    }
}

/// Best score first, equal candidates once; ties in the order of candidates, so that the result is unique.
pub(crate) fn best_first(evaluations: &mut Vec<&Evaluation>) {
    evaluations.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.cmp(&b.candidate)));
    evaluations.dedup_by(|a, b| a.candidate == b.candidate);
}

/// Lets the first `most` of all evaluations pass whose candidates have the same active blocks.
fn limit_alike(most: usize) -> impl FnMut(&&Evaluation) -> bool {
    let mut counts: BTreeMap<Vec<bool>, usize> = BTreeMap::new();
    move |evaluation| {
        let active = evaluation.candidate.subnet.blocks.iter().map(Option::is_some).collect();
        let count = counts.entry(active).or_default();
        *count += 1;
        *count <= most
    }
}

pub(crate) fn check_count(setting: &'static str, value: usize) -> Result<(), SearchError> {
    let fits = (1..=1_000_000).contains(&value);
    fits.then_some(()).ok_or(SearchError::BadSetting {
        setting,
        value: value as f64,
        expected: "1 to 1000000",
    })
}

pub(crate) fn check_probability(setting: &'static str, value: f64) -> Result<(), SearchError> {
    let fits = (0.0..=1.0).contains(&value);
    fits.then_some(()).ok_or(SearchError::BadSetting { setting, value, expected: "0 to 1" })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use sartor_space::SearchSpace;

    use super::*;
    use crate::metric::Costs;

    #[test]
    fn a_third_of_the_parents_at_most_keep_the_same_blocks() {
        let space = SearchSpace::preset("quickstart").expect("preset");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let deepest = space.random_candidate(&mut rng).subnet.blocks.iter().map(|_| true).collect::<Vec<_>>();
        let mut deep = Vec::new();
        let mut other = Vec::new();
        while deep.len() < 40 || other.len() < 40 {
            let candidate = space.random_candidate(&mut rng);
            let active: Vec<bool> = candidate.subnet.blocks.iter().map(Option::is_some).collect();
            let score = if active == deepest { 2.0 } else { 1.0 };
            let into = if active == deepest { &mut deep } else { &mut other };
            into.push(Evaluation { candidate, score, costs: Costs::UNKNOWN });
        }
        let mut evolution = Evolution::new(Settings::default()).expect("defaults");
        evolution.tell(&[deep, other].concat());
        let best = evolution.parents.iter().filter(|parent| parent.score == 2.0).count();
        assert_eq!((best, evolution.parents.len()), (25usize.div_ceil(3), 25));
    }
}
