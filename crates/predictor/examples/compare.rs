//! Compares ways of predicting on made-up spaces with known accuracies: `cargo run --release -p sartor-predictor
//! --example compare`. Prints one JSON line per law, number of pairs and method, means over seeds.
#![allow(clippy::print_stdout)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sartor_predictor::{
    FitSettings, HeadPlacement, MlpSettings, Pairs, Predictor, RankingReport, TransferSettings,
};
use sartor_space::{Candidate, SearchSpace};

const SEEDS: u64 = 3;
/// Standard deviation of a measured accuracy around the true one: fine-tunes on a few hundred images are this noisy.
const NOISE: f64 = 0.004;

/// Capacity with diminishing returns; few bits damage it, early and narrow layers more.
fn accuracy(candidate: &Candidate) -> f64 {
    let (mut capacity, mut damage) = (0.0, 0.0);
    for (index, block) in candidate.subnet.active() {
        let strength = 1.0 + 0.5 * (index as f64 * 1.3).sin();
        capacity += strength * ((block.width as f64).ln() + 0.3 * (block.kernel as f64).ln());
        if let Some(policy) = &candidate.policy {
            let bits = policy.blocks[index].fields();
            let weights = [1.0, 0.6, 1.4, 0.8];
            let terms =
                bits.iter().zip(weights).map(|(&bits, weight)| weight * (-0.9 * f64::from(bits)).exp());
            damage += strength * terms.sum::<f64>();
        }
    }
    0.95 - 0.3 * (-0.06 * capacity).exp() - 0.15 * (1.0 - (-0.6 * damage).exp())
}

fn measured(space: &SearchSpace, count: usize, quantized: bool, noise: f64, rng: &mut ChaCha8Rng) -> Pairs {
    let mut pairs = Pairs::default();
    for _ in 0..count {
        let mut candidate = space.random_candidate(rng);
        candidate.policy = candidate.policy.filter(|_| quantized);
        let bell: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let value = (accuracy(&candidate) + noise * bell).clamp(0.0, 1.0);
        pairs.push(candidate, value);
    }
    pairs
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = SearchSpace::preset("quickstart")?;
    for count in [50, 100, 200, 400] {
        let mut rows: Vec<(String, Vec<RankingReport>)> = Vec::new();
        let mut note = |name: String, report: RankingReport| match rows.iter_mut().find(|row| row.0 == name) {
            Some(row) => row.1.push(report),
            None => rows.push((name, vec![report])),
        };
        for seed in 0..SEEDS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let full = measured(&space, 600, false, NOISE, &mut rng);
            let few = measured(&space, count, true, NOISE, &mut rng);
            let held_out = measured(&space, 600, true, 0.0, &mut rng);
            for steps in [150, 500] {
                let mlp = MlpSettings { hidden: 200, steps, epochs: 10, ..MlpSettings::default() };
                let settings = FitSettings { members: 3, mlp };
                let fp = Predictor::fit(&space, &full, &settings, seed)?;
                let scratch = Predictor::fit(&space, &few, &settings, seed)?;
                note(format!("scratch {steps}"), scratch.evaluate(&held_out, 0)?.ok_or("undefined")?);
                for placement in [HeadPlacement::BeforeActivation, HeadPlacement::AfterActivation] {
                    let transfer = TransferSettings { placement, mlp, ..TransferSettings::default() };
                    let with = fp.fit_from(&few, &transfer, seed)?;
                    note(
                        format!("transfer {placement:?} {steps}"),
                        with.evaluate(&held_out, 0)?.ok_or("undefined")?,
                    );
                }
            }
        }
        for (name, reports) in &rows {
            let mean = RankingReport::over_seeds(reports).ok_or("no seeds")?;
            println!(
                "{{\"pairs\": {count}, \"method\": \"{name}\", \"pairwise\": {:.3}, \"tau\": {:.3}}}",
                mean.pairwise_accuracy.value, mean.kendall_tau.value
            );
        }
    }
    Ok(())
}
