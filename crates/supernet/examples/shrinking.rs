//! Trains a whole supernet, then compares random subnets with the largest and bit-widths with full precision.
//!
//! ```text
//! cargo run --release -p sartor-supernet --example shrinking -- data/fmnist-mini quickstart '{}' '{"steps": 20}' WEIGHTS
//! ```
//!
//! The third argument holds the training settings, the fourth the fine-tuning settings, the fifth names the file that
//! keeps the trained weights: when it is there, nothing is trained.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use sartor_space::{Candidate, SearchSpace};
use sartor_supernet::data::{Dataset, Limits, Source, Split};
use sartor_supernet::finetune::FinetuneSettings;
use sartor_supernet::progress::StepReport;
use sartor_supernet::sampling::{MixedPlan, Sampler, full_precision_candidate};
use sartor_supernet::schedule::TrainingSettings;
use sartor_supernet::training::Trainer;
use sartor_supernet::{Part, Supernet, evaluation::Evaluator};

const VALIDATION_IMAGES: usize = 1000;
const SEED: u64 = 1;
const SUBNETS: usize = 12;
const PAIRS: usize = 8;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |index: usize, default: &str| arguments.get(index).cloned().unwrap_or_else(|| default.into());
    let space = SearchSpace::preset(&argument(1, "quickstart"))?;
    let source = Source::idx_folder(Path::new(&argument(0, "data/fmnist-mini")))?;
    let split = Split { validation: VALIDATION_IMAGES, seed: SEED };
    let dataset = Dataset::load(&source, &split, &Limits::default())?;
    let training: TrainingSettings = serde_json::from_str(&argument(2, "{}"))?;
    let tuning: FinetuneSettings = serde_json::from_str(&argument(3, "{}"))?;
    let weights = argument(4, "");
    let supernet = match std::fs::read(&weights) {
        Ok(bytes) => Supernet::from_bytes(&bytes, &space)?,
        Err(_) => train(&space, &dataset, training)?,
    };
    if !weights.is_empty() {
        std::fs::write(&weights, supernet.to_bytes(&space))?;
    }
    compare(&space, &dataset, &supernet, tuning)
}

fn train(space: &SearchSpace, dataset: &Dataset, settings: TrainingSettings) -> Result<Supernet, Failure> {
    let mut trainer = Trainer::new(space, dataset, settings, SEED)?;
    let mut evaluator = Evaluator::new(space, dataset, 500, SEED)?;
    let (mut start, mut images) = (Instant::now(), 0);
    while !trainer.is_done() {
        let mut last = None;
        trainer.epoch(&mut |report: &StepReport| {
            images += report.images;
            last = Some(report.clone());
        })?;
        let Some(last) = last.filter(|report| report.ends_phase) else { continue };
        let seconds = start.elapsed().as_secs_f64();
        let supernet = trainer.supernet();
        let mut score = |subnet| evaluator.subnet(&supernet, &subnet, Part::Validation).map(|a| a.value());
        let (largest, smallest) = (score(space.largest())?, score(space.smallest())?);
        let rate = images as f64 / seconds;
        println!(
            "{:8} loss {:.3} largest {largest:.4} smallest {smallest:.4} {seconds:.1} s {rate:.0} images/s",
            last.phase, last.loss
        );
        (start, images) = (Instant::now(), 0);
    }
    Ok(trainer.supernet())
}

fn compare(
    space: &SearchSpace,
    dataset: &Dataset,
    supernet: &Supernet,
    tuning: FinetuneSettings,
) -> Result<(), Failure> {
    let mut sampler = Sampler::new(space, dataset, supernet, tuning, SEED)?;
    let start = Instant::now();
    let mut sum = 0.0;
    for index in 0..SUBNETS {
        sum += sampler.measure_full_precision(&full_precision_candidate(space, SEED, index))?.value();
    }
    let seconds = start.elapsed().as_secs_f64() / SUBNETS as f64;
    println!("random subnets: mean {:.4}, {seconds:.3} s each", sum / SUBNETS as f64);
    let subnet = space.largest();
    for bits in [8, 6, 4, 2] {
        let start = Instant::now();
        let policy = space.uniform_policy(&subnet, bits);
        let accuracy = sampler.measure_mixed(&Candidate { subnet: subnet.clone(), policy }, 0)?;
        println!("largest at {bits} bits: {:.4}, {:.3} s", accuracy.value(), start.elapsed().as_secs_f64());
    }
    let plan = MixedPlan { pairs: PAIRS, policies_per_architecture: 2 };
    let start = Instant::now();
    let mut scores = vec![];
    for index in 0..PAIRS {
        let candidate = plan.candidate(space, SEED, index)?;
        scores.push(format!("{:.3}", sampler.measure_mixed(&candidate, index)?.value()));
    }
    let seconds = start.elapsed().as_secs_f64() / PAIRS as f64;
    println!("mixed pairs: {}, {seconds:.3} s each", scores.join(" "));
    Ok(())
}
