//! Random trained networks for tests: every layer kind, residuals, mixed bits, ranges that neither saturate nor idle.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sartor_space::{LayerKind, Role, SearchSpace, Workload};

use crate::{NamedArray, TrainedModel};

/// A small space with a fixed separable block, residuals and all kernel sizes.
const SPACE: &str = r#"
name = "sample"
[input]
size = 14
channels = 3
classes = 7
[stem]
out_channels = 8
stride = 2
separable_out_channels = 8
[[stage]]
out_channels = 8
stride = 1
blocks = 2
depth = [1, 2]
kernel = [3, 5, 7]
width = { from = 4, to = 6, step = 8 }
[[stage]]
out_channels = 16
stride = 2
blocks = 2
depth = [2]
kernel = [3, 5, 7]
width = { from = 4, to = 6, step = 8 }
[head]
channels = 24
[bits]
weights = [2, 4, 6, 8]
activations = [2, 4, 6, 8]
groups = ["pointwise", "depthwise"]
"#;

/// A random candidate's workload.
pub fn workload(seed: u64) -> Workload {
    let space = SearchSpace::from_toml(SPACE).unwrap();
    space.lower(&space.random_candidate(&mut ChaCha8Rng::seed_from_u64(seed)))
}

/// The largest subnet with all bits equal.
pub fn uniform_workload(bits: u8) -> Workload {
    let space = SearchSpace::from_toml(SPACE).unwrap();
    let subnet = space.largest();
    let policy = space.uniform_policy(&subnet, bits);
    space.lower(&sartor_space::Candidate { subnet, policy })
}

/// Random weights, norms, thresholds and ranges for a workload.
pub fn model(workload: &Workload, seed: u64) -> TrainedModel {
    let mut sampler = Sampler { rng: ChaCha8Rng::seed_from_u64(seed), arrays: BTreeMap::new() };
    sampler.put("image.zero_point", &[1], vec![73.0]);
    sampler.put("image.scale", &[1], vec![1.0 / 90.0]);
    for layer in &workload.layers {
        sampler.layer(layer);
    }
    for (key, low, high) in [("head_input.range", 2.0, 7.0), ("pooled.range", 1.0, 3.0)] {
        sampler.uniform(key, &[1], low, high);
    }
    TrainedModel::from_arrays(sampler.arrays, BTreeMap::new())
}

/// Random pixels for some images.
pub fn pixels(workload: &Workload, images: usize, seed: u64) -> Vec<u8> {
    let first = &workload.layers[0];
    let length = images * first.input_size * first.input_size * first.in_channels;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..length).map(|_| rng.random()).collect()
}

struct Sampler {
    rng: ChaCha8Rng,
    arrays: BTreeMap<String, NamedArray>,
}

impl Sampler {
    fn put(&mut self, key: &str, shape: &[usize], values: Vec<f32>) {
        self.arrays.insert(key.to_string(), NamedArray { shape: shape.to_vec(), values });
    }

    fn uniform(&mut self, key: &str, shape: &[usize], low: f32, high: f32) {
        let values = (0..shape.iter().product()).map(|_| self.rng.random_range(low..high)).collect();
        self.put(key, shape, values);
    }

    fn layer(&mut self, layer: &sartor_space::Layer) {
        let (name, out) = (&layer.name, layer.out_channels);
        let fan_in = layer.kernel * layer.kernel * layer.in_channels / layer.groups;
        let rows = if layer.kind() == LayerKind::Depthwise { layer.kernel * layer.kernel } else { fan_in };
        let spread = (3.0 / fan_in as f32).sqrt();
        self.uniform(&format!("{name}.weight"), &[rows, out], -spread, spread);
        self.uniform(&format!("{name}.weight_threshold"), &[out], 0.6 * spread, 1.1 * spread);
        if layer.role == Role::Classifier {
            return self.uniform(&format!("{name}.bias"), &[out], -0.5, 0.5);
        }
        self.uniform(&format!("{name}.beta"), &[out], -0.6, 0.9);
        self.uniform(&format!("{name}.mean"), &[out], -0.3, 0.3);
        self.uniform(&format!("{name}.variance"), &[out], 0.3, 1.5);
        self.uniform(&format!("{name}.gamma"), &[out], -1.6, 1.6);
        for range in ["input_range", "output_range", "sum_range"] {
            self.uniform(&format!("{name}.{range}"), &[1], 2.0, 6.5);
        }
    }
}
