//! # Integer reference executor
//!
//! What the exported network computes, by definition: uint8 pixels in, int32 sums, requantization in either
//! [`Style`], int32 class sums out. Every exporter is compared against it.
//!
//! Values are kept as `q − zero_point` in 16 bits, so padding and ReLU are plain zeros. Inner loops run over
//! channels, which are contiguous in NHWC; images run in parallel and never influence each other.

use rayon::prelude::*;

use crate::error::{ExportError, Result};
use crate::graph::{Convolution, Operation, QuantizedNetwork, Quantizer, TensorId};
use crate::import::window;
use crate::requantize::{Rescale, Style, add, requantize};

pub mod answers;
pub(crate) mod convolution;

use convolution::Prepared;

/// What the network says about some images.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// Number of classes.
    pub classes: usize,
    /// `[images, classes]` int32 sums.
    pub sums: Vec<i32>,
    /// `[images, classes]` real values of the sums.
    pub logits: Vec<f32>,
}

impl Outputs {
    /// The class of the largest logit of every image; the first one among equals.
    pub fn top1(&self) -> Vec<usize> {
        self.logits.chunks_exact(self.classes).map(arg_max).collect()
    }

    /// The int8 quantizer that just holds these logits.
    pub fn int8_quantizer(&self) -> Quantizer {
        let largest = self.logits.iter().fold(f32::MIN_POSITIVE, |largest, logit| largest.max(logit.abs()));
        Quantizer::int8(largest)
    }

    /// The logits in an 8-bit quantizer, for targets that hand out integers.
    pub fn int8_logits(&self, quantizer: &Quantizer) -> Vec<i8> {
        let quantize = |&logit: &f32| {
            let steps = (logit / quantizer.scale).round_ties_even();
            steps.clamp(quantizer.low as f32, quantizer.high as f32) as i8
        };
        self.logits.iter().map(quantize).collect()
    }
}

/// Position of the largest value; the first one among equals.
pub fn arg_max(values: &[f32]) -> usize {
    let better = |best: usize, index: usize| if values[index] > values[best] { index } else { best };
    (0..values.len()).fold(0, better)
}

/// A network made ready to run.
#[derive(Debug)]
pub struct Executor<'a> {
    network: &'a QuantizedNetwork,
    style: Style,
    convolutions: Vec<Prepared<'a>>,
    additions: Vec<Vec<i16>>,
    classifier: Vec<f32>,
}

/// Values of one image's tensors, `q − zero_point`, by tensor index.
pub type Trace = Vec<Vec<i16>>;

impl<'a> Executor<'a> {
    /// Prepares factors and tables.
    pub fn new(network: &'a QuantizedNetwork, style: Style) -> Self {
        let prepare = |convolution: &'a Convolution| Prepared::new(convolution, &network.tensors, style);
        let convolutions = network.convolutions().map(prepare).collect();
        let additions = network.operations.iter().filter_map(|operation| match *operation {
            Operation::Add { left, right, output, .. } => {
                Some(add_table(network, style, (left, right), output))
            }
            _ => None,
        });
        let (additions, classifier) = (additions.collect(), network.logit_steps().collect());
        Self { network, style, convolutions, additions, classifier }
    }

    /// Runs NHWC images one after the other in `pixels`.
    pub fn run(&self, pixels: &[u8]) -> Result<Outputs> {
        let images = self.images(pixels)?;
        let classes = self.network.classes();
        let sums: Vec<i32> = images.flat_map_iter(|image| self.sums(&self.trace(image))).collect();
        let logit = |(index, &sum): (usize, &i32)| sum as f32 * self.classifier[index % classes];
        let logits = sums.iter().enumerate().map(logit).collect();
        Ok(Outputs { classes, sums, logits })
    }

    fn images<'p>(&self, pixels: &'p [u8]) -> Result<rayon::slice::ChunksExact<'p, u8>> {
        let length = self.network.image().len();
        if !pixels.len().is_multiple_of(length) {
            let expected = pixels.len().next_multiple_of(length);
            return Err(ExportError::Data { what: "bytes of pixels", got: pixels.len(), expected });
        }
        Ok(pixels.par_chunks_exact(length))
    }

    /// Every tensor of one image.
    pub fn trace(&self, image: &[u8]) -> Trace {
        let network = self.network;
        let mut values: Trace = network.tensors.iter().map(|tensor| vec![0; tensor.len()]).collect();
        let zero_point = network.image().quantizer.zero_point as i16;
        values[0].iter_mut().zip(image).for_each(|(value, &pixel)| *value = i16::from(pixel) - zero_point);
        let (mut convolutions, mut additions) = (self.convolutions.iter(), self.additions.iter());
        for operation in &network.operations {
            let output = self.step(operation, &values, &mut convolutions, &mut additions);
            values[output.0] = output.1;
        }
        values
    }

    fn step<'s>(
        &'s self,
        operation: &Operation,
        values: &Trace,
        convolutions: &mut impl Iterator<Item = &'s Prepared<'a>>,
        additions: &mut impl Iterator<Item = &'s Vec<i16>>,
    ) -> (TensorId, Vec<i16>) {
        match *operation {
            Operation::Convolution(Convolution { input, output, .. }) => {
                let result = convolutions.next().map(|convolution| convolution.run(&values[input]));
                (output, result.unwrap_or_default())
            }
            Operation::Requantize { input, output, .. } => {
                (output, self.requantize(&values[input], input, output))
            }
            Operation::Add { left, right, output, .. } => {
                let table = additions.next().map_or(&[][..], |table| table);
                (output, look_up(table, &values[left], &values[right]))
            }
            Operation::MaxPool { kernel, stride, padding, input, output, .. } => {
                (output, self.largest(&values[input], (kernel, stride, padding), input, output))
            }
            Operation::Pool { input, output, .. } => (output, self.pool(&values[input], input, output)),
        }
    }

    fn requantize(&self, values: &[i16], input: TensorId, output: TensorId) -> Vec<i16> {
        let (from, to) = (&self.network.tensors[input].quantizer, &self.network.tensors[output].quantizer);
        let table: Vec<i16> =
            (-128..128).map(|value| requantize(self.style, value, from, to) as i16).collect();
        values.iter().map(|&value| table[(i32::from(value) + 128) as usize]).collect()
    }

    fn largest(
        &self,
        values: &[i16],
        geometry: (usize, usize, usize),
        input: TensorId,
        output: TensorId,
    ) -> Vec<i16> {
        let (from, to) = (&self.network.tensors[input], &self.network.tensors[output]);
        let mut result = vec![i16::MIN; to.len()];
        for (pixel, out) in result.chunks_exact_mut(to.channels).enumerate() {
            for (_, place) in window(from.size, (pixel / to.size, pixel % to.size), geometry) {
                let source = &values[place * from.channels..][..from.channels];
                out.iter_mut().zip(source).for_each(|(best, &value)| *best = value.max(*best));
            }
        }
        result
    }

    fn pool(&self, values: &[i16], input: TensorId, output: TensorId) -> Vec<i16> {
        let (from, to) = (&self.network.tensors[input], &self.network.tensors[output]);
        let mut sums = vec![0i32; from.channels];
        for pixel in values.chunks_exact(from.channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += i32::from(value));
        }
        let pixels = from.size * from.size;
        let rescale = Rescale::mean(self.style, from.quantizer.scale, pixels, to.quantizer.scale);
        sums.iter().map(|&sum| rescale.apply(sum, to.quantizer.low, to.quantizer.high) as i16).collect()
    }

    fn sums(&self, trace: &Trace) -> Vec<i32> {
        let classifier = &self.network.classifier;
        let mut sums = vec![0i32; classifier.weights.bias.len()];
        for (&feature, row) in
            trace[classifier.input].iter().zip(classifier.weights.values.chunks_exact(sums.len()))
        {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, &weight)| *sum += i32::from(feature) * i32::from(weight));
        }
        let shifted = |(&sum, bias): (&i32, &i32)| (sum << classifier.weights.bias_shift) + bias;
        sums.iter().zip(&classifier.weights.bias).map(shifted).collect()
    }
}

/// All 256 × 256 sums of two signed 8-bit tensors.
fn add_table(network: &QuantizedNetwork, style: Style, from: (TensorId, TensorId), to: TensorId) -> Vec<i16> {
    let quantizer = |tensor: TensorId| &network.tensors[tensor].quantizer;
    let (left, right, to) = (quantizer(from.0), quantizer(from.1), quantizer(to));
    let row = |a: i32| (-128..128).map(move |b| add(style, (a, left), (b, right), to) as i16);
    (-128..128).flat_map(row).collect()
}

fn look_up(table: &[i16], left: &[i16], right: &[i16]) -> Vec<i16> {
    let index = |a: i16, b: i16| ((i32::from(a) + 128) * 256 + i32::from(b) + 128) as usize;
    left.iter().zip(right).map(|(&a, &b)| table[index(a, b)]).collect()
}

#[cfg(test)]
mod tests;
