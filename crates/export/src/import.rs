//! # Import: a trained network from elsewhere
//!
//! A float CNN, read from ONNX ([`ImportedNetwork::from_onnx`]) or from named weights of a known architecture
//! ([`ImportedNetwork::mobilenet_v2`]), as a list of [`Step`]s: convolutions with their norm and activation, additions and pools, in
//! execution order; a fully connected layer is a convolution over the whole image.
//!
//! ```text
//! .onnx ── reader ──▶ ImportedNetwork ──┬─▶ logits, observe   what the network computes, in float
//!                      (steps, values)  ├─▶ quantize          at any widths: the integer graph
//!                                       ├─▶ points, retrained what a trainer of it simulates, and gives back
//!                                       └─▶ chain             where it is a chain of layers: arrays to fine-tune
//! ```
//!
//! Values are numbered: 0 is the image, value i + 1 is what step i writes; NHWC, square.

use sartor_space::{Layer, Role, Workload};

use crate::error::{ExportError, Result};
use crate::fold::Norm;

mod chain;
mod float;
mod hints;
mod known;
mod quantize;
mod reader;
mod retrain;
mod values;

pub use float::Place;
pub(crate) use float::window;
pub(crate) use hints::hint;
pub use quantize::{PointKind, RangePoint, StepPoints};

/// Index of a value; 0 is the image, i + 1 the output of step i.
pub type ValueId = usize;

/// Bits of an operand that is not quantized.
const FULL_PRECISION: u8 = 32;

/// What follows a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), ceiling)`.
    Clipped(f32),
}

impl Activation {
    /// Both, one after the other.
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (own, Self::Linear) | (Self::Linear, own) => own,
            (Self::Clipped(own), Self::Clipped(other)) => Self::Clipped(own.min(other)),
            (Self::Clipped(ceiling), Self::Relu) | (Self::Relu, Self::Clipped(ceiling)) => {
                Self::Clipped(ceiling)
            }
            (Self::Relu, Self::Relu) => Self::Relu,
        }
    }

    /// What it makes of a number.
    pub fn apply(self, value: f32) -> f32 {
        match self {
            Self::Linear => value,
            Self::Relu => value.max(0.0),
            Self::Clipped(ceiling) => value.clamp(0.0, ceiling),
        }
    }

    /// Whether what comes out can be negative.
    pub fn signed(self) -> bool {
        self == Self::Linear
    }
}

/// A convolution with what follows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedConvolution {
    /// One filter per channel instead of all channels to all.
    pub depthwise: bool,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding on every side.
    pub padding: usize,
    /// `[kernel · kernel · in, out]` (depthwise: `[kernel · kernel, channels]`), row-major.
    pub weight: Vec<f32>,
    /// Batch norm per output channel; a bias alone is a norm that only shifts.
    pub norms: Vec<Norm>,
    /// Whether the file has a batch norm here.
    pub normalized: bool,
    /// What follows.
    pub activation: Activation,
    /// Constant weights that are part of the architecture (an average pool), neither searched nor trained.
    pub fixed: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Products and sums.
    Convolution(ImportedConvolution),
    /// Element by element, with another value.
    Add {
        /// The other summand.
        other: ValueId,
        /// What follows.
        activation: Activation,
    },
    /// Largest of a window.
    MaxPool {
        /// Side of the window.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Padding above and on the left, which never wins.
        padding: usize,
        /// Padding below and on the right, which never wins either.
        padding_after: usize,
    },
    /// Mean over all pixels.
    GlobalPool,
}

/// One step of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Name of the node that does the work.
    pub name: String,
    /// Read.
    pub input: ValueId,
    /// What is done.
    pub work: Work,
}

/// Shape of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Height and width.
    pub size: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    /// Number of elements.
    pub fn len(self) -> usize {
        self.size * self.size * self.channels
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// A trained float network. The last step is a linear convolution on one pixel: the classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportedNetwork {
    pub(crate) steps: Vec<Step>,
    /// Of every value.
    pub(crate) shapes: Vec<Shape>,
    pub(crate) zero_point: u8,
    pub(crate) scale: f32,
    pub(crate) notes: Vec<String>,
}

impl ImportedNetwork {
    /// The image's shape.
    pub fn image(&self) -> Shape {
        self.shapes[0]
    }

    /// Real value of a pixel: `(pixel − zero point) · scale`.
    pub fn pixels(&self) -> (u8, f32) {
        (self.zero_point, self.scale)
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.shapes.last().map_or(0, |shape| shape.channels)
    }

    /// The steps in execution order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What was read as something else that computes the same at a higher cost, with its node.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.shapes[value]
    }

    /// The searched layers in execution order, the classifier last; full precision.
    pub fn workload(&self) -> Workload {
        let blocks = self.blocks();
        let layers = self.steps.iter().enumerate().filter_map(|(index, step)| {
            let convolution = step.work.convolution().filter(|convolution| !convolution.fixed)?;
            let role = if index + 1 == self.steps.len() { Role::Classifier } else { blocks[index] };
            Some(self.layer(index, step, convolution, role))
        });
        Workload { layers: layers.collect() }
    }

    fn layer(&self, index: usize, step: &Step, convolution: &ImportedConvolution, role: Role) -> Layer {
        let (from, to) = (self.shapes[step.input], self.shapes[index + 1]);
        let added = matches!(self.steps.get(index + 1), Some(Step { work: Work::Add { .. }, .. }));
        Layer {
            name: step.name.clone(),
            role,
            in_channels: from.channels,
            out_channels: to.channels,
            input_size: from.size,
            kernel: convolution.kernel,
            stride: convolution.stride,
            padding: convolution.padding,
            groups: if convolution.depthwise { from.channels } else { 1 },
            weight_bits: FULL_PRECISION,
            activation_bits: FULL_PRECISION,
            signed_input: self.signed(step.input),
            relu: !convolution.activation.signed(),
            residual: added && matches!(role, Role::Project { .. }),
            first: step.input == 0,
        }
    }

    /// Pixels are `(value / 255 − mean) / deviation` per channel for the network: taken into the first layers'
    /// weights and shifts, so that one integer zero point and one scale serve all channels.
    ///
    /// Where a channel's mean is no whole pixel value the padding of the image is off by less than one pixel value.
    ///
    /// # Errors
    /// Numbers that are not usable, or another number of channels.
    pub fn on_pixels(mut self, mean: &[f32], deviation: &[f32]) -> Result<Self> {
        let channels = self.image().channels;
        for (what, values) in [("means of pixels", mean), ("deviations of pixels", deviation)] {
            if values.len() != channels {
                return Err(ExportError::Data { what, got: values.len(), expected: channels });
            }
        }
        if let Some(index) = deviation.iter().position(|&value| !(value.is_finite() && value > 0.0)) {
            return Err(bad_pixel("deviation", index, deviation[index], "a positive number"));
        }
        if let Some(index) = mean.iter().position(|value| !(0.0..=1.0).contains(value)) {
            return Err(bad_pixel("mean", index, mean[index], "a number from 0 to 1"));
        }
        let average = |values: &[f32]| values.iter().sum::<f32>() / channels as f32;
        self.zero_point = (255.0 * average(mean)).round_ties_even() as u8;
        self.scale = 1.0 / (255.0 * average(deviation));
        let gains: Vec<f32> = deviation.iter().map(|&own| average(deviation) / own).collect();
        let zero = f32::from(self.zero_point) / 255.0;
        let shifts: Vec<f32> = mean.iter().zip(deviation).map(|(&mean, &own)| (zero - mean) / own).collect();
        for step in self.steps.iter_mut().filter(|step| step.input == 0) {
            if let Work::Convolution(convolution) = &mut step.work {
                convolution.absorb(&gains, &shifts);
            }
        }
        Ok(self)
    }
}

fn bad_pixel(field: &str, index: usize, got: f32, expected: &'static str) -> ExportError {
    let (layer, key) = ("image".to_string(), format!("image.{field}"));
    ExportError::Value { layer, key, index, got, expected }
}

impl Work {
    /// The convolution, if it is one.
    pub fn convolution(&self) -> Option<&ImportedConvolution> {
        match self {
            Self::Convolution(convolution) => Some(convolution),
            _ => None,
        }
    }

    /// The convolution, if nothing follows it yet.
    fn open_convolution(&mut self) -> Option<&mut ImportedConvolution> {
        match self {
            Self::Convolution(convolution) if convolution.activation == Activation::Linear => {
                Some(convolution)
            }
            _ => None,
        }
    }

    /// What follows.
    pub fn activation(&self) -> Activation {
        match self {
            Self::Convolution(convolution) => convolution.activation,
            Self::Add { activation, .. } => *activation,
            Self::MaxPool { .. } | Self::GlobalPool => Activation::Linear,
        }
    }
}

impl ImportedConvolution {
    /// Output channels.
    pub fn channels(&self) -> usize {
        self.norms.len()
    }

    /// `input · gain + shift` per input channel, taken into weights and norms.
    fn absorb(&mut self, gains: &[f32], shifts: &[f32]) {
        let (outputs, inputs) = (self.channels(), gains.len());
        for (index, weight) in self.weight.iter_mut().enumerate() {
            let (row, output) = (index / outputs, index % outputs);
            let input = if self.depthwise { output } else { row % inputs };
            self.norms[output].mean -= *weight * shifts[input];
            *weight *= gains[input];
        }
    }
}

#[cfg(test)]
mod tests;
