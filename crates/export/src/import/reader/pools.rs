//! Pools and means over the image.

use super::super::{Activation, ImportedConvolution, Shape, ValueId, Work};
use super::convolution::padding;
use super::graph::{integer, integers, square, unsupported};
use super::{Known, Reader};
use crate::error::Result;
use crate::fold::Norm;
use crate::onnx::message::Node;

/// Largest window of an average pool that is not over the whole image.
const LARGEST_WINDOW: usize = 31;

impl Reader<'_> {
    pub(super) fn max_pool(&mut self, node: &Node) -> Result<Known> {
        let input = self.image(node)?;
        let (kernel, stride, padding) = self.window(node, input)?;
        let size = (self.shapes[input].size + 2 * padding - kernel) / stride + 1;
        let shape = Shape { size, ..self.shapes[input] };
        self.push(node, input, Work::MaxPool { kernel, stride, padding }, shape)
    }

    /// A depthwise convolution with equal weights.
    pub(super) fn average_pool(&mut self, node: &Node) -> Result<Known> {
        let input = self.image(node)?;
        let (kernel, stride, padding) = self.window(node, input)?;
        let Shape { size, channels } = self.shapes[input];
        if kernel == size && padding == 0 {
            return self.global_pool(node);
        }
        if kernel > LARGEST_WINDOW {
            return Err(unsupported(node, format!("a window of {kernel}")));
        }
        if padding > 0 && integer(node, "count_include_pad", 0) == 0 {
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
        let size = (size + 2 * padding - kernel) / stride + 1;
        self.push(node, input, Work::Convolution(convolution), Shape { size, channels })
    }

    fn window(&self, node: &Node, input: ValueId) -> Result<(usize, usize, usize)> {
        let (kernel, stride) = (square(node, "kernel_shape", 0)?, square(node, "strides", 1)?);
        let padding = padding(node, kernel, stride, self.shapes[input].size)?;
        let plain = integer(node, "ceil_mode", 0) == 0 && square(node, "dilations", 1)? == 1;
        let padded = self.shapes[input].size + 2 * padding;
        if !plain || kernel == 0 || stride == 0 || padding >= kernel || kernel > padded {
            return Err(unsupported(
                node,
                format!("a window of {kernel}, stride {stride}, padding {padding}"),
            ));
        }
        Ok((kernel, stride, padding))
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
