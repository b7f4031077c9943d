//! Convolutions and fully connected layers.

use super::super::{Activation, ImportedConvolution, Shape, Work};
use super::graph::{float, integer, unsupported};
use super::taps::{LARGEST_KERNEL, MOST_WEIGHTS, Square, Taps};
use super::{Known, Reader};
use crate::error::Result;
use crate::fold::Norm;
use crate::onnx::message::Node;

/// Most groups that become a dense convolution.
const MOST_GROUPS: usize = 32;

impl<'a> Reader<'a> {
    pub(super) fn convolution(&mut self, node: &'a Node) -> Result<Known> {
        let (input, around) = self.framed_image(node)?;
        let (dims, values) = self.names.wanted(node, 1)?;
        let from = self.shapes[input];
        let &[outputs, inputs, height, width] = &dims[..] else {
            return Err(unsupported(node, format!("weights of shape {dims:?}")));
        };
        let groups = usize::try_from(integer(node, "group", 1)).unwrap_or(0);
        let grouped = groups > 0 && groups.checked_mul(inputs) == Some(from.channels);
        let shared = groups > 0 && outputs.is_multiple_of(groups) && outputs > 0;
        if height.min(width) == 0 || height.max(width) > LARGEST_KERNEL || !grouped || !shared {
            let what = format!("weights {dims:?} in {groups} groups on {} channels", from.channels);
            return Err(unsupported(node, what));
        }
        let depthwise = groups > 1 && groups == from.channels && outputs == groups;
        let values =
            if depthwise || groups == 1 { values } else { self.ungroup(node, values, &dims, groups)? };
        let inputs = if depthwise { 1 } else { from.channels };
        let taps = Taps::of(node, [height, width], around, from.size)?;
        let square = taps.squared(node)?;
        if let Some(note) = taps.note(&square) {
            self.note(node, note);
        }
        let values = taps.spread(node, &square, values)?;
        let (Square { kernel, padding, .. }, stride) = (square, taps.stride);
        let size = (from.size + 2 * padding - kernel) / stride + 1;
        let weight = rows_first(&values, outputs, inputs, kernel * kernel);
        let bias = self.bias_of(node, 2, outputs)?;
        let convolution = plain((depthwise, kernel, stride, padding), weight, &bias);
        self.push(node, input, Work::Convolution(convolution), Shape { size, channels: outputs })
    }

    /// Weights of groups as dense ones: zeros where output and input are of different groups.
    fn ungroup(&mut self, node: &Node, values: Vec<f32>, dims: &[usize], groups: usize) -> Result<Vec<f32>> {
        let (outputs, length) = (dims[0], dims[1..].iter().product::<usize>());
        if groups > MOST_GROUPS || values.len().saturating_mul(groups) > MOST_WEIGHTS {
            let what =
                format!("{groups} groups: as one dense convolution that is {groups} times its weights");
            return Err(unsupported(node, what));
        }
        self.note(
            node,
            format!("{groups} groups become one dense convolution of {groups} times the weights"),
        );
        let mut dense = vec![0.0; outputs * groups * length];
        for (output, values) in values.chunks_exact(length.max(1)).enumerate() {
            let group = output / (outputs / groups);
            dense[(output * groups + group) * length..][..length].copy_from_slice(values);
        }
        Ok(dense)
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
        let (known, step) = self.producer(node, false)?;
        match step.work.open_convolution() {
            Some(layer) if layer.channels() == bias.len() && !layer.fixed => {
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
