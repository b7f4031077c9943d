//! The engine against PyTorch: every operation on small networks, the whole reference network, losses, optimisers.
//!
//! The files in `golden/` hold what PyTorch computed in float64 from the same 32-bit numbers; the scripts that wrote
//! them are in `reference/`. Small networks were chosen so that no value lies near a rounding or clipping edge: a
//! difference beyond the tolerance is an error, not luck.

#[path = "golden/compare.rs"]
mod compare;
#[path = "golden/parse.rs"]
mod parse;
#[allow(clippy::print_stdout)]
#[path = "golden/whole.rs"]
mod whole;

use compare::{close, close_by_segment};
use parse::{Case, floats, load};
use sartor_engine::optimizer::{Adam, Sgd, cosine};
use sartor_engine::{Executor, losses};
use serde_json::Value;

/// Logits, as a share of the largest: a few dozen roundings of 6e-8 (PyTorch's own 32-bit error is up to 7e-7).
const LOGITS: f64 = 4e-6;
/// Statistics, as a share of a layer's largest.
const STATISTICS: f64 = 2e-6;
/// Gradients, as a share of a parameter tensor's largest: a batch norm's backward pass cancels most of what goes in
/// (PyTorch's own 32-bit error is up to 2e-6 of the whole vector's largest, more within a small tensor).
const GRADIENTS: f64 = 2e-5;
/// A channel of zero variance divides by the root of epsilon, 0.0032: every rounding grows so many times.
const ZERO_VARIANCE: f64 = 316.0;
/// Losses are summed in 64 bits; the gradient is rounded to 32 once.
const LOSS: f64 = 1e-6;
/// Three optimiser steps, a handful of roundings each.
const OPTIMIZER: f64 = 1e-6;
/// The learning rate is computed in 64 bits on both sides.
const RATE: f64 = 1e-12;

macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($name)),+];
        $(#[test] fn $name() { check(&Case::load(stringify!($name))); })+
    };
}

cases!(
    stem_gray,
    stem_colour_stride_2,
    stem_even_stride_2,
    dense_inside,
    pointwise,
    depthwise_3,
    depthwise_5,
    depthwise_7,
    depthwise_even,
    one_pixel,
    one_pixel_alone,
    kernel_transform,
    residual,
    subnet_view,
    many_images,
    wide,
    weight_quantization,
    transformed_weight_quantization,
    activation_quantization,
    linear_quantization,
    everything,
);

fn check(case: &Case) {
    let mut executor = Executor::new();
    let mut gradients = vec![0.0; case.parameters.len()];
    let wider = if case.has_zero_variance() { ZERO_VARIANCE } else { 1.0 };
    let logits = step(case, &mut executor, &mut gradients);
    close(&case.name, "logits", &logits, &case.logits, LOGITS * wider);
    check_statistics(case, &executor, STATISTICS * wider);
    close_by_segment(case, &gradients, 1.0, GRADIENTS * wider);
    step(case, &mut executor, &mut gradients);
    close_by_segment(case, &gradients, 2.0, GRADIENTS * wider);
    check_inference(case, &mut executor);
}

fn check_inference(case: &Case, executor: &mut Executor) {
    let (statistics, images) = (&case.given_statistics, &case.images);
    let inferred = executor.infer(&case.network, &case.parameters, statistics, images, case.batch).unwrap();
    close(&case.name, "inferred logits", inferred, &case.inferred, LOGITS);
}

/// Forward and backward; adds to `gradients`, returns the logits.
fn step(case: &Case, executor: &mut Executor, gradients: &mut [f32]) -> Vec<f32> {
    let logits = executor.forward_train(&case.network, &case.parameters, &case.images, case.batch);
    let logits = logits.unwrap_or_else(|error| panic!("{}: {error}", case.name)).to_vec();
    executor.backward(&case.network, &case.parameters, &case.logits_gradient, gradients).unwrap();
    logits
}

fn check_statistics(case: &Case, executor: &Executor, tolerance: f64) {
    let all = executor.batch_statistics();
    assert_eq!(all.len(), case.statistics.len(), "{}", case.name);
    for ((got, want), layer) in all.iter().zip(&case.statistics).zip(&case.network.layers) {
        let spread = want.variance.iter().fold(0f32, |a, &b| a.max(b)).sqrt();
        let mean_scale = f64::from(want.mean.iter().fold(spread, |a, &b| a.max(b.abs())));
        compare::close_to(
            &case.name,
            &format!("{} mean", layer.name),
            &got.mean,
            &want.mean,
            tolerance * mean_scale,
        );
        close(&case.name, &format!("{} variance", layer.name), &got.variance, &want.variance, tolerance);
    }
}

#[test]
fn one_executor_for_all_networks_changes_no_bit() {
    let mut shared = Executor::new();
    for name in CASES.iter().chain(CASES.iter().rev()) {
        let case = Case::load(name);
        let (mut fresh, mut used) = (vec![0.0; case.parameters.len()], vec![0.0; case.parameters.len()]);
        let logits = step(&case, &mut Executor::new(), &mut fresh);
        assert_eq!(logits, step(&case, &mut shared, &mut used), "{name}");
        assert_eq!(fresh, used, "{name}");
    }
}

#[test]
fn every_golden_file_has_its_test() {
    let mut expected: Vec<String> = CASES.iter().map(|name| name.to_string()).collect();
    expected.extend(["training".to_string(), "reference_network".to_string()]);
    expected.sort();
    assert_eq!(parse::names(), expected);
}

#[test]
fn losses_agree() {
    let golden = &load("training")["losses"];
    let (logits, teacher) = (floats(&golden["logits"]), floats(&golden["teacher_logits"]));
    let (labels, classes) = (parse::indices(&golden["labels"]), parse::index(&golden["classes"]));
    let smoothing = golden["smoothing"].as_f64().unwrap() as f32;
    check_loss(golden, "cross_entropy", |g| losses::cross_entropy(&logits, &labels, 0.0, 1.0, g).unwrap());
    check_loss(golden, "smoothed", |g| losses::cross_entropy(&logits, &labels, smoothing, 1.0, g).unwrap());
    check_loss(golden, "distillation", |g| losses::distillation(&logits, &teacher, classes, 1.0, g).unwrap());
}

fn check_loss(golden: &Value, name: &str, loss: impl Fn(&mut [f32]) -> f64) {
    let want = floats(&golden[name]["gradient"]);
    let mut gradient = vec![0.0; want.len()];
    let got = loss(&mut gradient);
    let mean = golden[name]["loss"].as_f64().unwrap();
    assert!((got - mean).abs() <= LOSS * mean, "{name}: loss {got}, PyTorch {mean}");
    close(name, "gradient", &gradient, &want, LOSS);
}

#[test]
fn sgd_agrees() {
    for (name, nesterov) in [("nesterov", true), ("momentum", false)] {
        let mut velocity = None;
        check_optimizer(name, |golden, values, gradients, decay| {
            let sgd = Sgd {
                momentum: float(&golden["momentum"]),
                nesterov,
                weight_decay: float(&golden["weight_decay"]),
            };
            let velocity = velocity.get_or_insert_with(|| vec![0.0; values.len()]);
            sgd.step(values, gradients, velocity, float(&golden["learning_rate"]), decay).unwrap();
        });
    }
}

#[test]
fn adam_agrees() {
    let (mut moments, mut time) = (None, 0);
    check_optimizer("adam", |golden, values, gradients, decay| {
        let adam = Adam {
            beta1: float(&golden["betas"][0]),
            beta2: float(&golden["betas"][1]),
            epsilon: float(&golden["epsilon"]),
            weight_decay: float(&golden["weight_decay"]),
        };
        time += 1;
        let (first, second) =
            moments.get_or_insert_with(|| (vec![0.0; values.len()], vec![0.0; values.len()]));
        let rate = float(&golden["learning_rate"]);
        adam.step(values, gradients, first, second, time, rate, decay).unwrap();
    });
}

/// Runs `step` over the file's gradients and compares the parameters after each.
fn check_optimizer(name: &str, mut step: impl FnMut(&Value, &mut [f32], &[f32], &[bool])) {
    let golden = &load("training")["optimizers"];
    let mut values = floats(&golden["start"]);
    let decayed = parse::index(&golden["decayed"]);
    let mask: Vec<bool> = (0..values.len()).map(|i| i < decayed).collect();
    let steps = golden["gradients"].as_array().unwrap().iter().zip(golden[name]["after"].as_array().unwrap());
    for (index, (gradients, after)) in steps.enumerate() {
        step(&golden[name], &mut values, &floats(gradients), &mask);
        close(name, &format!("values after step {index}"), &values, &floats(after), OPTIMIZER);
    }
}

#[test]
fn cosine_agrees() {
    let golden = &load("training")["cosine"];
    let (base, total) = (golden["base"].as_f64().unwrap(), parse::index(&golden["total"]) as u64);
    for (step, rate) in golden["rates"].as_array().unwrap().iter().enumerate() {
        let (got, want) = (cosine(base, step as u64, total), rate.as_f64().unwrap());
        assert!((got - want).abs() <= RATE, "step {step}: {got}, PyTorch {want}");
    }
}

fn float(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}
