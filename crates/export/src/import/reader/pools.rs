//! Pools and means over the image.

use super::super::values::signed;
use super::super::{Activation, ImportedConvolution, Shape, Work};
use super::graph::{integer, integers, unsupported};
use super::taps::Window;
use super::{Known, Reader};
use crate::error::Result;
use crate::fold::Norm;
use crate::onnx::message::Node;

/// Largest window of an average pool that is not over the whole image.
const LARGEST_WINDOW: usize = 31;

impl Reader<'_> {
    pub(super) fn max_pool(&mut self, node: &Node) -> Result<Known> {
        let (input, around) = self.framed_image(node)?;
        if around != [0; 4] && signed(&self.steps, input) {
            return Err(unsupported(node, "the largest of numbers below 0 and the zeros around them"));
        }
        let window = Window::of(node, around, self.shapes[input].size)?;
        let shape = Shape { size: window.output_size, ..self.shapes[input] };
        let Window { kernel, stride, padding: [padding, padding_after], .. } = window;
        self.push(node, input, Work::MaxPool { kernel, stride, padding, padding_after }, shape)
    }

    /// A depthwise convolution with equal weights.
    pub(super) fn average_pool(&mut self, node: &Node) -> Result<Known> {
        let (input, around) = self.framed_image(node)?;
        let Shape { size, channels } = self.shapes[input];
        let Window { kernel, stride, padding: [padding, after], own_padding, output_size } =
            Window::of(node, around, size)?;
        if padding != after {
            let what =
                format!("a mean over windows with padding {padding} before the image and {after} behind it");
            return Err(unsupported(node, what));
        }
        if kernel == size && padding == 0 {
            return self.global_pool(node);
        }
        if kernel > LARGEST_WINDOW {
            return Err(unsupported(node, format!("a window of {kernel}")));
        }
        if own_padding && integer(node, "count_include_pad", 0) == 0 {
            return Err(unsupported(node, "a mean over windows that leaves the padding out"));
        }
        let convolution = ImportedConvolution {
            depthwise: true,
            kernel,
            stride,
            padding,
            weight: vec![1.0 / (kernel * kernel) as f32; kernel * kernel * channels],
            norms: vec![Norm::only_shift(0.0); channels],
            normalized: false,
            activation: Activation::Linear,
            fixed: true,
        };
        let shape = Shape { size: output_size, channels };
        self.push(node, input, Work::Convolution(convolution), shape)
    }

    pub(super) fn global_pool(&mut self, node: &Node) -> Result<Known> {
        let input = self.image(node)?;
        let shape = Shape { size: 1, ..self.shapes[input] };
        self.push(node, input, Work::GlobalPool, shape)
    }

    pub(super) fn mean(&mut self, node: &Node) -> Result<Known> {
        let axes = integers(node, "axes").map(<[i64]>::to_vec).or_else(|| self.names.integers(node, 1));
        let mut axes = axes.unwrap_or_default();
        axes.iter_mut().for_each(|axis| *axis += if *axis < 0 { 4 } else { 0 });
        axes.sort_unstable();
        if axes != [2, 3] {
            return Err(unsupported(
                node,
                format!("a mean over the axes {axes:?}, expected height and width"),
            ));
        }
        self.global_pool(node)
    }
}
