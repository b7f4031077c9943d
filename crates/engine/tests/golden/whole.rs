//! The whole reference network: 233,114 parameters from a portable generator, its gradient through random probes.

use super::compare::close;
use super::parse::{self, floats, index, load};
use super::{LOGITS, LOSS};
use sartor_engine::{Executor, losses};
use serde_json::Value;

/// The whole gradient, as a share of its norm. PyTorch's own 32-bit error here is 3.4e-6.
const WHOLE: f64 = 1e-4;
/// One tensor's norm, and its sampled entries against the tensor's root mean square and the entry itself; a small
/// tensor's error stands out more than the whole one's.
const TENSOR: f64 = 1e-3;
/// Share of the whole gradient below which a tensor's is only rounding: the shift before a 1x1 convolution and its
/// batch norm has no effect, its true gradient is zero.
const FLOOR: f64 = 1e-3;
/// Through 29 layers the logits gather more roundings than in a small network.
const DEEP_LOGITS: f64 = 10.0 * LOGITS;

/// The generator that `reference/golden_network.py` describes.
struct Stream(u64);

impl Stream {
    fn step(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0
    }

    fn value(&mut self, centre: f64, bound: f64) -> f32 {
        let unit = (self.step() >> 40) as f64 / (1u64 << 23) as f64 - 1.0;
        (centre + bound * unit) as f32
    }

    fn sign(&mut self) -> f64 {
        if self.step() >> 63 == 1 { 1.0 } else { -1.0 }
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn generate(golden: &Value) -> (Vec<f32>, Vec<f32>) {
    let mut stream = Stream(golden["seeds"]["parameters"].as_u64().unwrap());
    let mut parameters = vec![];
    for tensor in golden["tensors"].as_array().unwrap() {
        let (centre, bound) = (number(&tensor["centre"]), number(&tensor["bound"]));
        parameters.extend((0..index(&tensor["length"])).map(|_| stream.value(centre, bound)));
    }
    let size = index(&golden["network"]["image_size"]);
    let length = size * size * index(&golden["network"]["image_channels"]) * index(&golden["batch"]);
    let mut stream = Stream(golden["seeds"]["images"].as_u64().unwrap());
    let images = (0..length).map(|_| stream.value(0.0, number(&golden["image_bound"]))).collect();
    (parameters, images)
}

#[test]
fn reference_network() {
    let golden = load("reference_network");
    let (network, batch) = (parse::network(&golden["network"]), index(&golden["batch"]));
    let (parameters, images) = generate(&golden);
    assert_eq!(parameters.len(), index(&golden["parameter_count"]));
    assert_eq!(parameters[..4], floats(&golden["first_parameters"])[..]);
    let mut executor = Executor::new();
    let logits = executor.forward_train(&network, &parameters, &images, batch).unwrap().to_vec();
    close("whole network", "logits", &logits, &floats(&golden["logits"]), DEEP_LOGITS);
    check_loss(&golden, &logits);
    let mut gradient = vec![0.0; parameters.len()];
    let incoming = floats(&golden["logits_gradient"]);
    executor.backward(&network, &parameters, &incoming, &mut gradient).unwrap();
    check_gradient(&golden, &gradient);
}

fn check_loss(golden: &Value, logits: &[f32]) {
    let (labels, want) = (parse::indices(&golden["labels"]), number(&golden["loss"]));
    let mut gradient = vec![0.0; logits.len()];
    let loss = losses::cross_entropy(logits, &labels, 0.0, 1.0, &mut gradient).unwrap();
    assert!((loss - want).abs() <= (LOSS + DEEP_LOGITS) * want, "loss {loss}, PyTorch {want}");
    close("whole network", "logits gradient", &gradient, &floats(&golden["logits_gradient"]), DEEP_LOGITS);
}

fn check_gradient(golden: &Value, gradient: &[f32]) {
    let mut probes = Stream(golden["seeds"]["probes"].as_u64().unwrap());
    let tensors = golden["tensors"].as_array().unwrap();
    let whole = tensors.iter().map(|tensor| number(&tensor["norm"]).powi(2)).sum::<f64>().sqrt();
    let mut error = 0.0;
    for tensor in tensors {
        let part = &gradient[index(&tensor["offset"])..][..index(&tensor["length"])];
        check_tensor(tensor, part, FLOOR * whole);
        error += squared_error(tensor, part, &mut probes);
    }
    let relative = error.sqrt() / whole;
    println!("relative error of the whole gradient {relative:.2e}");
    assert!(relative <= WHOLE, "the whole gradient differs by {relative:.2e} of its norm");
}

/// The squared length of the difference, estimated as the mean of its squared probes.
fn squared_error(tensor: &Value, part: &[f32], probes: &mut Stream) -> f64 {
    let wanted = tensor["probes"].as_array().unwrap();
    let difference = |want: &Value| {
        let got: f64 = part.iter().map(|&g| f64::from(g) * probes.sign()).sum();
        (got - number(want)).powi(2)
    };
    wanted.iter().map(difference).sum::<f64>() / wanted.len() as f64
}

fn check_tensor(tensor: &Value, part: &[f32], floor: f64) {
    let (name, norm) = (&tensor["name"], number(&tensor["norm"]));
    let got = part.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    assert!((got - norm).abs() <= TENSOR * norm.max(floor), "{name}: norm {got}, PyTorch {norm}");
    let typical = norm.max(floor) / (part.len() as f64).sqrt();
    for (place, want) in parse::indices(&tensor["places"]).into_iter().zip(floats(&tensor["entries"])) {
        let (got, want) = (f64::from(part[place]), f64::from(want));
        let allowed = TENSOR * typical.max(want.abs());
        assert!((got - want).abs() <= allowed, "{name} [{place}]: {got}, PyTorch {want}");
    }
}
