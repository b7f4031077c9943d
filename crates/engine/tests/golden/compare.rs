//! Comparison by the largest difference, relative to the largest wanted magnitude.

use super::parse::Case;
use sartor_engine::{ActivationQuantizer, Network};

/// A tensor whose gradients are this far below the largest of the network is measured against that share of it:
/// below lies only what cancellation leaves.
const FLOOR: f64 = 5e-2;

/// Fails unless every difference is at most `tolerance` times the largest wanted magnitude.
pub fn close(case: &str, what: &str, got: &[f32], want: &[f32], tolerance: f64) {
    close_to(case, what, got, want, tolerance * largest(want));
}

/// Fails unless every difference is at most `allowed`.
pub fn close_to(case: &str, what: &str, got: &[f32], want: &[f32], allowed: f64) {
    assert_eq!(got.len(), want.len(), "{case}: {what}");
    for (place, (&g, &w)) in got.iter().zip(want).enumerate() {
        let difference = (f64::from(g) - f64::from(w)).abs();
        assert!(difference <= allowed, "{case}: {what} [{place}] is {g}, PyTorch {w}, allowed {allowed:.1e}");
    }
}

/// Compares gradients with `times` the file's, one parameter tensor after the other, each against its own largest.
pub fn close_by_segment(case: &Case, gradients: &[f32], times: f32, tolerance: f64) {
    let want: Vec<f32> = case.gradients.iter().map(|g| g * times).collect();
    let floor = FLOOR * largest(&want);
    let starts = starts(&case.network);
    for (number, (name, start)) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map_or(want.len(), |next| next.1);
        let (got, want) = (&gradients[*start..end], &want[*start..end]);
        let what = format!("gradient of {name} ({times} steps)");
        close_to(&case.name, &what, got, want, tolerance * largest(want).max(floor));
    }
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(0.0, |all, &value| f64::from(value.abs()).max(all))
}

/// Where each parameter tensor begins, in flat order.
fn starts(network: &Network) -> Vec<(String, usize)> {
    let mut all = vec![];
    for layer in &network.layers {
        let mut add = |what: &str, offset| all.push((format!("{}'s {what}", layer.name), offset));
        add("weight", layer.weight.offset);
        add("gamma", layer.gamma_offset);
        add("beta", layer.beta_offset);
        let steps = layer.kernel_transform.iter().flat_map(|transform| &transform.steps);
        steps.for_each(|step| add("kernel matrix", step.matrix_offset));
        add_range(&mut add, "input range", layer.input_quantizer);
        add_range(&mut add, "output range", layer.output_quantizer);
        add_range(&mut add, "sum range", layer.sum_quantizer);
    }
    let head = &network.head;
    let mut add = |what: &str, offset| all.push((format!("the head's {what}"), offset));
    add("weight", head.weight.offset);
    add("bias", head.bias_offset);
    add_range(&mut add, "input range", head.input_quantizer);
    add_range(&mut add, "pooled range", head.pooled_quantizer);
    all.sort_by_key(|(_, offset)| *offset);
    all
}

fn add_range(add: &mut impl FnMut(&str, usize), what: &str, quantizer: Option<ActivationQuantizer>) {
    if let Some(quantizer) = quantizer {
        add(what, quantizer.range_offset);
    }
}
