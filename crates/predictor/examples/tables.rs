//! Compares the methods on complete made-up tables of a space with 8 blocks × 3 options (6,561 networks), 200 pairs
//! known and the rest asked: `cargo run --release -p sartor-predictor --example tables`. One JSON line per law and
//! method, means over seeds. The laws differ in what makes a network accurate; the name of one as
//! argument runs that one alone.
#![allow(clippy::print_stdout)]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sartor_predictor::{FitSettings, Method, Pairs, Predictor, RankingReport};
use sartor_space::{Candidate, SearchSpace, Subnet};

const SEEDS: u64 = 2;
const KNOWN: usize = 200;
const SPACE: &str = include_str!("nas-bench-macro.toml");

/// Per block 0 (skip), 1 or 2.
type Choices = [usize; 8];

/// Accuracy of a network without noise.
type Law = fn(&Choices) -> f64;

fn strength(choice: usize) -> f64 {
    [0.0, 1.0, 1.35][choice]
}

/// Stages saturate on their own, a stage's order does not matter (skips are identities).
fn saturating(choices: &Choices) -> f64 {
    let stage = |range: std::ops::Range<usize>, gain: f64| {
        let sum: f64 = choices[range].iter().map(|&choice| strength(choice)).sum();
        gain * (1.0 - (-0.9 * sum).exp())
    };
    0.80 + 0.13 * (stage(0..2, 0.3) + stage(2..5, 0.4) + stage(5..8, 0.3))
}

/// The first block of a stage matters most, deeper networks help multiplicatively, large kernels early.
fn multiplicative(choices: &Choices) -> f64 {
    let position: [f64; 8] = [1.0, 0.5, 1.1, 0.6, 0.3, 0.8, 0.4, 0.2];
    let kernel: [f64; 8] = [0.5, 0.4, 0.3, 0.25, 0.2, 0.05, 0.0, -0.05];
    let loss: f64 = (0..8)
        .map(|i| match choices[i] {
            0 => 1.0,
            1 => (-0.35 * position[i]).exp(),
            _ => (-0.35 * position[i] * (1.0 + kernel[i])).exp(),
        })
        .product();
    0.94 - 0.14 * loss
}

/// Log parameters and log MACs with a penalty where neighbouring stages are out of balance.
fn capacity(choices: &Choices) -> f64 {
    let width = [2.0, 4.0, 8.0, 16.0, 16.0, 32.0, 64.0, 64.0];
    let parameters: f64 = (0..8).map(|i| width[i] * strength(choices[i])).sum();
    let operations: f64 = (0..8).map(|i| strength(choices[i]) / (1.0 + 0.2 * i as f64)).sum();
    let depth =
        |range: std::ops::Range<usize>| choices[range].iter().filter(|&&choice| choice > 0).count() as f64;
    let balance = (depth(2..5) - depth(5..8)).abs();
    0.78 + 0.014 * (1.0 + parameters).ln() + 0.03 * (1.0 + operations).ln() - 0.004 * balance
}

fn table(space: &SearchSpace, law: Law, rng: &mut ChaCha8Rng) -> Pairs {
    let mut pairs = Pairs::default();
    for code in 0..6561usize {
        let choices: Choices = std::array::from_fn(|place| code / 3usize.pow(place as u32) % 3);
        let names = ["skip", "k3e3", "k5e6"];
        let blocks = (0..8).map(|i| space.block_from_option(i, names[choices[i]]).unwrap_or(None)).collect();
        let bell: f64 = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        pairs.push(Candidate { subnet: Subnet { blocks }, policy: None }, law(&choices) + 0.0008 * bell);
    }
    pairs
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = SearchSpace::from_toml(SPACE)?;
    let laws: [(&str, Law); 3] =
        [("saturating", saturating), ("multiplicative", multiplicative), ("capacity", capacity)];
    let wanted = std::env::args().nth(1);
    for (name, law) in laws.into_iter().filter(|law| wanted.as_deref().is_none_or(|name| name == law.0)) {
        for method in Method::ALL {
            let mut reports = Vec::new();
            for seed in 0..SEEDS {
                let all = table(&space, law, &mut ChaCha8Rng::seed_from_u64(100 + seed));
                let (known, rest) = all.split(KNOWN, seed);
                let predictor =
                    Predictor::fit_with(&space, &known, Some(method), &FitSettings::default(), seed)?;
                let (asked, _) = rest.split(2000, seed);
                reports.push(predictor.evaluate(&asked, 0)?.ok_or("undefined")?);
            }
            let mean = RankingReport::over_seeds(&reports).ok_or("no seeds")?;
            println!(
                "{{\"law\": \"{name}\", \"method\": \"{}\", \"pairwise\": {:.3}, \"tau\": {:.3}, \"error\": {:.5}}}",
                method.name(),
                mean.pairwise_accuracy.value,
                mean.kendall_tau.value,
                mean.mean_absolute_error.value
            );
        }
    }
    Ok(())
}
