//! Attributes, constants and readers of an ONNX graph, each checked when it is asked for.

use std::borrow::Cow;
use std::collections::HashMap;

use super::numbers::reals;
use crate::error::{ExportError, Result};
use crate::onnx::message::{Attribute, DataType, Extent, Graph, Node, TensorData, ValueInfo};

/// What a refused node is called.
pub(super) fn unsupported(node: &Node, what: impl Into<String>) -> ExportError {
    ExportError::Unsupported { node: name(node), operator: operator(node).to_string(), what: what.into() }
}

/// What is wrong with the file as a whole.
pub(super) fn malformed(what: impl Into<String>) -> ExportError {
    ExportError::Graph { what: what.into() }
}

/// A node's name; its output's, where it has none.
pub(super) fn name(node: &Node) -> String {
    let own = node.name.as_deref().filter(|name| !name.is_empty());
    own.or(node.output.first().map(String::as_str)).unwrap_or("(unnamed)").to_string()
}

pub(super) fn operator(node: &Node) -> &str {
    node.op_type.as_deref().unwrap_or("")
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

pub(super) fn integer(node: &Node, name: &str, default: i64) -> i64 {
    attribute(node, name).and_then(|attribute| attribute.integer).unwrap_or(default)
}

pub(super) fn integers<'a>(node: &'a Node, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|attribute| &attribute.integers[..]).filter(|values| !values.is_empty())
}

pub(super) fn float(node: &Node, name: &str) -> Option<f32> {
    attribute(node, name).and_then(|attribute| attribute.float)
}

pub(super) fn text<'a>(node: &'a Node, name: &str) -> Option<&'a [u8]> {
    attribute(node, name).and_then(|attribute| attribute.text.as_deref())
}

/// All numbers of a square setting, or the default; anything else is refused.
pub(super) fn square(node: &Node, name: &str, default: usize) -> Result<usize> {
    let Some(values) = integers(node, name) else { return Ok(default) };
    let usable = values.iter().all(|&value| value == values[0] && (0..=1024).contains(&value));
    if usable { Ok(values[0] as usize) } else { Err(unsupported(node, format!("`{name}` {values:?}"))) }
}

/// What a Constant node holds: a tensor, or numbers among its settings.
fn constant(node: &Node) -> Option<Cow<'_, TensorData>> {
    if let Some(value) = attribute(node, "value") {
        return value.tensor.as_ref().map(Cow::Borrowed);
    }
    let floats = |dims: Vec<i64>, float_data: Vec<f32>| {
        let data_type = Some(DataType::Float as i32);
        TensorData { dims, data_type, float_data, ..Default::default() }
    };
    let integers = |dims: Vec<i64>, int64_data: Vec<i64>| {
        let data_type = Some(DataType::Int64 as i32);
        TensorData { dims, data_type, int64_data, ..Default::default() }
    };
    let made = node.attribute.iter().find_map(|setting| match setting.name.as_deref()? {
        "value_float" => Some(floats(vec![], vec![setting.float?])),
        "value_floats" => Some(floats(vec![setting.floats.len() as i64], setting.floats.clone())),
        "value_int" => Some(integers(vec![], vec![setting.integer?])),
        "value_ints" => Some(integers(vec![setting.integers.len() as i64], setting.integers.clone())),
        _ => None,
    });
    made.map(Cow::Owned)
}

/// Names and what they stand for.
pub(super) struct Names<'a> {
    constants: HashMap<&'a str, Cow<'a, TensorData>>,
    uses: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    pub fn of(graph: &'a Graph) -> Self {
        let named = |data: &'a TensorData| data.name.as_deref().map(|name| (name, Cow::Borrowed(data)));
        let mut constants: HashMap<&str, Cow<'_, TensorData>> =
            graph.initializer.iter().filter_map(named).collect();
        let nodes = graph.node.iter().filter(|node| operator(node) == "Constant");
        constants.extend(nodes.filter_map(|node| Some((node.output.first()?.as_str(), constant(node)?))));
        let mut uses = HashMap::new();
        for input in graph.node.iter().flat_map(|node| &node.input) {
            *uses.entry(input.as_str()).or_insert(0) += 1;
        }
        for output in graph.output.iter().filter_map(|output| output.name.as_deref()) {
            *uses.entry(output).or_insert(0) += 1;
        }
        Self { constants, uses }
    }

    /// How many nodes and outputs read a value.
    pub fn uses(&self, name: &str) -> usize {
        self.uses.get(name).copied().unwrap_or(0)
    }

    pub fn is_constant(&self, name: &str) -> bool {
        self.constants.contains_key(name)
    }

    /// Extents and numbers of the node's input at a place; `None` where it has none.
    pub fn floats(&self, node: &Node, place: usize) -> Result<Option<(Vec<usize>, Vec<f32>)>> {
        let Some(name) = node.input.get(place).filter(|name| !name.is_empty()) else { return Ok(None) };
        let Some(data) = self.constants.get(name.as_str()) else {
            return Err(unsupported(node, format!("input `{name}`, which is not a constant")));
        };
        read_floats(node, name, data).map(Some)
    }

    /// As [`floats`](Self::floats), but it must be there.
    pub fn wanted(&self, node: &Node, place: usize) -> Result<(Vec<usize>, Vec<f32>)> {
        self.floats(node, place)?.ok_or_else(|| unsupported(node, format!("no input {place}")))
    }

    /// One number.
    pub fn scalar(&self, node: &Node, place: usize) -> Result<Option<f32>> {
        match self.floats(node, place)? {
            None => Ok(None),
            Some((_, values)) if values.len() == 1 => Ok(Some(values[0])),
            Some((shape, _)) => {
                Err(unsupported(node, format!("a constant of shape {shape:?} for one number")))
            }
        }
    }

    /// Whole numbers, such as axes.
    pub fn integers(&self, node: &Node, place: usize) -> Option<Vec<i64>> {
        let data = self.constants.get(node.input.get(place)?.as_str())?;
        if data.data_type != Some(DataType::Int64 as i32) {
            return None;
        }
        let raw = data.raw_data.as_deref().filter(|raw| !raw.is_empty());
        let whole = |bytes: &[u8; 8]| i64::from_le_bytes(*bytes);
        Some(raw.map_or(data.int64_data.clone(), |raw| raw.as_chunks().0.iter().map(whole).collect()))
    }
}

fn read_floats(node: &Node, name: &str, data: &TensorData) -> Result<(Vec<usize>, Vec<f32>)> {
    let refuse = |what: String| Err(unsupported(node, format!("constant `{name}` {what}")));
    if !data.external_data.is_empty() {
        return refuse("in a file of its own; save the model with its weights inside".into());
    }
    let Some(values) = reals(data) else {
        return refuse(format!("of element type {}, expected a float type", data.data_type.unwrap_or(0)));
    };
    let shape: Option<Vec<usize>> = data.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let count = shape.as_ref().and_then(|shape| shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)));
    match (shape, count) {
        (Some(shape), Some(count)) if count == values.len() => {
            match values.iter().position(|v| !v.is_finite()) {
                None => Ok((shape, values)),
                Some(index) => refuse(format!("with {} at {index}", values[index])),
            }
        }
        _ => refuse(format!("with {} numbers for the shape {:?}", values.len(), data.dims)),
    }
}

/// Extents of an input; `None` where they are symbolic.
pub(super) fn extents(info: &ValueInfo) -> Vec<Option<usize>> {
    let shape = info.kind.as_ref().and_then(|kind| kind.tensor.as_ref()?.shape.as_ref());
    let extent = |value: &Option<Extent>| match value {
        Some(Extent::Fixed(extent)) => usize::try_from(*extent).ok().filter(|&extent| extent > 0),
        _ => None,
    };
    shape.map_or(vec![], |shape| shape.dim.iter().map(|dim| extent(&dim.value)).collect())
}
