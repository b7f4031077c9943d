//! What a search does, counted while it does it: the columns of the papers' table 1 are made of these counts.

use std::collections::BTreeSet;

use sartor_space::Candidate;
use sartor_supernet::Work;

use crate::records::Counters;
use crate::stages::profile::Prices;

/// Widths and bits that were tried, block by block.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tried {
    widths: Vec<BTreeSet<usize>>,
    bits: Vec<BTreeSet<[u8; 4]>>,
}

impl Tried {
    /// Notes one candidate.
    pub fn note(&mut self, candidate: &Candidate) {
        let count = candidate.subnet.blocks.len();
        self.widths.resize(count.max(self.widths.len()), BTreeSet::new());
        self.bits.resize(count.max(self.bits.len()), BTreeSet::new());
        for (index, block) in candidate.subnet.active() {
            self.widths[index].insert(block.width);
            if let Some(policy) = &candidate.policy {
                self.bits[index].insert(policy.blocks[index].fields());
            }
        }
    }

    /// Notes what another search tried.
    pub fn merge(&mut self, other: &Tried) {
        merge(&mut self.widths, &other.widths);
        merge(&mut self.bits, &other.bits);
    }
}

fn merge<T: Ord + Clone>(mine: &mut Vec<BTreeSet<T>>, other: &[BTreeSet<T>]) {
    mine.resize(mine.len().max(other.len()), BTreeSet::new());
    mine.iter_mut().zip(other).for_each(|(mine, other)| mine.extend(other.iter().cloned()));
}

/// Counts of one search.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    counters: Counters,
    tried: Tried,
}

impl Meter {
    /// Candidates that the search looked at.
    pub fn tried(&mut self, tried: &Tried) {
        self.tried.merge(tried);
    }

    /// One candidate that the search looked at.
    pub fn note(&mut self, candidate: &Candidate) {
        self.tried.note(candidate);
    }

    /// Accuracies asked of a predictor.
    pub fn asked_predictor(&mut self, queries: u64) {
        self.counters.predictor_queries += queries;
    }

    /// A network whose accuracy was measured, and what that took.
    pub fn measured(&mut self, work: Work) {
        self.counters.accuracy_evaluations += 1;
        self.worked(work);
    }

    /// Training or inference that measured no accuracy.
    pub fn worked(&mut self, work: Work) {
        self.counters.training_steps += work.training_steps;
        self.counters.trained_images += work.trained_images;
        self.counters.inferred_images += work.inferred_images;
    }

    /// Does `work` and counts the layers it looks up.
    pub fn looking_up<T>(&mut self, prices: &Prices, work: impl FnOnce() -> T) -> T {
        let before = prices.lookups();
        let result = work();
        self.counters.table_lookups += prices.lookups() - before;
        result
    }

    /// The counts so far.
    pub fn counters(&self) -> Counters {
        fn most<T>(sets: &[BTreeSet<T>]) -> usize {
            sets.iter().map(BTreeSet::len).max().unwrap_or(0)
        }
        Counters {
            widths_per_block: most(&self.tried.widths),
            bits_per_block: most(&self.tried.bits),
            ..self.counters
        }
    }
}
