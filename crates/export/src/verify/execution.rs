//! # What the runtime really executes
//!
//! ONNX Runtime writes the graph as it optimised it: fused nodes keep the name of the node they stand for, so every
//! layer of the network is found again, with the operator that computes it.

use crate::graph::{Operation, QuantizedNetwork};
use crate::onnx::message::{Model, Node};

/// The kind of arithmetic of an executed node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Integer products and sums.
    Integer,
    /// Integers are turned into floats or back; nothing is multiplied or added.
    Conversion,
    /// Float arithmetic.
    Float,
    /// The node was not found in the optimised graph.
    Unknown,
}

/// What is executed for one layer of the network.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerExecution {
    /// The layer; residual additions and stream conversions are listed as `<layer>/add` and `<layer>/stream`.
    pub layer: String,
    /// The operator that runs.
    pub operator: String,
    /// Its arithmetic.
    pub arithmetic: Arithmetic,
}

/// One entry per operation of the network, in order, the classifier last.
pub fn layers(network: &QuantizedNetwork, optimized: &Model) -> Vec<LayerExecution> {
    let nodes = optimized.graph.as_ref().map_or(&[][..], |graph| &graph.node);
    let of_operation = |operation: &Operation| match operation {
        Operation::Requantize { output, .. } => {
            requantization(node_name(operation), &network.tensors[*output].name, nodes)
        }
        _ => execution(node_name(operation), nodes),
    };
    let classifier = execution(network.classifier.name.clone(), nodes);
    network.operations.iter().map(of_operation).chain([classifier]).collect()
}

/// Where both quantizers have one step the runtime drops the conversion, and only the clamp to the narrower range is
/// left: on integers, under the name of the tensor that it writes.
fn requantization(layer: String, written: &str, nodes: &[Node]) -> LayerExecution {
    let found = execution(layer, nodes);
    let clamp = format!("{written}/integers");
    let clamps = |node: &Node| {
        node.op_type.as_deref() == Some("Clip")
            && node.name.as_deref().is_some_and(|name| stands_for(name, &clamp))
    };
    if found.arithmetic == Arithmetic::Unknown && nodes.iter().any(clamps) {
        return LayerExecution { operator: "Clip".into(), arithmetic: Arithmetic::Integer, ..found };
    }
    found
}

fn node_name(operation: &Operation) -> String {
    match operation {
        Operation::Convolution(layer) => layer.name.clone(),
        Operation::Requantize { name, .. } => format!("{name}/stream"),
        Operation::Add { name, .. } => format!("{name}/add"),
        Operation::MaxPool { name, .. } | Operation::Pool { name, .. } => name.clone(),
    }
}

fn execution(layer: String, nodes: &[Node]) -> LayerExecution {
    let named = |node: &&Node| node.name.as_deref().is_some_and(|name| stands_for(name, &layer));
    let exact = nodes.iter().find(|node| node.name.as_deref() == Some(&layer));
    let operator = exact.or_else(|| nodes.iter().find(named)).and_then(|node| node.op_type.clone());
    let arithmetic = operator.as_deref().map_or(Arithmetic::Unknown, arithmetic);
    LayerExecution { layer, operator: operator.unwrap_or_default(), arithmetic }
}

/// The runtime adds suffixes to names, never prefixes.
fn stands_for(node: &str, layer: &str) -> bool {
    node.strip_prefix(layer).is_some_and(|rest| rest.is_empty() || rest.starts_with("_"))
}

fn arithmetic(operator: &str) -> Arithmetic {
    match operator {
        "QuantizeLinear" | "DequantizeLinear" => Arithmetic::Conversion,
        "MaxPool" | "NhwcMaxPool" => Arithmetic::Integer,
        "QGemm" | "ConvInteger" | "MatMulInteger" => Arithmetic::Integer,
        operator if operator.starts_with("QLinear") => Arithmetic::Integer,
        _ => Arithmetic::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clamp_is_what_is_left_of_a_conversion_between_equal_steps() {
        let node = |operator: &str, name: &str| Node {
            op_type: Some(operator.into()),
            name: Some(name.into()),
            ..Default::default()
        };
        let clamp = node("Clip", "head/input/integers");
        for (nodes, operator, arithmetic) in [
            (vec![clamp.clone()], "Clip", Arithmetic::Integer),
            (vec![clamp, node("QuantizeLinear", "head/stream")], "QuantizeLinear", Arithmetic::Conversion),
            (vec![node("Clip", "other/input/integers")], "", Arithmetic::Unknown),
        ] {
            let found = requantization("head/stream".into(), "head/input", &nodes);
            assert_eq!((found.operator.as_str(), found.arithmetic), (operator, arithmetic));
        }
    }

    #[test]
    fn suffixes_of_the_runtime_do_not_hide_a_layer() {
        for (node, layer, expected) in [
            ("stem", "stem", true),
            ("stem_nhwc", "stem", true),
            ("stem.depthwise", "stem", false),
            ("stem/input", "stem", false),
            ("head", "stem", false),
        ] {
            assert_eq!(stands_for(node, layer), expected, "{node} for {layer}");
        }
    }
}
