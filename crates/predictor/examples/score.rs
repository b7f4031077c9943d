//! Times the scoring of 50,000 `apq` candidates by one 400-wide mixed-precision network, in generations of 100 as the
//! papers' evolution asks and all at once: `cargo run --release -p sartor-predictor --example score`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_predictor::{FitSettings, MlpSettings, Pairs, Predictor};
use sartor_space::SearchSpace;

const CANDIDATES: usize = 50_000;
/// Two hidden 400 × 400 products; the first layer only adds rows.
const FLOP_PER_CANDIDATE: f64 = 2.0 * 2.0 * 400.0 * 400.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = SearchSpace::preset("apq")?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut pairs = Pairs::default();
    (0..20).for_each(|i| pairs.push(space.random_candidate(&mut rng), 0.7 + 0.001 * f64::from(i)));
    let mlp = MlpSettings { epochs: 1, steps: 1, ..MlpSettings::default() };
    let predictor = Predictor::fit(&space, &pairs, &FitSettings { members: 1, mlp }, 0)?;
    let candidates: Vec<_> = (0..CANDIDATES).map(|_| space.random_candidate(&mut rng)).collect();
    for batch in [100, CANDIDATES] {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            for chunk in candidates.chunks(batch) {
                predictor.score(chunk)?;
            }
            best = best.min(start.elapsed().as_secs_f64());
        }
        let rate = CANDIDATES as f64 / best;
        println!(
            "{{\"name\": \"score\", \"batch\": {batch}, \"seconds\": {best:.4}, \"candidates_per_second\": {rate:.0}, \
             \"gflops\": {:.1}, \"threads\": {}}}",
            rate * FLOP_PER_CANDIDATE * 1e-9,
            rayon::current_num_threads()
        );
    }
    Ok(())
}
