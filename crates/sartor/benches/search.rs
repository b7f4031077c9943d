//! How fast and how well a search goes on space `apq`, priced on `bitfusion-apq` under 8.4 ms and 12.2 mJ.
//!
//! `cargo bench -p sartor -- search`: the papers' evolution, 50,100 candidates priced and scored by one 400-wide
//! mixed-precision network; candidates a second, their share of what two 400 × 400 products a candidate allow on this
//! machine, and the authors' release beside it. `cargo bench -p sartor -- quality` (minutes): see `quality`.
#![allow(clippy::print_stdout, missing_docs)]

#[path = "search/quality.rs"]
mod quality;
#[path = "search/setting.rs"]
mod setting;

use std::time::{Duration, Instant};

use rayon::prelude::*;
use sartor_engine::gemm::{Matrix, MatrixMut, gemm};
use sartor_search::strategies::evolution::{Evolution, Settings};

use setting::{Outcome, Setting};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Width of the papers' predictor.
const HIDDEN: usize = 400;
/// Two hidden products; the first layer only adds rows.
const FLOP_PER_CANDIDATE: f64 = 2.0 * 2.0 * (HIDDEN * HIDDEN) as f64;
/// Candidates a CPU second of the authors' release, measured on the same kind of machine (2.5 GHz Xeon).
const RELEASE: (f64, f64) = (300.0, 610.0);
const REPEATS: usize = 5;

fn main() -> Result<()> {
    match std::env::args().any(|argument| argument == "quality") {
        true => quality::run(),
        false => speed(),
    }
}

fn speed() -> Result<()> {
    let setting = Setting::new(HIDDEN, 1)?;
    let mut best: Option<Outcome> = None;
    for _ in 0..REPEATS {
        let outcome = setting.search(Box::new(Evolution::new(Settings::default())?), 500, 0)?;
        if best.as_ref().is_none_or(|fastest| outcome.seconds < fastest.seconds) {
            best = Some(outcome);
        }
    }
    let outcome = best.ok_or("nothing was timed")?;
    let seconds = outcome.seconds;
    let rate = outcome.evaluated as f64 / seconds;
    let bound = products_per_second() / FLOP_PER_CANDIDATE;
    println!(
        "{{\"name\": \"search\", \"space\": \"apq\", \"candidates\": {}, \"distinct\": {}, \"seconds\": {seconds:.4}, \
         \"candidates_per_second\": {rate:.0}, \"gemm_bound_per_second\": {bound:.0}, \"share_of_gemm_bound\": {:.3}, \
         \"release_candidates_per_cpu_second\": [{}, {}], \"threads\": {}}}",
        outcome.evaluated,
        outcome.distinct,
        rate / bound,
        RELEASE.0,
        RELEASE.1,
        rayon::current_num_threads()
    );
    Ok(())
}

/// Floating-point operations a second in products of 64 rows with a 400 × 400 matrix, on all threads.
fn products_per_second() -> f64 {
    const ROWS: usize = 64;
    let weights = vec![0.5f32; HIDDEN * HIDDEN];
    let one = |_: usize| {
        let (input, mut out) = (vec![0.25f32; ROWS * HIDDEN], vec![0.0f32; ROWS * HIDDEN]);
        let (started, mut count) = (Instant::now(), 0u64);
        while started.elapsed() < Duration::from_millis(400) {
            let (a, b) = (Matrix::dense(&input, ROWS, HIDDEN), Matrix::dense(&weights, HIDDEN, HIDDEN));
            if gemm(a, b, MatrixMut::dense(&mut out, ROWS, HIDDEN), false).is_err() {
                break;
            }
            count += 1;
        }
        count as f64 * 2.0 * (ROWS * HIDDEN * HIDDEN) as f64 / started.elapsed().as_secs_f64()
    };
    let best = (0..3).map(|_| (0..rayon::current_num_threads()).into_par_iter().map(one).sum::<f64>());
    best.fold(0.0, f64::max)
}
