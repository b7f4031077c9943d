//! # `policy.json`: how every number of the network is stored
//!
//! Enough to rebuild the arithmetic elsewhere: widths, scales, zero points and clipping of every tensor, widths,
//! thresholds and folded scales of every layer's weights. Schema `sartor-policy/1`:
//!
//! ```text
//! schema    "sartor-policy/1"
//! candidate the choice of the search that lowers to these layers; null where there was none
//! tensors   [{name, size, channels, bits, signed, scale, zero_point, low, high, clip: [real, real]}]
//!           real = (integer - zero_point) × scale, low ≤ integer ≤ high; tensor 0 is the image (uint8 pixels)
//! layers    [{name, kind, kernel, stride, padding, input, output, weights}]         in execution order
//!           weights {bits, low, high, thresholds, scales, bias_shift}; one threshold and scale per output channel;
//!           real weight = integer × scales[channel], batch norm is folded in; biases are int32 in steps of
//!           input scale × scales[channel] / 2^bias_shift; input and output are names of tensors (the classifier's output is
//!           "logits": int32 sums in such steps)
//! moves     [{kind: "requantize" | "add" | "max-pool" | "pool", layer, inputs, output}]          in execution order
//! ```

use serde::Serialize;

use crate::fold::weight_levels;
use crate::graph::{Operation, QuantizedNetwork, Quantizer, Tensor, TensorId, Weights};

/// Name and version of the schema.
pub const SCHEMA: &str = "sartor-policy/1";

/// The whole document; serialise it with `serde_json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Policy {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The choice of the search, as its own JSON.
    pub candidate: serde_json::Value,
    /// Every stored activation.
    pub tensors: Vec<TensorPolicy>,
    /// Every layer with weights.
    pub layers: Vec<LayerPolicy>,
    /// What happens between layers.
    pub moves: Vec<Move>,
}

/// How an activation is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorPolicy {
    /// Unique name.
    pub name: String,
    /// Height and width.
    pub size: usize,
    /// Channels.
    pub channels: usize,
    /// Width, scale, zero point, integer range.
    #[serde(flatten)]
    pub quantizer: Quantizer,
    /// Real numbers outside are clipped.
    pub clip: [f32; 2],
}

/// How a layer's weights are stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerPolicy {
    /// The layer.
    pub name: String,
    /// `dense`, `pointwise`, `depthwise` or `linear`.
    pub kind: String,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Padding on every side, with real 0.
    pub padding: usize,
    /// Tensor it reads.
    pub input: String,
    /// Tensor it writes.
    pub output: String,
    /// Its weights.
    pub weights: WeightPolicy,
}

/// Widths and scales of weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightPolicy {
    /// Width.
    pub bits: u8,
    /// Smallest integer.
    pub low: i32,
    /// Largest integer.
    pub high: i32,
    /// Clipping threshold per output channel, before folding.
    pub thresholds: Vec<f32>,
    /// Real value of one step per output channel, after folding.
    pub scales: Vec<f32>,
    /// Sums of products are shifted left by this much before the bias is added.
    pub bias_shift: u32,
}

/// A step without weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    /// `requantize`, `add`, `max-pool` or `pool`.
    pub kind: &'static str,
    /// The layer it belongs to.
    pub layer: String,
    /// Tensors read.
    pub inputs: Vec<String>,
    /// Tensor written.
    pub output: String,
}

impl Policy {
    /// The document of a network that a candidate lowers to.
    pub fn new(network: &QuantizedNetwork, candidate: serde_json::Value) -> Self {
        let layers = network.operations.iter().filter_map(|operation| layer(network, operation));
        Self {
            schema: SCHEMA,
            candidate,
            tensors: network.tensors.iter().map(tensor).collect(),
            layers: layers.chain([classifier(network)]).collect(),
            moves: network.operations.iter().filter_map(|operation| movement(network, operation)).collect(),
        }
    }
}

fn tensor(tensor: &Tensor) -> TensorPolicy {
    let quantizer = tensor.quantizer;
    let clip = [quantizer.low, quantizer.high].map(|integer| quantizer.dequantize(integer));
    TensorPolicy { name: tensor.name.clone(), size: tensor.size, channels: tensor.channels, quantizer, clip }
}

fn name(network: &QuantizedNetwork, tensor: TensorId) -> String {
    network.tensors[tensor].name.clone()
}

fn weights(weights: &Weights) -> WeightPolicy {
    let high = weight_levels(weights.bits);
    let (thresholds, scales) = (weights.thresholds.clone(), weights.scales.clone());
    WeightPolicy { bits: weights.bits, low: -high, high, thresholds, scales, bias_shift: weights.bias_shift }
}

fn layer(network: &QuantizedNetwork, operation: &Operation) -> Option<LayerPolicy> {
    let Operation::Convolution(layer) = operation else { return None };
    Some(LayerPolicy {
        name: layer.name.clone(),
        kind: format!("{:?}", layer.kind).to_lowercase(),
        kernel: layer.kernel,
        stride: layer.stride,
        padding: layer.padding,
        input: name(network, layer.input),
        output: name(network, layer.output),
        weights: weights(&layer.weights),
    })
}

fn classifier(network: &QuantizedNetwork) -> LayerPolicy {
    let layer = &network.classifier;
    LayerPolicy {
        name: layer.name.clone(),
        kind: "linear".into(),
        kernel: 1,
        stride: 1,
        padding: 0,
        input: name(network, layer.input),
        output: crate::onnx::OUTPUT.into(),
        weights: weights(&layer.weights),
    }
}

fn movement(network: &QuantizedNetwork, operation: &Operation) -> Option<Move> {
    let (kind, inputs, output) = match *operation {
        Operation::Convolution(_) => return None,
        Operation::Requantize { input, output, .. } => ("requantize", vec![input], output),
        Operation::Add { left, right, output, .. } => ("add", vec![left, right], output),
        Operation::MaxPool { input, output, .. } => ("max-pool", vec![input], output),
        Operation::Pool { input, output, .. } => ("pool", vec![input], output),
    };
    let inputs = inputs.into_iter().map(|input| name(network, input)).collect();
    Some(Move { kind, layer: operation.name().to_string(), inputs, output: name(network, output) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_document_names_every_width_and_only_known_tensors() {
        let workload = samples::workload(5);
        let network = QuantizedNetwork::build(&samples::model(&workload, 5), &workload).unwrap();
        let policy = Policy::new(&network, serde_json::Value::Null);
        for (layer, expected) in policy.layers.iter().zip(&workload.layers) {
            assert_eq!((&layer.name, layer.weights.bits), (&expected.name, expected.weight_bits));
            let input = policy.tensors.iter().find(|tensor| tensor.name == layer.input).unwrap();
            assert_eq!(input.quantizer.bits, expected.activation_bits, "{}", layer.name);
        }
        assert_eq!(policy.layers.len(), workload.layers.len());
        let known = |name: &String| policy.tensors.iter().any(|tensor| tensor.name == *name);
        assert!(policy.moves.iter().all(|step| step.inputs.iter().all(known) && known(&step.output)));
    }

    #[test]
    fn keys_are_those_of_the_schema() {
        let workload = samples::workload(5);
        let network = QuantizedNetwork::build(&samples::model(&workload, 5), &workload).unwrap();
        let json =
            serde_json::to_value(Policy::new(&network, serde_json::json!({"space": "sample"}))).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["candidate"]["space"], "sample");
        assert_eq!(json["tensors"][0]["zero_point"], 73);
        for key in
            ["name", "size", "channels", "bits", "signed", "scale", "zero_point", "low", "high", "clip"]
        {
            assert!(!json["tensors"][1][key].is_null(), "{key}");
        }
        for key in ["name", "kind", "kernel", "stride", "padding", "input", "output", "weights"] {
            assert!(!json["layers"][0][key].is_null(), "{key}");
        }
    }
}
