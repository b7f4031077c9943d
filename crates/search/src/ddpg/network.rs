//! A small network with two hidden ReLU layers and one output, its gradients by hand, and Adam.
//!
//! `h₁ = relu(x·W₁ + b₁)`, `h₂ = relu(h₁·W₂ + b₂)`, `output = h₂·w₃ + b₃`; all weights in one flat buffer. Sums run in
//! a fixed order, on one thread.

use rand::{Rng, RngExt};

/// Half-width of the uniform start of the last layer (Lillicrap and others 2016, section 7): first outputs are near 0.
const LAST_START: f32 = 3e-3;
/// Adam's constants (Kingma and Ba 2015).
const BETA: (f32, f32) = (0.9, 0.999);
const EPSILON: f32 = 1e-8;

/// Weights and sizes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Network {
    inputs: usize,
    hidden: usize,
    pub weights: Vec<f32>,
}

/// What a forward pass leaves for the backward pass.
#[derive(Debug, Default, Clone)]
pub(super) struct Pass {
    inputs: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    pub outputs: Vec<f32>,
}

impl Network {
    /// Random weights: uniform within ±1/√(inputs) of each hidden layer, nearly zero in the last.
    pub fn random(inputs: usize, hidden: usize, rng: &mut impl Rng) -> Self {
        let mut network = Self { inputs, hidden, weights: Vec::new() };
        let bounds = [
            (inputs * hidden + hidden, 1.0 / (inputs.max(1) as f32).sqrt()),
            (hidden * hidden + hidden, 1.0 / (hidden.max(1) as f32).sqrt()),
            (hidden + 1, LAST_START),
        ];
        for (count, bound) in bounds {
            network.weights.extend((0..count).map(|_| rng.random_range(-bound..=bound)));
        }
        network
    }

    fn parts(&self) -> [usize; 6] {
        let (inputs, hidden) = (self.inputs, self.hidden);
        let mut ends = [inputs * hidden, hidden, hidden * hidden, hidden, hidden, 1];
        for index in 1..ends.len() {
            ends[index] += ends[index - 1];
        }
        ends
    }

    /// Outputs of a batch of inputs, one row each.
    pub fn forward(&self, inputs: Vec<f32>) -> Pass {
        let [first, first_bias, second, second_bias, third, _] = self.parts();
        let weights = &self.weights;
        let hidden = |inputs: &[f32], matrix: &[f32], bias: &[f32]| {
            let mut out = affine(inputs, matrix, bias);
            out.iter_mut().for_each(|value| *value = value.max(0.0));
            out
        };
        let first_layer = hidden(&inputs, &weights[..first], &weights[first..first_bias]);
        let second_layer = hidden(&first_layer, &weights[first_bias..second], &weights[second..second_bias]);
        let outputs = second_layer
            .chunks_exact(self.hidden)
            .map(|row| dot(row, &weights[second_bias..third]) + weights[third])
            .collect();
        Pass { inputs, first: first_layer, second: second_layer, outputs }
    }

    /// Adds the weights' gradients to `gradients`, given those of the outputs; returns those of the inputs.
    pub fn backward(&self, pass: &Pass, output_gradients: &[f32], gradients: &mut [f32]) -> Vec<f32> {
        let [first, first_bias, second, second_bias, third, _] = self.parts();
        let weights = &self.weights;
        let last = &weights[second_bias..third];
        let mut second_gradients = Vec::with_capacity(pass.second.len());
        for (row, &slope) in pass.second.chunks_exact(self.hidden).zip(output_gradients) {
            add_scaled(&mut gradients[second_bias..third], row, slope);
            gradients[third] += slope;
            let gate = row.iter().zip(last).map(|(&value, &weight)| gated(value, slope * weight));
            second_gradients.extend(gate);
        }
        let (matrix, bias) = gradients[first_bias..second_bias].split_at_mut(second - first_bias);
        accumulate(&pass.first, &second_gradients, matrix, bias);
        let mut first_gradients = transposed(&second_gradients, &weights[first_bias..second], self.hidden);
        first_gradients.iter_mut().zip(&pass.first).for_each(|(slope, &value)| *slope = gated(value, *slope));
        let (matrix, bias) = gradients[..first_bias].split_at_mut(first);
        accumulate(&pass.inputs, &first_gradients, matrix, bias);
        transposed(&first_gradients, &weights[..first], self.hidden)
    }

    /// Moves a share of the way to another network of the same shape.
    pub fn follow(&mut self, other: &Network, share: f32) {
        self.weights
            .iter_mut()
            .zip(&other.weights)
            .for_each(|(mine, other)| *mine += share * (other - *mine));
    }
}

fn gated(value: f32, slope: f32) -> f32 {
    if value > 0.0 { slope } else { 0.0 }
}

/// `inputs · matrix + bias`, a row each.
fn affine(inputs: &[f32], matrix: &[f32], bias: &[f32]) -> Vec<f32> {
    let columns = bias.len();
    let rows = matrix.len() / columns.max(1);
    let mut out = Vec::with_capacity(inputs.len() / rows.max(1) * columns);
    for row in inputs.chunks_exact(rows.max(1)) {
        let start = out.len();
        out.extend_from_slice(bias);
        for (&value, weights) in row.iter().zip(matrix.chunks_exact(columns)) {
            if value != 0.0 {
                add_scaled(&mut out[start..], weights, value);
            }
        }
    }
    out
}

/// Adds `inputsᵀ · slopes` to a matrix and the sums of `slopes` to a bias.
fn accumulate(inputs: &[f32], slopes: &[f32], matrix: &mut [f32], bias: &mut [f32]) {
    let columns = bias.len();
    let rows = matrix.len() / columns.max(1);
    for (row, slopes) in inputs.chunks_exact(rows.max(1)).zip(slopes.chunks_exact(columns.max(1))) {
        add_scaled(bias, slopes, 1.0);
        for (&value, gradients) in row.iter().zip(matrix.chunks_exact_mut(columns)) {
            if value != 0.0 {
                add_scaled(gradients, slopes, value);
            }
        }
    }
}

/// `slopes · matrixᵀ`, a row each.
fn transposed(slopes: &[f32], matrix: &[f32], columns: usize) -> Vec<f32> {
    let row = |slopes: &[f32]| matrix.chunks_exact(columns).map(|weights| dot(weights, slopes)).collect();
    slopes.chunks_exact(columns).flat_map(|slopes| -> Vec<f32> { row(slopes) }).collect()
}

fn add_scaled(sum: &mut [f32], row: &[f32], factor: f32) {
    sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += factor * value);
}

/// Sixteen partial sums: a fixed order that vector units like.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        (0..16).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}

/// Adam's moments.
#[derive(Debug, Clone)]
pub(super) struct Adam {
    rate: f32,
    steps: i32,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Adam {
    /// At rest.
    pub fn new(rate: f64, count: usize) -> Self {
        Self { rate: rate as f32, steps: 0, first: vec![0.0; count], second: vec![0.0; count] }
    }

    /// One step down the gradients.
    pub fn step(&mut self, weights: &mut [f32], gradients: &[f32]) {
        self.steps = self.steps.saturating_add(1);
        let correction = |beta: f32| 1.0 - beta.powi(self.steps);
        let (first_scale, second_scale) = (1.0 / correction(BETA.0), 1.0 / correction(BETA.1));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, &slope), (first, second)) in weights.iter_mut().zip(gradients).zip(moments) {
            *first += (1.0 - BETA.0) * (slope - *first);
            *second += (1.0 - BETA.1) * (slope * slope - *second);
            *weight -= self.rate * *first * first_scale / ((*second * second_scale).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const STEP: f32 = 1e-2;
    const CLOSE: f32 = 2e-3;

    /// Half the sum of squared outputs.
    fn loss(network: &Network, inputs: &[f32]) -> f32 {
        network.forward(inputs.to_vec()).outputs.iter().map(|output| 0.5 * output * output).sum()
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut network = Network::random(3, 5, &mut rng);
        network.weights.iter_mut().for_each(|weight| *weight = rng.random_range(-0.7..0.7));
        let inputs: Vec<f32> = (0..6).map(|_| rng.random_range(-1.0..1.0)).collect();
        let pass = network.forward(inputs.clone());
        let mut gradients = vec![0.0; network.weights.len()];
        let input_gradients = network.backward(&pass, &pass.outputs.clone(), &mut gradients);
        for (index, gradient) in gradients.iter().enumerate() {
            let at = |shift: f32| {
                let mut moved = network.clone();
                moved.weights[index] += shift;
                loss(&moved, &inputs)
            };
            let numeric = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!((numeric - gradient).abs() < CLOSE, "weight {index}: {numeric} {gradient}");
        }
        for index in 0..inputs.len() {
            let at = |shift: f32| {
                let mut moved = inputs.clone();
                moved[index] += shift;
                loss(&network, &moved)
            };
            let numeric = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!((numeric - input_gradients[index]).abs() < CLOSE, "input {index}");
        }
    }
}
