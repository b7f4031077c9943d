//! # An imported network at any widths: the integer graph
//!
//! The quantization points are those of a trained Sartor network:
//! - a value that one layer reads behind a ReLU is stored at that layer's width, unsigned;
//! - what can be negative, is added, or has several readers is a *stream*: 8 bits in a signed container (from 0 on behind
//!   a ReLU, which costs it one bit), and each layer that reads it has a quantizer of its own on top;
//! - a max pool keeps its input's integers; an average pool is a depthwise convolution with equal 8-bit weights;
//! - pooled features are stored as any other value.
//!
//! [`ImportedNetwork::points`] tells these places to whoever simulates them.

use sartor_space::{LayerKind, Workload};

use super::{Activation, ImportedConvolution, ImportedNetwork, ValueId, Work};
use crate::error::{ExportError, Result};
use crate::fold::{fold, weight_levels};
use crate::graph::{
    Classifier, Convolution, Operation, QuantizedNetwork, Quantizer, Tensor, TensorId, Weights,
};
use crate::requantize::GAIN;

/// Width of streams and of what pools read.
const STREAM_BITS: u8 = 8;
/// Smallest activation range.
const MINIMUM_RANGE: f32 = 1e-4;

/// Why a range is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PointKind {
    /// `[0, range]`.
    Unsigned,
    /// `[-range, range]`.
    Signed,
    /// `[0, range]` in the positive half of a signed container.
    Positive,
}

/// A place that needs a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RangePoint {
    /// The value.
    pub value: ValueId,
    /// Width.
    pub bits: u8,
    /// What its integers cover.
    pub kind: PointKind,
}

impl RangePoint {
    /// Steps above 0.
    pub fn levels(&self) -> i32 {
        match self.kind {
            PointKind::Unsigned => (1 << self.bits) - 1,
            PointKind::Signed | PointKind::Positive => (1 << (self.bits - 1)) - 1,
        }
    }

    /// Whether layers that read it have quantizers of their own.
    fn streamed(&self) -> bool {
        self.kind != PointKind::Unsigned
    }
}

/// Where a step is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepPoints {
    /// What it reads, in a quantizer of its own on top of how the value is stored.
    pub loaded: Option<RangePoint>,
    /// What it writes; none for max pools, which keep their input's, and for the classifier.
    pub stored: Option<RangePoint>,
}

impl ImportedNetwork {
    /// Where every step is quantized at the widths of `workload`.
    ///
    /// # Errors
    /// Widths that no integer kernel computes.
    pub fn points(&self, workload: &Workload) -> Result<Vec<StepPoints>> {
        Ok(self.points_at(&self.layer_bits(workload)?))
    }

    fn points_at(&self, layers: &[Option<LayerBits>]) -> Vec<StepPoints> {
        let mut points: Vec<StepPoints> = Vec::with_capacity(self.steps.len());
        for (index, step) in self.steps.iter().enumerate() {
            let root = self.root(step.input).checked_sub(1);
            let streamed = root.and_then(|root| points[root].stored).is_some_and(|point| point.streamed());
            let loaded = layers[index].filter(|_| streamed).map(|layer| {
                let kind = if self.signed(step.input) { PointKind::Signed } else { PointKind::Unsigned };
                RangePoint { value: step.input, bits: layer.activations, kind }
            });
            let silent = matches!(step.work, Work::MaxPool { .. }) || index + 1 == self.steps.len();
            let stored = (!silent).then(|| self.stored_point(index + 1, layers));
            points.push(StepPoints { loaded, stored });
        }
        points
    }

    /// How a value is stored: at the width of what reads it, or as a stream.
    fn stored_point(&self, value: ValueId, layers: &[Option<LayerBits>]) -> RangePoint {
        let bits = |reader: usize| match self.steps[reader].work {
            Work::Add { .. } => None,
            _ => Some(layers[reader].map_or(STREAM_BITS, |layer| layer.activations)),
        };
        let readers: Option<Vec<u8>> = self.readers(value).into_iter().map(bits).collect();
        let added = matches!(self.steps[value - 1].work, Work::Add { .. });
        match readers.as_deref() {
            Some([own @ .., last]) if !added && !self.signed(value) && own.iter().all(|own| own == last) => {
                RangePoint { value, bits: *last, kind: PointKind::Unsigned }
            }
            _ if self.signed(value) => RangePoint { value, bits: STREAM_BITS, kind: PointKind::Signed },
            _ => RangePoint { value, bits: STREAM_BITS, kind: PointKind::Positive },
        }
    }

    /// The integer graph at the widths of `workload` (from [`workload`](Self::workload), with other bits), with a
    /// threshold per output channel of every layer; `range` gives a range for every point.
    ///
    /// # Errors
    /// Widths that no integer kernel computes, sums that overflow, padding that a max pool cannot have.
    pub fn quantize(
        &self,
        workload: &Workload,
        thresholds: &[Vec<f32>],
        range: &mut dyn FnMut(RangePoint) -> f32,
    ) -> Result<QuantizedNetwork> {
        let layers = self.layer_bits(workload)?;
        let points = self.points_at(&layers);
        let image = Tensor {
            name: "image".into(),
            size: self.image().size,
            channels: self.image().channels,
            quantizer: Quantizer::image(self.zero_point, self.scale),
        };
        let mut builder = Builder {
            network: self,
            layers,
            points,
            thresholds,
            range,
            tensors: vec![image],
            stored: vec![0],
            operations: vec![],
        };
        for index in 0..self.steps.len() - 1 {
            let tensor = builder.step(index)?;
            builder.stored.push(tensor);
        }
        builder.finish()
    }

    /// Number of the layer and its widths, by step.
    fn layer_bits(&self, workload: &Workload) -> Result<Vec<Option<LayerBits>>> {
        let mut layers = workload.layers.iter().enumerate();
        let of = |step: &super::Step| -> Result<Option<LayerBits>> {
            if step.work.convolution().is_none_or(|convolution| convolution.fixed) {
                return Ok(None);
            }
            let Some((number, layer)) = layers.next() else {
                return Err(ExportError::MissingArray { layer: step.name.clone(), key: step.name.clone() });
            };
            for (field, got) in
                [("weight_bits", layer.weight_bits), ("activation_bits", layer.activation_bits)]
            {
                if !(2..=8).contains(&got) {
                    return Err(ExportError::Bits {
                        layer: step.name.clone(),
                        field,
                        got,
                        expected: "2 to 8",
                    });
                }
            }
            Ok(Some(LayerBits { number, weights: layer.weight_bits, activations: layer.activation_bits }))
        };
        self.steps.iter().map(of).collect()
    }
}

#[derive(Debug, Clone, Copy)]
struct LayerBits {
    number: usize,
    weights: u8,
    activations: u8,
}

struct Builder<'a> {
    network: &'a ImportedNetwork,
    /// By step.
    layers: Vec<Option<LayerBits>>,
    /// By step.
    points: Vec<StepPoints>,
    /// By layer.
    thresholds: &'a [Vec<f32>],
    range: &'a mut dyn FnMut(RangePoint) -> f32,
    tensors: Vec<Tensor>,
    /// By value.
    stored: Vec<TensorId>,
    operations: Vec<Operation>,
}

impl Builder<'_> {
    /// Adds the operations of a step; gives the tensor it writes.
    fn step(&mut self, index: usize) -> Result<TensorId> {
        let step = &self.network.steps[index];
        let (name, value, source) = (step.name.clone(), index + 1, self.stored[step.input]);
        match &step.work {
            Work::Convolution(convolution) => {
                let input = self.load(index);
                let weights = self.weights(index, convolution, input)?;
                let quantizer = self.stored_quantizer(index)?;
                let output = self.tensor(name.clone(), value, quantizer);
                self.operations.push(Operation::Convolution(geometry(
                    name,
                    convolution,
                    weights,
                    input,
                    output,
                )));
                Ok(output)
            }
            Work::Add { other, .. } => {
                let right = self.stored[*other];
                let quantizer = self.stored_quantizer(index)?;
                let output = self.tensor(format!("{name}/sum"), value, quantizer);
                self.operations.push(Operation::Add { name, left: source, right, output });
                Ok(output)
            }
            &Work::MaxPool { kernel, stride, padding, padding_after } => {
                if padding + padding_after > 0 && self.network.signed(step.input) {
                    let what = "padding around what can be negative".to_string();
                    return Err(ExportError::Unsupported { node: name, operator: "MaxPool".into(), what });
                }
                let quantizer = self.tensors[source].quantizer;
                let output = self.tensor(name.clone(), value, quantizer);
                self.operations.push(Operation::MaxPool {
                    name,
                    kernel,
                    stride,
                    padding,
                    padding_after,
                    input: source,
                    output,
                });
                Ok(output)
            }
            Work::GlobalPool => {
                let quantizer = self.stored_quantizer(index)?;
                let output = self.tensor(name.clone(), value, quantizer);
                self.operations.push(Operation::Pool { name, input: source, output });
                Ok(output)
            }
        }
    }

    /// What a layer reads, in a quantizer of its own if it reads a stream.
    fn load(&mut self, index: usize) -> TensorId {
        let step = &self.network.steps[index];
        let input = self.stored[step.input];
        let Some(point) = self.points[index].loaded else { return input };
        let (name, quantizer) = (step.name.clone(), self.quantizer(point));
        let output = self.tensor(format!("{name}/input"), step.input, quantizer);
        self.operations.push(Operation::Requantize { name, input, output });
        output
    }

    /// How the value of a step is stored, cut at its ceiling.
    fn stored_quantizer(&mut self, index: usize) -> Result<Quantizer> {
        let step = &self.network.steps[index];
        let Some(point) = self.points[index].stored else {
            return Err(ExportError::Graph { what: format!("nothing to store of `{}`", step.name) });
        };
        let full = self.quantizer(point);
        Ok(match step.work.activation() {
            Activation::Clipped(ceiling) => full.below(ceiling),
            _ => full,
        })
    }

    fn quantizer(&mut self, point: RangePoint) -> Quantizer {
        let range = (self.range)(point).max(MINIMUM_RANGE);
        match point.kind {
            PointKind::Unsigned => Quantizer::unsigned(point.bits, range),
            PointKind::Signed => Quantizer::signed(point.bits, range),
            PointKind::Positive => Quantizer { low: 0, ..Quantizer::signed(point.bits, range) },
        }
    }

    fn weights(&self, index: usize, convolution: &ImportedConvolution, input: TensorId) -> Result<Weights> {
        let quantizer = self.tensors[input].quantizer;
        let magnitude = (quantizer.high - quantizer.zero_point).max(quantizer.zero_point - quantizer.low);
        let name = &self.network.steps[index].name;
        let affine = |channel: usize| convolution.norms[channel].factor_and_shift();
        let constant;
        let (thresholds, bits) = match self.layers[index] {
            Some(layer) => (self.thresholds.get(layer.number), layer.weights),
            None => {
                constant = equal_thresholds(convolution);
                (Some(&constant), STREAM_BITS)
            }
        };
        let thresholds = thresholds.filter(|thresholds| thresholds.len() == convolution.channels());
        let thresholds = thresholds.ok_or_else(|| ExportError::MissingArray {
            layer: name.clone(),
            key: format!("{name}.weight_threshold"),
        })?;
        fold(name, (&convolution.weight, thresholds, bits), affine, (quantizer.scale, magnitude))
    }

    fn finish(mut self) -> Result<QuantizedNetwork> {
        let index = self.network.steps.len() - 1;
        let input = self.load(index);
        let step = &self.network.steps[index];
        let Work::Convolution(convolution) = &step.work else {
            return Err(ExportError::Graph { what: "no classifier at its end".into() });
        };
        let weights = self.weights(index, convolution, input)?;
        let classifier = Classifier { name: step.name.clone(), weights, input };
        Ok(QuantizedNetwork { tensors: self.tensors, operations: self.operations, classifier })
    }

    fn tensor(&mut self, name: String, shape_of: ValueId, quantizer: Quantizer) -> TensorId {
        let shape = self.network.shapes[shape_of];
        self.tensors.push(Tensor { name, size: shape.size, channels: shape.channels, quantizer });
        self.tensors.len() - 1
    }
}

/// Thresholds that make equal weights [`GAIN`] steps.
fn equal_thresholds(convolution: &ImportedConvolution) -> Vec<f32> {
    let levels = weight_levels(STREAM_BITS) as f32;
    vec![convolution.weight[0] * levels / f32::from(GAIN); convolution.channels()]
}

fn geometry(
    name: String,
    convolution: &ImportedConvolution,
    weights: Weights,
    input: TensorId,
    output: TensorId,
) -> Convolution {
    let ImportedConvolution { kernel, stride, padding, depthwise, .. } = *convolution;
    let kind = match (depthwise, kernel) {
        (true, _) => LayerKind::Depthwise,
        (false, 1) => LayerKind::Pointwise,
        (false, _) => LayerKind::Dense,
    };
    Convolution { name, kind, kernel, stride, padding, weights, input, output }
}
