//! Trains the largest network of a preset on a folder of IDX files and prints its validation accuracy.
//!
//! ```text
//! cargo run --release -p sartor-supernet --example largest -- data/fmnist-mini quickstart \
//!     '{"batch": 64, "phases": [{"open": "largest", "epochs": 20, "learning_rate": 0.1, "warm_up": 1}]}'
//! ```
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::time::Instant;

use sartor_space::SearchSpace;
use sartor_supernet::Part;
use sartor_supernet::data::{Dataset, Limits, Source, Split};
use sartor_supernet::evaluation::Evaluator;
use sartor_supernet::progress::StepReport;
use sartor_supernet::schedule::TrainingSettings;
use sartor_supernet::training::Trainer;

const VALIDATION_IMAGES: usize = 1000;
const RECALIBRATION_IMAGES: usize = 1000;
const SEED: u64 = 1;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "data/fmnist-mini".into());
    let space = SearchSpace::preset(&arguments.next().unwrap_or_else(|| "quickstart".into()))?;
    let settings: TrainingSettings = serde_json::from_str(&arguments.next().unwrap_or_else(|| "{}".into()))?;
    let split = Split { validation: VALIDATION_IMAGES, seed: SEED };
    let dataset = Dataset::load(&Source::idx_folder(Path::new(&folder))?, &split, &Limits::default())?;
    let mut evaluator = Evaluator::new(&space, &dataset, RECALIBRATION_IMAGES, SEED)?;
    let mut trainer = Trainer::new(&space, &dataset, settings, SEED)?;
    let (start, mut images) = (Instant::now(), 0);
    while !trainer.is_done() {
        let (mut loss, mut correct, mut steps, mut phase) = (0.0, 0.0, 0, String::new());
        trainer.epoch(&mut |report: &StepReport| {
            (loss, correct, steps) = (loss + report.loss, correct + report.accuracy, steps + 1);
            (images, phase) = (images + report.images, report.phase.clone());
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let (loss, correct) = (loss / f64::from(steps), correct / f64::from(steps));
        let accuracy = evaluator.subnet(&trainer.supernet(), &space.largest(), Part::Validation)?;
        let rate = images as f64 / seconds;
        println!(
            "{phase:10} loss {loss:.4} train {correct:.4} largest {:.4}  {seconds:.1} s {rate:.0} images/s",
            accuracy.value()
        );
    }
    Ok(())
}
