//! # An imported network as a chain of layers that can be trained
//!
//! Where every layer reads the one before it, additions close blocks whose source is linear, and a global pool behind a
//! ReLU feeds the classifier, the network is what the training engine computes. Three things are brought into its
//! form, none of which changes the function:
//! - Its only ceiling is 6. ReLU is positively homogeneous, so a layer that ends at another ceiling c has its norm
//!   multiplied by 6/c and its reader's weights by c/6; an unlimited ReLU is brought to half the ceiling at the largest
//!   activation seen.
//! - A layer without batch norm gets one: its sums' mean and variance, and the factor and shift that undo them.

use std::collections::BTreeMap;

use sartor_space::Role;

use super::{Activation, ImportedConvolution, ImportedNetwork, Place, Step, Work};
use crate::error::{ExportError, Result};
use crate::fold::{EPSILON, Norm};
use crate::trained::{NamedArray, TrainedModel};

/// Where the engine's ReLU6 ends.
const CEILING: f32 = 6.0;
/// Where the largest activation of an unlimited ReLU comes to lie.
const UNLIMITED: f32 = 3.0;

/// What is seen of a step on some images.
#[derive(Debug, Clone, Default)]
struct Seen {
    largest: f32,
    count: f64,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl ImportedNetwork {
    /// Arrays for training, by the names of [`workload`](Self::workload); `pixels` are some training images.
    ///
    /// # Errors
    /// Why it is no such chain, with the first node that stands against it.
    pub fn chain(&self, pixels: &[u8]) -> Result<TrainedModel> {
        self.check_chain()?;
        let seen = self.see(pixels)?;
        let mut gains = vec![1.0f32; self.shapes.len()];
        let mut arrays = BTreeMap::new();
        for (index, step) in self.steps.iter().enumerate() {
            gains[index + 1] = match (&step.work, step.work.activation()) {
                (Work::GlobalPool, _) => gains[step.input],
                (_, Activation::Linear) => 1.0,
                (_, Activation::Clipped(ceiling)) => CEILING / ceiling,
                (_, Activation::Relu) => UNLIMITED / seen[index].largest.max(f32::MIN_POSITIVE.sqrt()),
            };
            if let Work::Convolution(convolution) = &step.work {
                let rescale = (gains[step.input], gains[index + 1]);
                let last = index + 1 == self.steps.len();
                put(&mut arrays, step, convolution, &seen[index], rescale, last);
            }
        }
        Ok(TrainedModel::from_arrays(arrays, BTreeMap::new()))
    }

    fn check_chain(&self) -> Result<()> {
        let roles = self.blocks();
        let count = self.steps.len();
        for (index, step) in self.steps.iter().enumerate() {
            let refuse = |what: &str| Err(not_a_chain(step, what));
            if step.input != index {
                return refuse("does not read what is directly before it");
            }
            match &step.work {
                Work::MaxPool { .. } => return refuse("is a max pool"),
                Work::GlobalPool if index + 2 != count || self.signed(index) => {
                    return refuse("is not the pool behind the last ReLU");
                }
                Work::GlobalPool => {}
                Work::Add { .. } => self.check_add(index, &roles)?,
                Work::Convolution(layer) if layer.fixed => return refuse("is an average pool"),
                Work::Convolution(layer) => check_geometry(step, layer, index + 1 == count)?,
            }
        }
        match self.steps.get(count.wrapping_sub(2)).map(|step| &step.work) {
            Some(Work::GlobalPool) => Ok(()),
            _ => Err(not_a_chain(&self.steps[count - 1], "does not follow a pool over the whole image")),
        }
    }

    fn check_add(&self, index: usize, roles: &[Role]) -> Result<()> {
        let (step, Work::Add { other, activation }) = (&self.steps[index], &self.steps[index].work) else {
            return Ok(());
        };
        let block = Role::Expand { block: index };
        let opens = roles[..index].iter().position(|role| *role == block);
        let fits = opens.is_some_and(|first| self.steps[first].input == *other && first + 1 < index)
            && roles[index - 1] == Role::Project { block: index };
        let linear =
            self.signed(*other) && self.signed(index) && *activation == Activation::Linear && *other > 0;
        if fits && linear { Ok(()) } else { Err(not_a_chain(step, "is no residual around linear layers")) }
    }

    fn see(&self, pixels: &[u8]) -> Result<Vec<Seen>> {
        let mut seen = vec![Seen::default(); self.steps.len()];
        self.observe(pixels, &mut |place, numbers| match place {
            Place::Sum(index) => seen[index].add(numbers, self.shapes[index + 1].channels),
            Place::Value(value) if value > 0 => {
                let seen = &mut seen[value - 1];
                seen.largest = numbers.iter().fold(seen.largest, |largest, number| largest.max(*number));
            }
            Place::Value(_) => {}
        })?;
        Ok(seen)
    }
}

impl Seen {
    fn add(&mut self, numbers: &[f32], channels: usize) {
        self.sums.resize(channels, 0.0);
        self.squares.resize(channels, 0.0);
        for pixel in numbers.chunks_exact(channels) {
            for ((sum, square), &number) in self.sums.iter_mut().zip(&mut self.squares).zip(pixel) {
                *sum += f64::from(number);
                *square += f64::from(number) * f64::from(number);
            }
        }
        self.count += (numbers.len() / channels) as f64;
    }

    /// A norm with these sums' statistics that does what `norm` does, which only shifts.
    fn norm(&self, channel: usize, norm: Norm) -> Norm {
        let count = self.count.max(1.0);
        let mean = self.sums[channel] / count;
        let variance = (self.squares[channel] / count - mean * mean).max(0.0);
        let (factor, shift) = norm.factor_and_shift();
        Norm {
            gamma: (factor * (variance + EPSILON).sqrt()) as f32,
            beta: mean as f32,
            mean: ((mean - shift) / factor) as f32,
            variance: variance as f32,
        }
    }
}

fn check_geometry(step: &Step, layer: &ImportedConvolution, last: bool) -> Result<()> {
    if !last && (layer.kernel.is_multiple_of(2) || layer.padding != layer.kernel / 2 || layer.kernel > 15) {
        return Err(not_a_chain(step, "has an even kernel, or padding other than half of it"));
    }
    if layer.stride > 2 { Err(not_a_chain(step, "has a stride above 2")) } else { Ok(()) }
}

fn not_a_chain(step: &Step, what: &str) -> ExportError {
    let operator = match step.work {
        Work::Convolution(_) => "layer",
        Work::Add { .. } => "Add",
        Work::MaxPool { .. } => "MaxPool",
        Work::GlobalPool => "GlobalAveragePool",
    };
    ExportError::Unsupported { node: step.name.clone(), operator: operator.into(), what: what.into() }
}

fn put(
    arrays: &mut BTreeMap<String, NamedArray>,
    step: &Step,
    convolution: &ImportedConvolution,
    seen: &Seen,
    (gain_in, gain_out): (f32, f32),
    last: bool,
) {
    let channels = convolution.channels();
    let mut insert = |field: &str, shape: Vec<usize>, values: Vec<f32>| {
        arrays.insert(format!("{}.{field}", step.name), NamedArray { shape, values });
    };
    let norm = |channel: usize| match convolution.normalized {
        true => convolution.norms[channel],
        false => seen.norm(channel, convolution.norms[channel]),
    };
    let mut weight: Vec<f32> = convolution.weight.iter().map(|weight| weight / gain_in).collect();
    let rows = weight.len() / channels;
    if last {
        let plain: Vec<(f64, f64)> = convolution.norms.iter().map(Norm::factor_and_shift).collect();
        weight.iter_mut().enumerate().for_each(|(place, weight)| *weight *= plain[place % channels].0 as f32);
        insert("bias", vec![channels], plain.iter().map(|(_, shift)| *shift as f32).collect());
    } else {
        let field =
            |of: fn(Norm) -> f32, gain: f32| (0..channels).map(|channel| of(norm(channel)) * gain).collect();
        insert("gamma", vec![channels], field(|norm| norm.gamma, gain_out));
        insert("beta", vec![channels], field(|norm| norm.beta, gain_out));
        insert("mean", vec![channels], field(|norm| norm.mean, 1.0));
        insert("variance", vec![channels], field(|norm| norm.variance, 1.0));
    }
    insert("weight", vec![rows, channels], weight);
}
