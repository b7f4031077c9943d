//! What a step of a search by gradient costs beside a plain training step of the same network.
//!
//! `cargo bench -p sartor-supernet --bench search_step -- [--space NAME] [--steps N]` prints one JSON line of milliseconds
//! (medians): `plain_ms`, a quantized forward and backward pass of the largest network; `weights_ms` and
//! `controller_ms`, the passes through the mixture of all choices that a first-order step of `gong` makes for the weights
//! and for the controller; `mixing_ms`, the part of both that is not the engine's. `iteration` is both passes over one plain
//! pass, `half` the same with a controller's batch of half the size. All take turns, so that other work on the machine
//! slows all alike.
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
    let mut iteration = Iteration::new(space)?;
    let (plain, plain_numbers) = plain(space, &iteration.mixture, &iteration.stored)?;
    let mut executor = Executor::new();
    let mut times: [Vec<f64>; 5] = Default::default();
    for _ in 0..steps + 2 {
        let started = Instant::now();
        pass(&mut executor, &plain, &plain_numbers, BATCH)?;
        times[0].push(started.elapsed().as_secs_f64());
        let [weights, mixing] = iteration.weights()?;
        let [controller, after] = iteration.controller(BATCH)?;
        let [half, _] = iteration.controller(BATCH / 2)?;
        let each = [weights, controller, mixing + after, half];
        times[1..].iter_mut().zip(each).for_each(|(times, time)| times.push(time));
    }
    let [plain, weights, controller, mixing, half] = times.map(|times| median(&times[2..]));
    Ok(format!(
        "{{\"name\":\"search step\",\"space\":\"{}\",\"plain_ms\":{:.2},\"weights_ms\":{:.2},\"controller_ms\":{:.2},\
         \"mixing_ms\":{:.2},\"weights\":{:.3},\"controller\":{:.3},\"iteration\":{:.3},\"half\":{:.3}}}",
        space.name(),
        1e3 * plain,
        1e3 * weights,
        1e3 * controller,
        1e3 * mixing,
        weights / plain,
        controller / plain,
        (weights + controller) / plain,
        (weights + half) / plain
    ))
}

/// What one step of `gong` computes with.
struct Iteration {
    choices: Choices,
    mixture: Mixture,
    mixed: Mixed,
    stored: Vec<f32>,
    y: Vec<f32>,
    coefficients: Vec<f32>,
    executor: Executor,
}

impl Iteration {
    fn new(space: &SearchSpace) -> Result<Self, String> {
        let failed = |error: sartor_supernet::SupernetError| error.to_string();
        let choices = Choices::new(space, &Pinned::default()).map_err(failed)?;
        let mixture = Mixture::new(&choices).map_err(failed)?;
        let mut stored = mixture.inherit(&Supernet::new(space, 1)).map_err(failed)?;
        stored.resize(mixture.len(), RANGE);
        let logits = vec![0.0; choices.options()];
        let y = gumbel::relaxed(choices.all(), &logits, &logits, 1.0);
        let coefficients = choices.coefficients_of(&y);
        let (mixed, executor) = (Mixed::default(), Executor::new());
        Ok(Self { choices, mixture, mixed, stored, y, coefficients, executor })
    }

    /// Seconds of the weights' pass, and of what is not the engine's in it.
    fn weights(&mut self) -> Result<[f64; 2], String> {
        let started = Instant::now();
        self.mixture.mix(&self.stored, &self.coefficients, &mut self.mixed);
        self.mixture.quantize_inputs(&self.coefficients, false);
        let before = started.elapsed().as_secs_f64();
        let gradients = pass(&mut self.executor, self.mixture.network(), &self.mixed.parameters, BATCH)?;
        let passed = started.elapsed().as_secs_f64();
        let found = self.mixture.of_weights(&self.stored, &self.coefficients, &gradients);
        std::hint::black_box(found);
        let whole = started.elapsed().as_secs_f64();
        Ok([whole, before + whole - passed])
    }

    /// The same of the controller's, which finds the weights mixed.
    fn controller(&mut self, batch: usize) -> Result<[f64; 2], String> {
        let started = Instant::now();
        self.mixture.quantize_inputs(&self.coefficients, true);
        let gradients = pass(&mut self.executor, self.mixture.network(), &self.mixed.parameters, batch)?;
        let passed = started.elapsed().as_secs_f64();
        let Self { choices, mixture, mixed, stored, y, coefficients, .. } = self;
        let of_coefficients = mixture.of_coefficients(stored, coefficients, mixed, &gradients);
        std::hint::black_box(gumbel::backward(choices.all(), y, &choices.backward(&of_coefficients), 1.0));
        let whole = started.elapsed().as_secs_f64();
        Ok([whole, whole - passed])
    }
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
    let mut numbers = weights[..layout.len()].to_vec();
    numbers.resize(layout.len() + range_slots(&workload).len(), RANGE);
    Ok((network, numbers))
}

fn pass(
    executor: &mut Executor,
    network: &Network,
    numbers: &[f32],
    batch: usize,
) -> Result<Vec<f32>, String> {
    let images: Vec<f32> = (0..batch * network.image_length()).map(|i| (i as f32 * 0.7).sin()).collect();
    let labels: Vec<usize> = (0..batch).map(|i| i % network.head.classes).collect();
    let failed = |error: sartor_engine::EngineError| error.to_string();
    let logits = executor.forward_train(network, numbers, &images, batch).map_err(failed)?.to_vec();
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
