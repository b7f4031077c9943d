//! # MobileNetV2 from named weights
//!
//! torchvision numbers its modules (`features.3.conv.0.0.weight`), timm names them (`blocks.1.1.conv_pw.weight`); both
//! list the same layers in the same order. Widths are read off the arrays; strides are the paper's (Sandler et al., 2018,
//! table 2).

use super::{Activation, ImportedConvolution, ImportedNetwork, Shape, Step, Work};
use crate::error::{ExportError, Result};
use crate::fold::Norm;
use crate::trained::{NamedArray, TrainedModel};

const ARCHITECTURE: &str = "MobileNetV2";
/// Blocks and stride of the first one, stage by stage.
const STAGES: [(usize, usize); 7] = [(1, 1), (2, 2), (3, 2), (4, 2), (3, 1), (3, 2), (1, 1)];
const CEILING: f32 = 6.0;

/// Names of a convolution and of its norm, and how it is computed.
struct Named {
    name: String,
    convolution: String,
    norm: String,
    stride: usize,
    linear: bool,
}

impl ImportedNetwork {
    /// MobileNetV2 with weights by the names of torchvision or timm, for images of this height and width.
    ///
    /// # Errors
    /// Names or shapes that are not MobileNetV2's.
    pub fn mobilenet_v2(weights: &TrainedModel, size: usize) -> Result<Self> {
        let numbered = weights.contains("features.0.0.weight");
        if !numbered && !weights.contains("conv_stem.weight") {
            return Err(refused("neither `features.0.0.weight` nor `conv_stem.weight` is there"));
        }
        let stem = array(weights, if numbered { "features.0.0.weight" } else { "conv_stem.weight" })?;
        let channels = stem.shape.get(1).copied().unwrap_or(0);
        let image = Shape { size, channels };
        let (steps, shapes, notes) = (vec![], vec![image], vec![]);
        let mut network = Self { steps, shapes, zero_point: 0, scale: 1.0 / 255.0, notes };
        network.named_layer(weights, ends(numbered, true))?;
        for (number, (stage, position, stride)) in places().enumerate() {
            network.block(weights, block(numbered, number, stage, position, stride))?;
        }
        network.named_layer(weights, ends(numbered, false))?;
        let shape = Shape { size: 1, channels: network.last().channels };
        network.push("pool".into(), Work::GlobalPool, shape);
        network.classifier(weights, if numbered { "classifier.1" } else { "classifier" })?;
        Ok(network)
    }

    fn last(&self) -> Shape {
        self.shapes[self.shapes.len() - 1]
    }

    fn push(&mut self, name: String, work: Work, shape: Shape) {
        self.steps.push(Step { name, input: self.shapes.len() - 1, work });
        self.shapes.push(shape);
    }

    fn block(&mut self, weights: &TrainedModel, layers: Vec<Named>) -> Result<()> {
        let (source, from) = (self.shapes.len() - 1, self.last());
        for layer in layers {
            self.named_layer(weights, layer)?;
        }
        if self.last() == from && source > 0 && self.signed(source) {
            let name = self.steps.last().map_or(String::new(), |step| format!("{}.add", step.name));
            self.push(name, Work::Add { other: source, activation: Activation::Linear }, from);
        }
        Ok(())
    }

    fn named_layer(&mut self, weights: &TrainedModel, named: Named) -> Result<()> {
        let from = self.last();
        let weight = array(weights, &format!("{}.weight", named.convolution))?;
        let &[outputs, inputs, kernel, width] = &weight.shape[..] else {
            return Err(refused(format!("`{}` has shape {:?}", named.convolution, weight.shape)));
        };
        let depthwise = inputs == 1 && kernel > 1 && outputs == from.channels;
        if kernel != width
            || !matches!(kernel, 1 | 3)
            || !(depthwise || inputs == from.channels)
            || outputs == 0
        {
            return Err(refused(format!(
                "`{}` has shape {:?} on {} channels",
                named.convolution, weight.shape, from.channels
            )));
        }
        let norms = norms(weights, &named.norm, outputs)?;
        let weight = transposed(&weight.values, outputs, inputs, kernel * kernel);
        let activation = if named.linear { Activation::Linear } else { Activation::Clipped(CEILING) };
        let (stride, padding) = (named.stride, kernel / 2);
        let layer = ImportedConvolution {
            depthwise,
            kernel,
            stride,
            padding,
            weight,
            norms,
            normalized: true,
            activation,
            fixed: false,
        };
        let size = (from.size + 2 * padding).saturating_sub(kernel) / stride + 1;
        self.push(named.name, Work::Convolution(layer), Shape { size, channels: outputs });
        Ok(())
    }

    fn classifier(&mut self, weights: &TrainedModel, name: &str) -> Result<()> {
        let (weight, bias) =
            (array(weights, &format!("{name}.weight"))?, array(weights, &format!("{name}.bias"))?);
        let features = self.last().channels;
        let classes = bias.values.len();
        if weight.shape != [classes, features] || classes == 0 {
            return Err(refused(format!(
                "`{name}.weight` has shape {:?} on {features} features",
                weight.shape
            )));
        }
        let layer = ImportedConvolution {
            depthwise: false,
            kernel: 1,
            stride: 1,
            padding: 0,
            weight: transposed(&weight.values, classes, features, 1),
            norms: bias.values.iter().map(|&bias| Norm::only_shift(bias)).collect(),
            normalized: false,
            activation: Activation::Linear,
            fixed: false,
        };
        self.push("classifier".into(), Work::Convolution(layer), Shape { size: 1, channels: classes });
        Ok(())
    }
}

/// Stage, position and stride of every block.
fn places() -> impl Iterator<Item = (usize, usize, usize)> {
    STAGES.iter().enumerate().flat_map(|(stage, &(blocks, stride))| {
        (0..blocks).map(move |position| (stage, position, if position == 0 { stride } else { 1 }))
    })
}

fn ends(numbered: bool, first: bool) -> Named {
    let (convolution, norm) = match (numbered, first) {
        (true, true) => ("features.0.0", "features.0.1"),
        (true, false) => ("features.18.0", "features.18.1"),
        (false, true) => ("conv_stem", "bn1"),
        (false, false) => ("conv_head", "bn2"),
    };
    let (name, stride) = if first { ("stem", 2) } else { ("head", 1) };
    Named { name: name.into(), convolution: convolution.into(), norm: norm.into(), stride, linear: false }
}

/// The layers of a block; the first block does not expand.
fn block(numbered: bool, number: usize, stage: usize, position: usize, stride: usize) -> Vec<Named> {
    let parts: &[(&str, &str, &str)] = match (numbered, number == 0) {
        (true, true) => &[("depthwise", "conv.0.0", "conv.0.1"), ("project", "conv.1", "conv.2")],
        (true, false) => &[
            ("expand", "conv.0.0", "conv.0.1"),
            ("depthwise", "conv.1.0", "conv.1.1"),
            ("project", "conv.2", "conv.3"),
        ],
        (false, true) => &[("depthwise", "conv_dw", "bn1"), ("project", "conv_pw", "bn2")],
        (false, false) => {
            &[("expand", "conv_pw", "bn1"), ("depthwise", "conv_dw", "bn2"), ("project", "conv_pwl", "bn3")]
        }
    };
    let folder =
        if numbered { format!("features.{}", number + 1) } else { format!("blocks.{stage}.{position}") };
    let named = |&(part, convolution, norm): &(&str, &str, &str)| Named {
        name: format!("block{number}.{part}"),
        convolution: format!("{folder}.{convolution}"),
        norm: format!("{folder}.{norm}"),
        stride: if part == "depthwise" { stride } else { 1 },
        linear: part == "project",
    };
    parts.iter().map(named).collect()
}

fn refused(what: impl Into<String>) -> ExportError {
    ExportError::Weights { architecture: ARCHITECTURE, what: what.into() }
}

fn array<'a>(weights: &'a TrainedModel, key: &str) -> Result<&'a NamedArray> {
    weights.get(key).ok_or_else(|| refused(format!("`{key}` is missing")))
}

fn norms(weights: &TrainedModel, name: &str, channels: usize) -> Result<Vec<Norm>> {
    let field = |field: &str| -> Result<&[f32]> {
        let key = format!("{name}.{field}");
        let values = &array(weights, &key)?.values;
        let usable = values.len() == channels && values.iter().all(|value| value.is_finite());
        if usable { Ok(values) } else { Err(refused(format!("`{key}` is not {channels} finite numbers"))) }
    };
    let (gamma, beta) = (field("weight")?, field("bias")?);
    let (mean, variance) = (field("running_mean")?, field("running_var")?);
    let norm = |channel: usize| Norm {
        gamma: gamma[channel],
        beta: beta[channel],
        mean: mean[channel],
        variance: variance[channel].max(0.0),
    };
    Ok((0..channels).map(norm).collect())
}

/// `[taps · in, out]` of `[out, in, taps]`.
fn transposed(values: &[f32], outputs: usize, inputs: usize, taps: usize) -> Vec<f32> {
    let at = |tap: usize, input: usize, output: usize| values[(output * inputs + input) * taps + tap];
    let row =
        |tap: usize| (0..inputs).flat_map(move |input| (0..outputs).map(move |output| (tap, input, output)));
    (0..taps).flat_map(row).map(|(tap, input, output)| at(tap, input, output)).collect()
}
