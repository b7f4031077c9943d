//! # Scores that were asked before are not asked again
//!
//! Children are often equal to a parent or to each other (a mutation that changes each of ten blocks with probability
//! 0.1 leaves a third of them as they were). A score is a pure function of the candidate, so it is asked once. The
//! order in which new candidates are asked is that of their first appearance: nothing depends on the hash.

use std::collections::HashMap;

use sartor_space::Candidate;

use crate::error::SearchError;

/// Scores kept; beyond that all are forgotten, so that memory stays bounded (some 100 MB for the largest spaces).
const MOST: usize = 200_000;

/// Scores by candidate.
#[derive(Debug, Default)]
pub struct Remembered {
    known: HashMap<Candidate, f64>,
    asked: u64,
}

impl Remembered {
    /// One score per candidate, in order; `score` is asked about those that are not known, and gives one score each.
    ///
    /// # Errors
    /// Whatever the score function reports; [`SearchError::WrongCount`] if it does not give one score each.
    pub fn scores(
        &mut self,
        candidates: &[Candidate],
        score: impl FnOnce(&[Candidate]) -> Result<Vec<f64>, SearchError>,
    ) -> Result<Vec<f64>, SearchError> {
        if self.known.len() > MOST {
            self.known.clear();
        }
        let mut fresh: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            if !self.known.contains_key(candidate) {
                self.known.insert(candidate.clone(), f64::NAN);
                fresh.push(candidate.clone());
            }
        }
        let scores = if fresh.is_empty() { Vec::new() } else { score(&fresh)? };
        if scores.len() != fresh.len() {
            return Err(SearchError::WrongCount { expected: fresh.len(), got: scores.len() });
        }
        self.asked += fresh.len() as u64;
        self.known.extend(fresh.into_iter().zip(scores));
        Ok(candidates
            .iter()
            .map(|candidate| self.known.get(candidate).copied().unwrap_or(f64::NAN))
            .collect())
    }

    /// Candidates that the score function was asked about.
    pub fn asked(&self) -> u64 {
        self.asked
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use sartor_space::SearchSpace;

    use super::*;

    #[test]
    fn every_candidate_is_asked_once_and_answered_always() {
        let space = SearchSpace::preset("quickstart").expect("preset");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let all: Vec<Candidate> = (0..20).map(|_| space.random_candidate(&mut rng)).collect();
        let value =
            |candidate: &Candidate| candidate.subnet.active().map(|(_, block)| block.width as f64).sum();
        let score = |asked: &[Candidate]| Ok(asked.iter().map(value).collect());
        let mut remembered = Remembered::default();
        let twice = [all.clone(), all.clone()].concat();
        let expected: Vec<f64> = twice.iter().map(value).collect();
        assert_eq!(remembered.scores(&twice, score).expect("scores"), expected);
        assert_eq!(remembered.scores(&all, score).expect("scores"), expected[..20]);
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(remembered.asked(), distinct.len() as u64);
    }

    #[test]
    fn a_missing_score_is_an_error() {
        let space = SearchSpace::preset("quickstart").expect("preset");
        let candidate = space.random_candidate(&mut ChaCha8Rng::seed_from_u64(0));
        let found = Remembered::default().scores(&[candidate], |_| Ok(Vec::new()));
        assert!(matches!(found, Err(SearchError::WrongCount { expected: 1, got: 0 })));
    }
}
