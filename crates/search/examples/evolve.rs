//! Times the papers' evolution (500 generations, 50,100 candidates of `apq`) without a predictor: drawing, breeding and
//! pricing under a tight budget. `cargo run --release -p sartor-search --example evolve`.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use sartor_search::strategies::by_name;
use sartor_search::{AdditiveCosts, Budget, Costs, Metric, Problem, Runner};
use sartor_space::{Block, BlockBits, Candidate, Layer, SearchSpace};

/// BitOps and MACs of the lowered layers.
struct Prices(SearchSpace);

fn costs(layers: &[Layer]) -> Costs {
    let bitops: u64 = layers.iter().map(Layer::bitops).sum();
    let macs: u64 = layers.iter().map(Layer::macs).sum();
    Costs::UNKNOWN.with(Metric::BitOps, bitops as f64).with(Metric::Macs, macs as f64)
}

impl AdditiveCosts for Prices {
    fn fixed(&self) -> Costs {
        costs(&self.0.lower_fixed(true))
    }

    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> Costs {
        costs(&self.0.lower_block(block, choice, bits))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let prices = Prices(SearchSpace::preset("apq")?);
    for limit in [6e9, 10e9, 16e9] {
        let start = Instant::now();
        let budget = Budget::new([(Metric::BitOps, limit)])?;
        let domain = Problem::new(&prices.0, &prices, budget).domain()?;
        let prepared = start.elapsed().as_secs_f64();
        let mut runner = Runner::new(&domain, by_name("evolution", &[])?, 0);
        let macs = |candidate: &Candidate| domain.costs(candidate).get(Metric::Macs);
        let outcome = runner.run(|candidates| Ok(candidates.iter().map(macs).collect()))?;
        println!(
            "{{\"name\": \"evolve\", \"bitops_limit\": {limit:.1e}, \"prepare_seconds\": {prepared:.3}, \
             \"seconds\": {:.3}, \"evaluated\": {}}}",
            start.elapsed().as_secs_f64() - prepared,
            outcome.evaluated
        );
    }
    Ok(())
}
