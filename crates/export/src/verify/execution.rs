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
    let names = network.operations.iter().map(node_name).chain([network.classifier.name.clone()]);
    names.map(|name| execution(name, nodes)).collect()
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
