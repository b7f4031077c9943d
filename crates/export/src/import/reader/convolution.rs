//! Convolutions and fully connected layers.

use super::super::{Activation, ImportedConvolution, Shape, Work};
use super::graph::{float, integer, integers, square, text, unsupported};
use super::{Known, Reader};
use crate::error::Result;
use crate::fold::Norm;
use crate::onnx::message::Node;

/// Largest side of a kernel.
const LARGEST_KERNEL: usize = 31;
/// Most groups that become a dense convolution.
const MOST_GROUPS: usize = 32;
/// Most weights of such a convolution.
const MOST_WEIGHTS: usize = 1 << 24;

/// A kernel with zeros around it.
struct Wide {
    kernel: usize,
    padding: usize,
    /// Rows of zeros in front.
    top: usize,
    /// Columns of zeros in front.
    left: usize,
}

impl Wide {
    /// `[…, wide, wide]` of `[…, kernel, kernel]`.
    fn place(&self, values: Vec<f32>, kernel: usize) -> Vec<f32> {
        if self.kernel == kernel {
            return values;
        }
        let taps = self.kernel * self.kernel;
        let mut all = vec![0.0; values.len() / (kernel * kernel) * taps];
        for (to, from) in all.chunks_exact_mut(taps).zip(values.chunks_exact(kernel * kernel)) {
            for (row, from) in from.chunks_exact(kernel).enumerate() {
                to[(self.top + row) * self.kernel + self.left..][..kernel].copy_from_slice(from);
            }
        }
        all
    }
}

impl<'a> Reader<'a> {
    pub(super) fn convolution(&mut self, node: &'a Node) -> Result<Known> {
        let input = self.image(node)?;
        let (dims, values) = self.names.wanted(node, 1)?;
        let from = self.shapes[input];
        let &[outputs, inputs, kernel, width] = &dims[..] else {
            return Err(unsupported(node, format!("weights of shape {dims:?}")));
        };
        let groups = usize::try_from(integer(node, "group", 1)).unwrap_or(0);
        let grouped = groups > 0 && groups.checked_mul(inputs) == Some(from.channels);
        let shared = groups > 0 && outputs.is_multiple_of(groups) && outputs > 0;
        if kernel != width || kernel == 0 || kernel > LARGEST_KERNEL || !grouped || !shared {
            let what = format!("weights {dims:?} in {groups} groups on {} channels", from.channels);
            return Err(unsupported(node, what));
        }
        let depthwise = groups > 1 && groups == from.channels && outputs == groups;
        let values =
            if depthwise || groups == 1 { values } else { self.ungroup(node, values, &dims, groups)? };
        let inputs = if depthwise { 1 } else { from.channels };
        let (stride, sides) = geometry(node, kernel, from.size)?;
        let wide = self.widen(node, kernel, sides)?;
        let values = wide.place(values, kernel);
        let Wide { kernel, padding, .. } = wide;
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

    /// Equal padding on all sides, with zeros around the kernel that make up for it.
    fn widen(&mut self, node: &Node, kernel: usize, [top, left, bottom, right]: [usize; 4]) -> Result<Wide> {
        let padding = top.max(left).max(bottom).max(right);
        let wide = kernel + 2 * padding - top - bottom;
        if top + bottom != left + right || wide > LARGEST_KERNEL {
            let what = format!("padding {:?} that no square kernel makes up for", [top, left, bottom, right]);
            return Err(unsupported(node, what));
        }
        if wide > kernel {
            let more = (wide * wide) as f64 / (kernel * kernel) as f64;
            let what = format!(
                "padding that differs from side to side becomes a kernel of {wide} instead of {kernel}: {more:.1} times \
                 the products"
            );
            self.note(node, what);
        }
        Ok(Wide { kernel: wide, padding, top: padding - top, left: padding - left })
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

/// Stride, and padding at the top, the left, the bottom and the right.
fn geometry(node: &Node, kernel: usize, size: usize) -> Result<(usize, [usize; 4])> {
    let stride = square(node, "strides", 1)?;
    if square(node, "dilations", 1)? != 1 || stride == 0 {
        return Err(unsupported(node, "a dilated convolution, or no stride"));
    }
    let sides = sides(node, kernel, stride, size)?;
    let [top, left, bottom, right] = sides;
    let small = kernel > size + (top + bottom).min(left + right);
    if small || sides.iter().any(|&side| side >= kernel) {
        return Err(unsupported(
            node,
            format!("a kernel of {kernel} with padding {sides:?} on {size} pixels"),
        ));
    }
    Ok((stride, sides))
}

/// Padding that is the same on all sides.
pub(super) fn padding(node: &Node, kernel: usize, stride: usize, size: usize) -> Result<usize> {
    let sides = sides(node, kernel, stride, size)?;
    match sides.iter().all(|&side| side == sides[0]) {
        true => Ok(sides[0]),
        false => {
            Err(unsupported(node, format!("a pool with padding {sides:?} that differs from side to side")))
        }
    }
}

/// Padding as it is written, or as `auto_pad` asks for it.
fn sides(node: &Node, kernel: usize, stride: usize, size: usize) -> Result<[usize; 4]> {
    let total = || ((size.div_ceil(stride) - 1) * stride + kernel).saturating_sub(size);
    let (less, more) = (|| total() / 2, || total().div_ceil(2));
    match text(node, "auto_pad") {
        Some(b"SAME_UPPER") if stride > 0 => Ok([less(), less(), more(), more()]),
        Some(b"SAME_LOWER") if stride > 0 => Ok([more(), more(), less(), less()]),
        Some(b"VALID") => Ok([0; 4]),
        _ => pads(node),
    }
}

fn pads(node: &Node) -> Result<[usize; 4]> {
    let Some(pads) = integers(node, "pads") else { return Ok([0; 4]) };
    match pads
        .iter()
        .map(|&pad| usize::try_from(pad).ok().filter(|&pad| pad <= LARGEST_KERNEL))
        .collect::<Option<Vec<_>>>()
    {
        Some(pads) if pads.len() == 4 => Ok([pads[0], pads[1], pads[2], pads[3]]),
        _ => Err(unsupported(node, format!("`pads` {pads:?}"))),
    }
}
