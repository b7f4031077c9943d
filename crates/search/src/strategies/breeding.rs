//! Children within the budget: bounded redraws, then repair, then a fresh draw.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sartor_space::Candidate;

use crate::domain::Domain;
use crate::error::SearchError;

/// Redraws of one child before it is repaired.
const REDRAWS: usize = 50;

/// How a child is made from parents (never empty).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Mutated {
        probability: f64,
    },
    /// Single choices of blocks are redrawn, not whole blocks.
    Tweaked {
        probability: f64,
    },
    /// One stage gets another depth, and the budget is met again by single choices.
    Reshaped,
    Crossed,
}

/// One child per kind, in order. Each child has its own random stream, so the number of threads does not matter.
pub(crate) fn children(
    domain: &Domain<'_>,
    parents: &[&Candidate],
    kinds: &[Kind],
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Candidate>, SearchError> {
    let seed = rng.random::<u64>();
    let child = |(index, &kind): (usize, &Kind)| {
        let mut rng = stream(seed, index as u64);
        child(domain, parents, kind, &mut rng)
    };
    kinds.par_iter().with_min_len(8).enumerate().map(child).collect()
}

/// As many feasible draws, likewise.
pub(crate) fn fresh(
    domain: &Domain<'_>,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Candidate>, SearchError> {
    let seed = rng.random::<u64>();
    (0..count as u64).into_par_iter().map(|index| domain.sample(&mut stream(seed, index))).collect()
}

fn stream(seed: u64, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    rng
}

fn child(
    domain: &Domain<'_>,
    parents: &[&Candidate],
    kind: Kind,
    rng: &mut ChaCha8Rng,
) -> Result<Candidate, SearchError> {
    let mut last = None;
    for _ in 0..REDRAWS {
        let child = vary(domain, parents, kind, rng);
        if domain.allows(&child) {
            return Ok(child);
        }
        last = Some(child);
    }
    let repaired = last.map(|child| domain.repair(child, rng)).filter(|child| domain.allows(child));
    repaired.map_or_else(|| domain.sample(rng), Ok)
}

fn vary(domain: &Domain<'_>, parents: &[&Candidate], kind: Kind, rng: &mut impl Rng) -> Candidate {
    let first = parents[rng.random_range(0..parents.len())];
    match kind {
        Kind::Mutated { probability } => domain.mutate(first, probability, rng),
        Kind::Tweaked { probability } => domain.tweak(first, probability, rng),
        Kind::Reshaped => domain.reshape(first, rng),
        Kind::Crossed => domain.space().crossover(first, parents[rng.random_range(0..parents.len())], rng),
    }
}
