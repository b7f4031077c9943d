//! `cargo bench -p sartor-hardware`: pricing a candidate of `apq`, and making its whole table. Prints a JSON line.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_hardware::{Accelerator, CandidatePricer, CostTable, HardwareError};
use sartor_space::{Candidate, SearchSpace};

/// As many as a search has at hand: parents and children.
const CANDIDATES: usize = 200;
/// So many that they do not stay in the cache.
const MANY: usize = 2_000;
const ROUNDS: usize = 1_000;
const TABLES: usize = 5;

fn main() -> Result<(), HardwareError> {
    let space = SearchSpace::preset("apq").unwrap_or_else(|error| panic!("{error}"));
    let chip = Accelerator::preset("bitfusion-apq")?;
    let (table, seconds) = best_table(&chip, &space)?;
    let pricer = CandidatePricer::new(&space, &table)?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let candidates: Vec<_> = (0..MANY).map(|_| space.random_candidate(&mut rng)).collect();
    let (nanoseconds, best) = rounds(&pricer, &candidates[..CANDIDATES]);
    let (many, _) = rounds(&pricer, &candidates);
    let rows = table.rows().len();
    println!(
        r#"{{"price_nanoseconds": {nanoseconds:.1}, "price_nanoseconds_best": {best:.1}, "price_nanoseconds_of_{MANY}": {many:.1}, "table_seconds": {seconds:.3}, "table_rows": {rows}}}"#
    );
    Ok(())
}

fn best_table(chip: &Accelerator, space: &SearchSpace) -> Result<(CostTable, f64), HardwareError> {
    let mut seconds = vec![];
    let mut table = CostTable::default();
    for _ in 0..TABLES {
        let start = Instant::now();
        table = CostTable::for_space(chip, space)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok((table, median(seconds)))
}

/// Median and least of many rounds.
fn rounds(pricer: &CandidatePricer, candidates: &[Candidate]) -> (f64, f64) {
    let rounds: Vec<f64> = (0..ROUNDS).map(|_| round(pricer, candidates)).collect();
    let best = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    (median(rounds), best)
}

/// Nanoseconds per candidate.
fn round(pricer: &CandidatePricer, candidates: &[Candidate]) -> f64 {
    let start = Instant::now();
    for candidate in candidates {
        let _ = black_box(pricer.price(black_box(candidate)));
    }
    start.elapsed().as_secs_f64() * 1e9 / candidates.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
