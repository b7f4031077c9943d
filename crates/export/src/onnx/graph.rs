//! Small builders of ONNX nodes, constants and values.

use super::message::{Attribute, DataType, Dimension, Extent, Graph, Node, Shape, TensorData, TensorType};
use super::message::{ValueInfo, ValueType};

const ATTRIBUTE_INTEGER: i32 = 2;
const ATTRIBUTE_INTEGERS: i32 = 7;

/// An integer setting.
pub(super) fn integer(name: &str, value: i64) -> Attribute {
    let kind = Some(ATTRIBUTE_INTEGER);
    Attribute { name: Some(name.into()), integer: Some(value), kind, ..Default::default() }
}

/// A setting with several integers.
pub(super) fn integers(name: &str, values: &[usize]) -> Attribute {
    let values = values.iter().map(|&value| value as i64).collect();
    Attribute {
        name: Some(name.into()),
        integers: values,
        kind: Some(ATTRIBUTE_INTEGERS),
        ..Default::default()
    }
}

/// An input or output.
pub(super) fn value(name: &str, element: DataType, shape: Vec<Extent>) -> ValueInfo {
    let dim = shape.into_iter().map(|extent| Dimension { value: Some(extent) }).collect();
    let tensor = TensorType { element: Some(element as i32), shape: Some(Shape { dim }) };
    ValueInfo { name: Some(name.into()), kind: Some(ValueType { tensor: Some(tensor) }) }
}

/// A fixed extent.
pub(super) fn fixed(extent: usize) -> Extent {
    Extent::Fixed(extent as i64)
}

/// Adds nodes and constants to a graph under construction.
#[derive(Default)]
pub(super) struct GraphBuilder {
    pub(super) graph: Graph,
}

impl GraphBuilder {
    /// A node with one output, which is named as the node; gives that name back.
    pub(super) fn node(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.to_string()],
            name: Some(name.to_string()),
            op_type: Some(operator.to_string()),
            attribute: attributes,
            domain: None,
        });
        name.to_string()
    }

    /// A constant; gives its name back.
    pub(super) fn constant(
        &mut self,
        name: String,
        element: DataType,
        dims: &[usize],
        raw: Vec<u8>,
    ) -> String {
        self.graph.initializer.push(TensorData {
            dims: dims.iter().map(|&extent| extent as i64).collect(),
            data_type: Some(element as i32),
            name: Some(name.clone()),
            raw_data: Some(raw),
            ..Default::default()
        });
        name
    }

    /// Float constants.
    pub(super) fn floats(&mut self, name: String, dims: &[usize], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, dims, raw)
    }

    /// int32 constants.
    pub(super) fn int32s(&mut self, name: String, dims: &[usize], values: &[i32]) -> String {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int32, dims, raw)
    }
}
