//! The oracle's gradients are the derivatives of its forward pass, op by op: every kind of parameter of every
//! network in the zoo is moved a little. Quantizers only clamp here, so that the function has derivatives.

mod support;

use sartor_engine::losses;
use sartor_engine::oracle::Oracle;
use support::{Builder, zoo};

const STEP: f64 = 1e-6;
/// Central differences in f64 are good to about 1e-9; kinks closer than a step cannot be met by chance.
const TOLERANCE: f64 = 1e-6;

fn loss(oracle: &Oracle, images: &[f32], batch: usize) -> f64 {
    let logits = oracle.forward(images, batch, None).logits;
    logits.iter().enumerate().map(|(i, z)| z * weight(i)).sum()
}

/// A fixed, uneven functional of the logits.
fn weight(i: usize) -> f64 {
    ((i * 7 % 11) as f64 - 4.5) / 3.0
}

fn check(name: &str, builder: &Builder, batch: usize) {
    builder.network.check(builder.parameters.len()).unwrap();
    let images = builder.images(batch);
    let mut oracle = Oracle { rounding: false, ..Oracle::new(&builder.network, &builder.parameters) };
    let tape = oracle.forward(&images, batch, None);
    let upstream: Vec<f64> = (0..tape.logits.len()).map(weight).collect();
    let gradients = oracle.backward(&tape, &upstream);
    let stride = (gradients.len() / 150).max(1);
    for i in (0..gradients.len()).step_by(stride) {
        let value = oracle.parameters[i];
        oracle.parameters[i] = value + STEP;
        let above = loss(&oracle, &images, batch);
        oracle.parameters[i] = value - STEP;
        let below = loss(&oracle, &images, batch);
        oracle.parameters[i] = value;
        let numeric = (above - below) / (2.0 * STEP);
        let close = (numeric - gradients[i]).abs() < TOLERANCE * (1.0 + numeric.abs());
        assert!(close, "{name}, parameter {i}: gradient {} against {numeric}", gradients[i]);
    }
}

#[test]
fn plain_gradients() {
    zoo().iter().for_each(|(name, builder, batch)| check(name, builder, *batch));
}

#[test]
fn quantized_gradients() {
    for (name, mut builder, batch) in zoo() {
        builder.quantize(4, 4);
        check(name, &builder, batch);
    }
}

#[test]
fn a_wrong_gradient_would_be_seen() {
    let (_, builder, batch) = zoo().swap_remove(0);
    let images = builder.images(batch);
    let oracle = Oracle::new(&builder.network, &builder.parameters);
    let tape = oracle.forward(&images, batch, None);
    let gradients = oracle.backward(&tape, &vec![1.0; tape.logits.len()]);
    assert!(gradients.iter().any(|g| g.abs() > 1e-2));
    assert!(losses::correct(&[1.0, 0.0], &[0]) == 1);
}
