//! The executor computes what the `f64` oracle computes: logits, statistics, every gradient, with every instruction
//! set this machine has.

mod support;

use sartor_engine::oracle::Oracle;
use sartor_engine::simd::Level;
use sartor_engine::{Executor, Tap};
use support::{Builder, Noise, zoo};

/// Relative to the largest value of the same tensor.
const TOLERANCE: f64 = 2e-5;
/// With 16-bit fake quantization a value may fall to the other side of a tie, which moves it by 2^-15; some element
/// then crosses an edge of a clamp, where the gradient jumps.
const QUANTIZED_TOLERANCE: f64 = 5e-3;

fn compare(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(*g) - e).abs() <= tolerance * largest, "{what}, element {i}: {g} against {e}");
    }
}

fn check(name: &str, builder: &Builder, batch: usize, level: Level, tolerance: f64) {
    let (network, parameters, images) = (&builder.network, &builder.parameters, builder.images(batch));
    let oracle = Oracle::new(network, parameters);
    let tape = oracle.forward(&images, batch, None);
    let upstream = Noise(3).fill(tape.logits.len());
    let wide: Vec<f64> = upstream.iter().map(|&v| f64::from(v)).collect();
    let expected = oracle.backward(&tape, &wide);
    let mut executor = Executor::with_level(level);
    let name = format!("{name}, {}", level.name());
    // Twice, so that whatever the first step leaves behind would show.
    for _ in 0..2 {
        let logits = executor.forward_train(network, parameters, &images, batch).unwrap().to_vec();
        compare(&format!("{name}: logits"), &logits, &tape.logits, tolerance);
        for (entry, got) in tape.layers.iter().zip(executor.batch_statistics()) {
            compare(&format!("{name}: mean"), &got.mean, &entry.mean, tolerance);
            compare(&format!("{name}: variance"), &got.variance, &entry.variance, tolerance);
        }
        let mut gradients = vec![0.0; parameters.len()];
        executor.backward(network, parameters, &upstream, &mut gradients).unwrap();
        compare(&format!("{name}: gradients"), &gradients, &expected, tolerance);
    }
    infers(&name, builder, batch, &mut executor, tolerance);
}

fn infers(name: &str, builder: &Builder, batch: usize, executor: &mut Executor, tolerance: f64) {
    let (network, parameters, images) = (&builder.network, &builder.parameters, builder.images(batch));
    let statistics = executor.recalibrate(network, parameters, [(&images[..], batch)].into_iter()).unwrap();
    let tape = Oracle::new(network, parameters).forward(&images, batch, Some(&statistics));
    let logits = executor.infer(network, parameters, &statistics, &images, batch).unwrap();
    compare(&format!("{name}: inference"), logits, &tape.logits, tolerance);
    let mut observe = |tap: Tap, values: &[f32]| {
        let expected = match tap {
            Tap::Input(i) => &tape.layers[i].loaded,
            Tap::Output(i) => &tape.layers[i].normalised,
            Tap::Sum(i) => &tape.layers[i].sum,
            Tap::HeadInput => &tape.layers[network.head.input].output,
            Tap::Pooled => &tape.pooled,
        };
        compare(&format!("{name}: {tap:?}"), values, expected, tolerance);
    };
    executor.observe(network, parameters, &statistics, &images, batch, &mut observe).unwrap();
}

#[test]
fn plain_networks() {
    for level in Level::all_available() {
        zoo().iter().for_each(|(name, builder, batch)| check(name, builder, *batch, level, TOLERANCE));
    }
}

#[test]
fn quantized_networks() {
    for level in Level::all_available() {
        for (name, mut builder, batch) in zoo() {
            builder.quantize(16, 16);
            check(name, &builder, batch, level, QUANTIZED_TOLERANCE);
        }
    }
}

#[test]
fn contested_widths() {
    for level in Level::all_available() {
        for (name, mut builder, batch) in zoo() {
            builder.quantize(16, 16).contest();
            check(name, &builder, batch, level, QUANTIZED_TOLERANCE);
        }
    }
}

#[test]
fn gradients_accumulate() {
    let (_, builder, batch) = zoo().swap_remove(2);
    let (network, parameters, images) = (&builder.network, &builder.parameters, builder.images(batch));
    let mut executor = Executor::new();
    let mut run = |gradients: &mut [f32]| {
        let logits = executor.forward_train(network, parameters, &images, batch).unwrap().len();
        executor.backward(network, parameters, &vec![0.5; logits], gradients).unwrap();
    };
    let (mut once, mut twice) = (vec![0.0; parameters.len()], vec![0.0; parameters.len()]);
    run(&mut once);
    run(&mut twice);
    run(&mut twice);
    let doubled: Vec<f64> = once.iter().map(|&g| 2.0 * f64::from(g)).collect();
    compare("accumulated", &twice, &doubled, TOLERANCE);
}
