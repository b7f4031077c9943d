//! Convolutions and fully connected layers.

use super::super::{Activation, ImportedConvolution, Shape, Work};
use super::graph::{float, integer, integers, square, text, unsupported};
use super::{Known, Reader};
use crate::error::Result;
use crate::fold::Norm;
use crate::onnx::message::Node;

/// Most multiply-accumulates of one layer, far above any network here; keeps products from overflowing.
const LARGEST_KERNEL: usize = 31;

impl<'a> Reader<'a> {
    pub(super) fn convolution(&mut self, node: &'a Node) -> Result<Known> {
        let input = self.image(node)?;
        let (dims, values) = self.names.wanted(node, 1)?;
        let from = self.shapes[input];
        let groups = integer(node, "group", 1);
        let &[outputs, inputs, kernel, width] = &dims[..] else {
            return Err(unsupported(node, format!("weights of shape {dims:?}")));
        };
        let depthwise = groups > 1;
        let whole = if depthwise { (1, from.channels) } else { (from.channels, outputs) };
        let grouped = !depthwise || groups == from.channels as i64;
        if kernel != width || kernel == 0 || kernel > LARGEST_KERNEL || (inputs, outputs) != whole || !grouped
        {
            let what = format!("weights {dims:?} in {groups} groups on {} channels", from.channels);
            return Err(unsupported(node, what));
        }
        let (stride, padding) = geometry(node, kernel, from.size)?;
        let size = (from.size + 2 * padding - kernel) / stride + 1;
        let taps = kernel * kernel;
        let weight = rows_first(&values, outputs, inputs, taps);
        let bias = self.bias_of(node, 2, outputs)?;
        let convolution = plain((depthwise, kernel, stride, padding), weight, &bias);
        self.push(node, input, Work::Convolution(convolution), Shape { size, channels: outputs })
    }

    pub(super) fn gemm(&mut self, node: &'a Node) -> Result<Known> {
        let factors = [float(node, "alpha").unwrap_or(1.0), float(node, "beta").unwrap_or(1.0)];
        if !factors.iter().all(|factor| factor.is_finite()) || integer(node, "transA", 0) != 0 {
            return Err(unsupported(node, "factors that are no numbers, or a transposed input"));
        }
        self.full(node, integer(node, "transB", 0) != 0, factors)
    }

    pub(super) fn product(&mut self, node: &'a Node) -> Result<Known> {
        self.full(node, false, [1.0, 1.0])
    }

    /// A convolution over the whole image; `transposed` weights are `[out, in]`. `alpha` multiplies them, `beta` the bias.
    fn full(&mut self, node: &'a Node, transposed: bool, [alpha, beta]: [f32; 2]) -> Result<Known> {
        let known = self.input(node, 0)?;
        let from = self.shapes[known.value];
        let (dims, values) = self.names.wanted(node, 1)?;
        let &[rows, columns] = &dims[..] else {
            return Err(unsupported(node, format!("weights of shape {dims:?}")));
        };
        let (features, outputs) = if transposed { (columns, rows) } else { (rows, columns) };
        if features != from.len() || !(known.flat || from.size == 1) || outputs == 0 {
            return Err(unsupported(node, format!("weights {dims:?} on {} features", from.len())));
        }
        if from.size > LARGEST_KERNEL {
            return Err(unsupported(node, format!("a full layer on an image of {}²", from.size)));
        }
        let at = |output: usize, feature: usize| match transposed {
            true => alpha * values[output * features + feature],
            false => alpha * values[feature * outputs + output],
        };
        let by_output: Vec<f32> = (0..outputs)
            .flat_map(|output| (0..features).map(move |feature| (output, feature)))
            .map(|(o, f)| at(o, f))
            .collect();
        let weight = rows_first(&by_output, outputs, from.channels, from.size * from.size);
        let mut bias = self.bias_of(node, 2, outputs)?;
        bias.iter_mut().for_each(|bias| *bias *= beta);
        if weight.iter().chain(&bias).any(|number| !number.is_finite()) {
            return Err(unsupported(node, "factors that take its numbers out of range"));
        }
        let convolution = plain((false, from.size, 1, 0), weight, &bias);
        self.push(node, known.value, Work::Convolution(convolution), Shape { size: 1, channels: outputs })
    }

    fn bias_of(&self, node: &Node, place: usize, outputs: usize) -> Result<Vec<f32>> {
        match self.names.floats(node, place)? {
            None => Ok(vec![0.0; outputs]),
            Some((_, bias)) if bias.len() == outputs => Ok(bias),
            Some((shape, _)) => {
                Err(unsupported(node, format!("a bias of shape {shape:?} for {outputs} outputs")))
            }
        }
    }

    /// An added constant: the bias of the layer before.
    pub(super) fn bias(&mut self, node: &'a Node) -> Result<Known> {
        let (_, bias) = self.names.wanted(node, 1)?;
        let (known, step) = self.producer(node)?;
        match &mut step.work {
            Work::Convolution(layer) if layer.channels() == bias.len() && !layer.fixed => {
                layer.norms.iter_mut().zip(&bias).for_each(|(norm, bias)| norm.beta += bias);
                Ok(known)
            }
            _ => Err(unsupported(
                node,
                format!("{} constants added to something else than a layer", bias.len()),
            )),
        }
    }
}

fn plain(
    (depthwise, kernel, stride, padding): (bool, usize, usize, usize),
    weight: Vec<f32>,
    bias: &[f32],
) -> ImportedConvolution {
    let norms = bias.iter().map(|&bias| Norm::only_shift(bias)).collect();
    let activation = Activation::Linear;
    ImportedConvolution {
        depthwise,
        kernel,
        stride,
        padding,
        weight,
        norms,
        normalized: false,
        activation,
        fixed: false,
    }
}

/// `[taps · in, out]` of `[out, in, taps]`.
fn rows_first(values: &[f32], outputs: usize, inputs: usize, taps: usize) -> Vec<f32> {
    let place = |tap: usize, input: usize, output: usize| (output * inputs + input) * taps + tap;
    let row =
        |tap: usize| (0..inputs).flat_map(move |input| (0..outputs).map(move |output| (tap, input, output)));
    (0..taps).flat_map(row).map(|(tap, input, output)| values[place(tap, input, output)]).collect()
}

/// Stride and padding; equal on all sides.
fn geometry(node: &Node, kernel: usize, size: usize) -> Result<(usize, usize)> {
    let stride = square(node, "strides", 1)?;
    if square(node, "dilations", 1)? != 1 || stride == 0 {
        return Err(unsupported(node, "a dilated convolution, or no stride"));
    }
    let padding = padding(node, kernel, stride, size)?;
    if padding >= kernel || kernel > size + 2 * padding {
        return Err(unsupported(
            node,
            format!("a kernel of {kernel} with padding {padding} on {size} pixels"),
        ));
    }
    Ok((stride, padding))
}

/// Padding as it is written, or as `auto_pad` asks for it.
pub(super) fn padding(node: &Node, kernel: usize, stride: usize, size: usize) -> Result<usize> {
    match text(node, "auto_pad") {
        Some(b"SAME_UPPER" | b"SAME_LOWER") if stride > 0 => same(node, kernel, stride, size),
        Some(b"VALID") => Ok(0),
        _ => pads(node),
    }
}

fn pads(node: &Node) -> Result<usize> {
    match integers(node, "pads") {
        Some(pads) if pads.iter().any(|&pad| pad != pads[0]) => {
            Err(unsupported(node, format!("padding {pads:?} that differs from side to side")))
        }
        _ => square(node, "pads", 0),
    }
}

/// What `SAME` comes to, if it is the same on all sides.
fn same(node: &Node, kernel: usize, stride: usize, size: usize) -> Result<usize> {
    let total = ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
    if total.is_multiple_of(2) {
        Ok(total / 2)
    } else {
        Err(unsupported(node, "padding that differs from side to side"))
    }
}
