//! # Scores that were asked before are not asked again
//!
//! Children are often equal to a parent or to each other (a mutation that changes each of ten blocks with probability
//! 0.1 leaves a third of them as they were). A score is a pure function of the candidate, so it is asked once. The
//! order in which new candidates are asked is that of their first appearance: nothing depends on the hash.

use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use rayon::prelude::*;
use sartor_space::Candidate;

use crate::error::SearchError;

/// Scores kept; beyond that all are forgotten, so that memory stays bounded (some 200 MB for the largest spaces).
const MOST: usize = 200_000;
/// Fewest hashes that are worth another thread.
const HASHES_AT_ONCE: usize = 32;

/// Scores by candidate.
#[derive(Debug, Default)]
pub struct Remembered {
    /// Everything that was ever asked, in order; in the middle of a question also what is being asked.
    candidates: Vec<Candidate>,
    /// One per candidate, computed once: candidates are long.
    hashes: Vec<u64>,
    scores: Vec<f64>,
    /// Places of the candidates.
    places: HashTable<usize>,
    asked: u64,
}

impl Remembered {
    /// One score per candidate, in order; `score` is asked about those that are not known, each once, and gives one score
    /// each.
    ///
    /// # Errors
    /// Whatever the score function reports; [`SearchError::WrongCount`] if it does not give one score each.
    pub fn scores(
        &mut self,
        candidates: &[Candidate],
        score: impl FnOnce(&[Candidate]) -> Result<Vec<f64>, SearchError>,
    ) -> Result<Vec<f64>, SearchError> {
        if self.candidates.len() > MOST {
            self.forget_from(0);
        }
        let known = self.candidates.len();
        let places = self.places_of(candidates);
        let scores = ask(&self.candidates[known..], score).inspect_err(|_| self.forget_from(known))?;
        self.asked += scores.len() as u64;
        self.scores.extend(scores);
        Ok(places.into_iter().map(|place| self.scores[place]).collect())
    }

    /// Where each candidate is kept; new ones are put at the end.
    fn places_of(&mut self, candidates: &[Candidate]) -> Vec<usize> {
        let place_of = |(candidate, hash): (&Candidate, u64)| {
            let same = |&place: &usize| self.hashes[place] == hash && self.candidates[place] == *candidate;
            if let Some(&place) = self.places.find(hash, same) {
                return place;
            }
            let place = self.candidates.len();
            self.places.insert_unique(hash, place, |&other| self.hashes[other]);
            self.candidates.push(candidate.clone());
            self.hashes.push(hash);
            place
        };
        candidates.iter().zip(hashes(candidates)).map(place_of).collect()
    }

    /// Forgets the candidates from this place on.
    fn forget_from(&mut self, place: usize) {
        self.places.retain(|&mut kept| kept < place);
        self.candidates.truncate(place);
        self.hashes.truncate(place);
        self.scores.truncate(place);
    }

    /// Candidates that the score function was asked about.
    pub fn asked(&self) -> u64 {
        self.asked
    }
}

/// One score each for candidates nobody asked about.
fn ask(
    fresh: &[Candidate],
    score: impl FnOnce(&[Candidate]) -> Result<Vec<f64>, SearchError>,
) -> Result<Vec<f64>, SearchError> {
    let scores = if fresh.is_empty() { Vec::new() } else { score(fresh)? };
    match scores.len() == fresh.len() {
        true => Ok(scores),
        false => Err(SearchError::WrongCount { expected: fresh.len(), got: scores.len() }),
    }
}

fn hashes(candidates: &[Candidate]) -> Vec<u64> {
    candidates.par_iter().with_min_len(HASHES_AT_ONCE).map(hash).collect()
}

fn hash(candidate: &Candidate) -> u64 {
    let mut words = Words::default();
    candidate.hash(&mut words);
    words.finish()
}

/// A quick hash, word by word: candidates are long, and nobody chooses them to collide.
#[derive(Debug, Default)]
struct Words(u64);

/// An odd number without pattern (2⁶⁴ divided by the golden ratio).
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for Words {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(FACTOR);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
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
        let mut remembered = Remembered::default();
        let found = remembered.scores(std::slice::from_ref(&candidate), |_| Ok(Vec::new()));
        assert!(matches!(found, Err(SearchError::WrongCount { expected: 1, got: 0 })));
        assert_eq!(remembered.scores(&[candidate], |_| Ok(vec![0.5])).expect("asked again"), [0.5]);
    }
}
