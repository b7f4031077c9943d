//! The mixture against networks that are not mixed, and its gradients against finite differences.

use sartor_engine::Executor;
use sartor_space::{Candidate, SearchSpace};

use super::*;
use crate::differentiable::choices::{Choice, Pinned, Precision};
use crate::differentiable::gumbel;
use crate::random::{Purpose, normal, stream};

const BATCH: usize = 5;

struct Setting {
    space: SearchSpace,
    choices: Choices,
    mixture: Mixture,
    supernet: Supernet,
    stored: Vec<f32>,
}

fn setting(precision: Precision) -> Setting {
    let space = crate::fixtures::space();
    let choices = Choices::new(&space, &Pinned { precision, ..Pinned::default() }).unwrap();
    let mixture = Mixture::new(&choices).unwrap();
    let (layout, mut values) = Supernet::new(&space, 3).into_parts();
    let mut rng = stream(5, Purpose::Images, [0; 3]);
    for entry in layout.entries() {
        let transform = matches!(entry.kind, crate::parameters::Kind::Transform { .. });
        let noise = if transform { 0.0 } else { 0.05 };
        values[entry.range()].iter_mut().for_each(|value| *value += noise * normal(&mut rng));
    }
    let supernet = Supernet::from_parts(layout, values);
    let mut stored = mixture.inherit(&supernet).unwrap();
    stored.resize(mixture.len(), 2.0);
    Setting { space, choices, mixture, supernet, stored }
}

fn images(network: &Network) -> Vec<f32> {
    (0..BATCH * network.image_length()).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn logits(network: &Network, values: &[f32]) -> Vec<f32> {
    Executor::new().forward_train(network, values, &images(network), BATCH).unwrap().to_vec()
}

fn some_options(choices: &Choices, round: usize) -> Vec<usize> {
    let pick = |(at, choice): (usize, &Choice)| (at * 7 + round * 5) % choice.range.len();
    choices.all().iter().enumerate().map(pick).collect()
}

#[test]
fn one_hot_mixtures_are_the_supernets_subnets() {
    let Setting { space, choices, mut mixture, supernet, stored } = setting(Precision::Full);
    let mut mixed = Mixed::default();
    for round in 0..12 {
        let chosen = some_options(&choices, round);
        let coefficients = choices.coefficients_of(&choices.one_hot(&chosen));
        mixture.mix(&stored, &coefficients, &mut mixed);
        mixture.quantize_inputs(&coefficients, true);
        let got = logits(mixture.network(), &mixed.parameters);
        let candidate = choices.candidate(&chosen).unwrap();
        let workload = space.lower(&Candidate { policy: None, ..candidate });
        let view = network(supernet.layout(), &workload).unwrap();
        let expected = logits(&view, supernet.parameters());
        let most = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-3, "round {round}: {most}");
    }
}

#[test]
fn a_smaller_hull_computes_the_same() {
    let Setting { space, choices, mut mixture, stored, .. } = setting(Precision::Full);
    let (mut mixed, mut cut) = (Mixed::default(), Mixed::default());
    for round in 0..6 {
        let chosen = some_options(&choices, round);
        let coefficients = choices.coefficients_of(&choices.one_hot(&chosen));
        mixture.mix(&stored, &coefficients, &mut mixed);
        mixture.quantize_inputs(&coefficients, true);
        let workload = space.lower(&choices.candidate(&chosen).unwrap());
        let mut hull = Mixture::within(&choices, mixture.layout(), workload).unwrap();
        hull.mix(&stored, &coefficients, &mut cut);
        hull.quantize_inputs(&coefficients, true);
        let (whole, part) =
            (logits(mixture.network(), &mixed.parameters), logits(hull.network(), &cut.parameters));
        let most = whole.iter().zip(&part).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-3, "round {round}: {most}");
        assert!(cut.parameters.len() <= mixed.parameters.len());
    }
}

#[test]
fn quantized_one_hot_weights_have_few_levels() {
    let Setting { choices, mut mixture, stored, .. } = setting(Precision::Searched);
    let mut mixed = Mixed::default();
    let narrowest: Vec<usize> = choices.all().iter().map(|_| 0).collect();
    let coefficients = choices.coefficients_of(&choices.one_hot(&narrowest));
    mixture.mix(&stored, &coefficients, &mut mixed);
    mixture.quantize_inputs(&coefficients, true);
    let slot = mixture.mixed.slot("stage0.block0.expand").unwrap();
    for column in 0..slot.columns {
        let weight =
            |row: usize| mixed.parameters[slot.weight.offset + row * slot.columns + column].to_bits();
        let mut levels: Vec<u32> =
            (0..slot.rows).map(weight).map(|bits| if bits == 1 << 31 { 0 } else { bits }).collect();
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() <= 3, "{levels:?}");
    }
    assert_eq!(mixture.network().layers[1].input_quantizer.unwrap().bits, 2);
    assert!(mixture.network().layers[1].input_quantizer.unwrap().rivals.is_some());
}

/// The mixed numbers are linear in every single coefficient.
#[test]
fn coefficients_have_the_gradients_of_the_mixed_numbers() {
    for precision in [Precision::Full, Precision::Searched] {
        let Setting { choices, mut mixture, stored, .. } = setting(precision);
        let logits: Vec<f32> = (0..choices.options()).map(|i| (i as f32 * 1.3).sin()).collect();
        let coefficients = choices.coefficients_of(&gumbel::probabilities(choices.all(), &logits));
        let (mut mixed, mut moved) = (Mixed::default(), Mixed::default());
        mixture.mix(&stored, &coefficients, &mut mixed);
        mixture.quantize_inputs(&coefficients, true);
        let length = mixture.mixed.len();
        let mut upstream: Vec<f32> = (0..mixed.parameters.len()).map(|i| (i as f32 * 0.11).cos()).collect();
        upstream[length..].fill(0.0);
        let gradient = mixture.of_coefficients(&stored, &coefficients, &mixed, &upstream);
        for place in 0..coefficients.len() {
            let mut changed = coefficients.clone();
            changed[place] += 0.5;
            mixture.mix(&stored, &changed, &mut moved);
            let difference =
                (0..length).map(|i| f64::from(upstream[i] * (moved.parameters[i] - mixed.parameters[i])));
            let numeric = difference.sum::<f64>() / 0.5;
            let tolerance = 2e-3 * numeric.abs().max(1.0);
            assert!(
                (numeric - f64::from(gradient[place])).abs() < tolerance,
                "{place}: {numeric} {}",
                gradient[place]
            );
        }
    }
}

/// Through the whole network, in full precision, where the loss is smooth between the corners of ReLU6.
#[test]
fn losses_have_the_gradients_of_finite_differences() {
    let Setting { choices, mut mixture, stored, .. } = setting(Precision::Full);
    let controller: Vec<f32> = (0..choices.options()).map(|i| (i as f32 * 1.3).sin()).collect();
    let upstream: Vec<f32> = (0..BATCH * 4).map(|i| (i as f32 * 0.9).cos()).collect();
    let mut value = |controller: &[f32], stored: &[f32]| -> f64 {
        let coefficients = choices.coefficients_of(&gumbel::probabilities(choices.all(), controller));
        let mut mixed = Mixed::default();
        mixture.mix(stored, &coefficients, &mut mixed);
        mixture.quantize_inputs(&coefficients, false);
        let logits = logits(mixture.network(), &mixed.parameters);
        logits.iter().zip(&upstream).map(|(z, u)| f64::from(z * u)).sum()
    };
    let step = 4e-3;
    let numeric: Vec<f64> = (0..controller.len())
        .map(|i| {
            let mut at = |by: f32| {
                let mut moved = controller.clone();
                moved[i] += by;
                value(&moved, &stored)
            };
            (at(step) - at(-step)) / (2.0 * f64::from(step))
        })
        .collect();
    let y = gumbel::probabilities(choices.all(), &controller);
    let coefficients = choices.coefficients_of(&y);
    let mut mixed = Mixed::default();
    mixture.mix(&stored, &coefficients, &mut mixed);
    mixture.quantize_inputs(&coefficients, true);
    let (network, mut executor) = (mixture.network(), Executor::new());
    executor.forward_train(network, &mixed.parameters, &images(network), BATCH).unwrap();
    let mut gradients = vec![0.0; mixed.parameters.len()];
    executor.backward(network, &mixed.parameters, &upstream, &mut gradients).unwrap();
    let of_coefficients = mixture.of_coefficients(&stored, &coefficients, &mixed, &gradients);
    let got = gumbel::backward(choices.all(), &y, &choices.backward(&of_coefficients), 1.0);
    let size = numeric.iter().map(|g| g * g).sum::<f64>().sqrt();
    let error = numeric.iter().zip(&got).map(|(n, &g)| (n - f64::from(g)).powi(2)).sum::<f64>().sqrt();
    assert!(error < 0.03 * size, "{error} of {size}\n{numeric:?}\n{got:?}");
}

/// What makes a step of the weights cheaper leaves its gradients as they are.
#[test]
fn weights_have_the_same_gradients_with_and_without_rivals() {
    let Setting { choices, mut mixture, stored, .. } = setting(Precision::Searched);
    let coefficients = choices.coefficients_of(&choices.one_hot(&some_options(&choices, 3)));
    let mut mixed = Mixed::default();
    mixture.mix(&stored, &coefficients, &mut mixed);
    let mut gradients = |competing| {
        mixture.quantize_inputs(&coefficients, competing);
        let (network, mut executor) = (mixture.network(), Executor::new());
        executor.forward_train(network, &mixed.parameters, &images(network), BATCH).unwrap();
        let mut gradients = vec![0.0; mixed.parameters.len()];
        let upstream: Vec<f32> = (0..BATCH * 4).map(|i| (i as f32 * 0.9).cos()).collect();
        executor.backward(network, &mixed.parameters, &upstream, &mut gradients).unwrap();
        let of_coefficients = mixture.of_coefficients(&stored, &coefficients, &mixed, &gradients);
        (mixture.of_weights(&stored, &coefficients, &gradients), of_coefficients)
    };
    let (with, without) = (gradients(true), gradients(false));
    assert_eq!(with.0, without.0);
    assert_ne!(with.1, without.1, "only rivals know what inputs of another width would do");
}
