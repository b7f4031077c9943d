//! # Graphs: networks of any shape, to be fine-tuned
//!
//! [`Network`](crate::Network) is the chain that search spaces are made of, and its executor fuses everything around a
//! convolution. What other programs trained is wired and padded as they please: a [`Graph`] takes it as it is, and
//! [`GraphExecutor`] runs one step after the other. Values are numbered: 0 is the image, value i + 1 what step i
//! writes; NHWC, square. One step is
//!
//! ```text
//! x = input_quantizer(value)                                             convolutions only
//! y = convolution(x, weight_quantizer(w)) | value + other | largest of a window | mean of a window
//! z = gamma * (y - mean) / sqrt(variance + EPSILON) + beta | y + bias    convolutions only
//! value' = output_quantizer(min(max(z, 0), ceiling))
//! ```
//!
//! The last value has one pixel: the logits. Quantizers, their gradients and the numbers' places in one flat buffer are
//! those of [`network`](crate::network).

use crate::error::EngineError;
use crate::network::{ActivationQuantizer, WeightQuantizer};

mod check;
mod convolution;
mod executor;
mod finish;
mod pool;

pub use executor::GraphExecutor;

/// Index of a value; 0 is the image, i + 1 what step i writes.
pub type ValueId = usize;

/// A window that moves over an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: usize,
    /// Pixels it moves by.
    pub stride: usize,
    /// Pixels of border above and on the left, less than the kernel.
    pub padding: usize,
    /// Pixels of border below and on the right, less than the kernel; only the windows of pools may have another number
    /// there. The last window must reach into the image.
    pub padding_after: usize,
}

impl Window {
    /// With the same border on every side.
    pub fn even(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel, stride, padding, padding_after: padding }
    }

    /// Height and width of what comes out of an image of `size`; nothing if a window does not lie on it.
    pub fn output_size(&self, size: usize) -> Option<usize> {
        let Self { kernel, stride, padding, padding_after } = *self;
        if kernel <= padding.max(padding_after) {
            return None;
        }
        let framed = size.checked_add(padding)?.checked_add(padding_after)?;
        let last = framed.checked_sub(kernel)?.checked_div(stride)?;
        let inside = last * stride < size + padding;
        inside.then_some(last + 1)
    }
}

/// What follows the sums of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affine {
    /// Batch norm; offsets of one number per output channel.
    Norm {
        /// Factors.
        gamma_offset: usize,
        /// Shifts.
        beta_offset: usize,
    },
    /// A number per output channel is added.
    Bias {
        /// Where they lie.
        offset: usize,
    },
}

/// The filters of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// One filter per channel instead of all channels to all.
    pub depthwise: bool,
    /// Kernel, stride and padding (zeros).
    pub window: Window,
    /// Output channels.
    pub channels: usize,
    /// Offset of `[kernel · kernel · in] × [out]` weights (depthwise: `[kernel · kernel] × [channels]`), row-major.
    pub weight_offset: usize,
    /// Fake quantization of the weights.
    pub weight_quantizer: Option<WeightQuantizer>,
    /// What follows.
    pub affine: Affine,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Products and sums.
    Convolution(Filters),
    /// Element by element, with another value.
    Add {
        /// The other summand.
        other: ValueId,
    },
    /// Largest of a window; its border never wins.
    MaxPool(Window),
    /// Mean of a window; its border counts as zeros.
    AveragePool(Window),
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rectifier {
    /// Nothing.
    None,
    /// `max(z, 0)`.
    Relu,
    /// `min(max(z, 0), ceiling)`.
    Clipped(f32),
}

impl Rectifier {
    /// Lowest and highest value that is let through.
    fn bounds(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Clipped(ceiling) => (0.0, ceiling),
        }
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// For messages.
    pub name: String,
    /// Read.
    pub input: ValueId,
    /// Convolutions only: applied to what is read.
    pub input_quantizer: Option<ActivationQuantizer>,
    /// What is done.
    pub work: Work,
    /// What follows.
    pub rectifier: Rectifier,
    /// Applied to what is written.
    pub output_quantizer: Option<ActivationQuantizer>,
}

/// A network of any shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Height and width of the images.
    pub image_size: usize,
    /// Channels of the images.
    pub image_channels: usize,
    /// In execution order; the last one writes the logits.
    pub steps: Vec<Step>,
}

/// Shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Height and width.
    pub size: usize,
    /// Channels.
    pub channels: usize,
}

impl Shape {
    fn pixels(self) -> usize {
        self.size * self.size
    }
}

impl Graph {
    /// Elements of one image.
    pub fn image_length(&self) -> usize {
        self.image_size * self.image_size * self.image_channels
    }

    /// Shapes of all values, checked against a parameter buffer of `parameters` numbers.
    ///
    /// # Errors
    /// A step that reads what is not there, shapes that do not fit, numbers that lie outside the buffer.
    pub fn check(&self, parameters: usize) -> Result<Vec<Shape>, EngineError> {
        check::shapes(self, parameters)
    }
}
