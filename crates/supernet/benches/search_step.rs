//! What a step of a search by gradient costs beside a plain training step of the same network.
//!
//! `cargo bench -p sartor-supernet -- [--space NAME] [--steps N]` prints one JSON line: milliseconds (the median) of a
//! plain quantized forward and backward pass of the largest network, of the same pass through the mixture of all
//! choices, and of the mixing alone. The passes take turns, so that other work on the machine slows both alike.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use sartor_engine::losses::cross_entropy;
use sartor_engine::{Executor, Network};
use sartor_space::{Candidate, SearchSpace};
use sartor_supernet::Supernet;
use sartor_supernet::calibration::{WeightMethod, weight_thresholds};
use sartor_supernet::differentiable::mixture::{Mixed, Mixture};
use sartor_supernet::differentiable::{Choices, Pinned, gumbel};
use sartor_supernet::instantiate::{quantized_network, range_slots};

const BATCH: usize = 64;
const RANGE: f32 = 3.0;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after =
        |flag: &str| arguments.iter().position(|a| a == flag).and_then(|i| arguments.get(i + 1).cloned());
    let name = after("--space").unwrap_or_else(|| "gong-28".into());
    let steps = after("--steps").and_then(|steps| steps.parse().ok()).unwrap_or(15);
    match SearchSpace::preset(&name).map_err(|error| error.to_string()).and_then(|space| run(&space, steps)) {
        Ok(line) => println!("{line}"),
        Err(error) => println!("{{\"error\":\"{error}\"}}"),
    }
}

fn run(space: &SearchSpace, steps: usize) -> Result<String, String> {
    let failed = |error: sartor_supernet::SupernetError| error.to_string();
    let choices = Choices::new(space, &Pinned::default()).map_err(failed)?;
    let mut mixture = Mixture::new(&choices).map_err(failed)?;
    let supernet = Supernet::new(space, 1);
    let weights = mixture.inherit(&supernet).map_err(failed)?;
    let (plain, plain_numbers) = plain(space, &mixture, &weights)?;
    let mut stored = weights;
    stored.resize(mixture.len(), RANGE);
    let logits = vec![0.0; choices.options()];
    let y = gumbel::relaxed(choices.all(), &logits, &logits, 1.0);
    let coefficients = choices.coefficients_of(&y);
    let (mut mixed, mut executors) = (Mixed::default(), [Executor::new(), Executor::new()]);
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..steps + 2 {
        let started = Instant::now();
        pass(&mut executors[0], &plain, &plain_numbers)?;
        times[0].push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        mixture.mix(&stored, &coefficients, &coefficients, &mut mixed);
        let mixing = started.elapsed().as_secs_f64();
        let gradients = pass(&mut executors[1], mixture.network(), &mixed.parameters)?;
        let before = started.elapsed().as_secs_f64();
        let (mut of_weights, mut of_coefficients) = (vec![0.0; stored.len()], vec![0.0; coefficients.len()]);
        let into = (&mut of_weights[..], &mut of_coefficients[..]);
        mixture.backward(&stored, &coefficients, &mixed, &gradients, into);
        gumbel::backward(choices.all(), &y, &choices.backward(&of_coefficients), 1.0);
        let whole = started.elapsed().as_secs_f64();
        times[1].push(whole);
        times[2].push(mixing + whole - before);
    }
    let [plain, search, mixing] = times.map(|times| median(&times[2..]));
    Ok(format!(
        "{{\"name\":\"search step\",\"space\":\"{}\",\"plain_ms\":{:.2},\"search_ms\":{:.2},\"mixing_ms\":{:.2},\"ratio\":{:.3}}}",
        space.name(),
        1e3 * plain,
        1e3 * search,
        1e3 * mixing,
        search / plain
    ))
}

/// The largest network at 8 bits.
fn plain(space: &SearchSpace, mixture: &Mixture, weights: &[f32]) -> Result<(Network, Vec<f32>), String> {
    let subnet = space.largest();
    let policy = space.uniform_policy(&subnet, 8);
    let workload = space.lower(&Candidate { subnet, policy });
    let layout = mixture.layout();
    let thresholds = workload.layers.iter().map(|layer| {
        let slot = layout.slot(&layer.name).map_err(|error| error.to_string())?;
        let matrix = &weights[slot.weight.offset..][..slot.rows * slot.columns];
        let found = weight_thresholds(matrix, slot.columns, 8, WeightMethod::MaxAbs, true);
        Ok(found.map_err(|error| error.to_string())?.into())
    });
    let thresholds = thresholds.collect::<Result<_, String>>()?;
    let network = quantized_network(layout, &workload, &thresholds).map_err(|error| error.to_string())?;
    let mut numbers = weights.to_vec();
    numbers.resize(layout.len() + range_slots(&workload).len(), RANGE);
    Ok((network, numbers))
}

fn pass(executor: &mut Executor, network: &Network, numbers: &[f32]) -> Result<Vec<f32>, String> {
    let images: Vec<f32> = (0..BATCH * network.image_length()).map(|i| (i as f32 * 0.7).sin()).collect();
    let labels: Vec<usize> = (0..BATCH).map(|i| i % network.head.classes).collect();
    let failed = |error: sartor_engine::EngineError| error.to_string();
    let logits = executor.forward_train(network, numbers, &images, BATCH).map_err(failed)?.to_vec();
    let (mut upstream, mut gradients) = (vec![0.0; logits.len()], vec![0.0; numbers.len()]);
    cross_entropy(&logits, &labels, 0.1, 1.0, &mut upstream).map_err(failed)?;
    executor.backward(network, numbers, &upstream, &mut gradients).map_err(failed)?;
    Ok(gradients)
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
