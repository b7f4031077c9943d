//! How well: the papers' evolution (500 generations) against the best of a run 100 times as long, and against the
//! release's procedure (crossover discarded, depth frozen) at equal evaluations, on a fixed predictor. One JSON line per
//! seed and a last one with the shares.

use sartor_search::strategies::evolution::{Evolution, Settings};
use sartor_search::strategies::release::Release;

use crate::Result;
use crate::setting::Setting;

const SEEDS: u64 = 20;
const GENERATIONS: u64 = 500;
/// Accuracy that may be lost against the long run.
const TOLERANCE: f64 = 0.001;
const HIDDEN: usize = 64;
const STEPS: usize = 600;

pub fn run() -> Result<()> {
    let setting = Setting::new(HIDDEN, STEPS)?;
    let evolution = || -> Result<_> { Ok(Box::new(Evolution::new(Settings::default())?)) };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for seed in 0..SEEDS {
        ours.push(setting.search(evolution()?, GENERATIONS, seed)?.score);
        theirs.push(setting.search(Box::new(Release::default()), GENERATIONS, seed)?.score);
        let (own, other) = (ours[seed as usize], theirs[seed as usize]);
        println!("{{\"seed\": {seed}, \"evolution\": {own:.6}, \"release\": {other:.6}}}");
    }
    let long = setting.search(evolution()?, 100 * GENERATIONS, 1000)?.score;
    let best = ours.iter().copied().fold(long, f64::max);
    let share = |count: usize| count as f64 / SEEDS as f64;
    let close = share(ours.iter().filter(|&&score| score >= best - TOLERANCE).count());
    let better = share(ours.iter().zip(&theirs).filter(|(own, other)| own > other).count());
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    println!(
        "{{\"name\": \"search quality\", \"long_run\": {long:.6}, \"evolution_mean\": {:.6}, \"release_mean\": {:.6}, \
         \"within_0.1_points_of_long_run\": {close:.2}, \"better_than_release\": {better:.2}, \"seeds\": {SEEDS}}}",
        mean(&ours),
        mean(&theirs)
    );
    Ok(())
}
