//! # TFLite files
//!
//! The part of TensorFlow Lite's flatbuffer schema (`schema.fbs`, TensorFlow, Apache-2.0) that the writer needs,
//! declared by hand: field and enumeration numbers are the schema's, in the order of the schema.

use flatbuffers::{FlatBufferBuilder, Push, TableFinishedWIPOffset, VOffsetT, WIPOffset};

/// Version of the schema.
const SCHEMA_VERSION: u32 = 3;
/// What the file says it is.
const IDENTIFIER: &str = "TFL3";
/// Constants lie at multiples of this (`force_align`).
const ALIGNMENT: usize = 16;

/// Position in [`Model::values`].
pub type ValueId = usize;

/// Element types (`TensorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Element {
    Int32 = 2,
    Uint8 = 3,
    Int8 = 9,
    Int4 = 17,
}

/// Operators (`BuiltinOperator`) with the versions that take these types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    Add,
    Convolution,
    /// With int4 weights.
    NarrowConvolution,
    Depthwise,
    /// With int4 weights.
    NarrowDepthwise,
    Reshape,
    MaxPool,
    Pad,
    Quantize,
}

impl Builtin {
    fn code(self) -> (i32, i32) {
        match self {
            Self::Add => (0, 2),
            Self::Convolution => (3, 3),
            Self::NarrowConvolution => (3, 5),
            Self::Depthwise => (4, 3),
            Self::NarrowDepthwise => (4, 6),
            Self::MaxPool => (17, 2),
            Self::Reshape => (22, 1),
            Self::Pad => (34, 2),
            Self::Quantize => (114, 2),
        }
    }
}

/// Where a border comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Padding {
    Same = 0,
    Valid = 1,
}

/// Fused activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Activation {
    None = 0,
    Relu = 1,
}

/// Settings of a node (`BuiltinOptions`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeOptions {
    Convolution { padding: Padding, stride: usize, activation: Activation },
    Depthwise { padding: Padding, stride: usize, activation: Activation },
    Add(Activation),
    MaxPool { padding: Padding, stride: usize, kernel: usize },
    Reshape(Vec<i32>),
    Pad,
    Quantize,
}

impl NodeOptions {
    fn kind(&self) -> u8 {
        match self {
            Self::Convolution { .. } => 1,
            Self::Depthwise { .. } => 2,
            Self::Add(_) => 11,
            Self::MaxPool { .. } => 5,
            Self::Reshape(_) => 17,
            Self::Pad => 22,
            Self::Quantize => 89,
        }
    }
}

/// `QuantizationParameters`.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub scales: Vec<f32>,
    pub zeros: Vec<i64>,
    pub dimension: i32,
}

/// `Tensor`, with its data if it is constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub name: String,
    pub shape: Vec<i32>,
    pub element: Element,
    pub data: Option<Vec<u8>>,
    pub stored: Option<Stored>,
}

impl Value {
    pub fn constant(
        name: String,
        shape: &[usize],
        element: Element,
        data: Vec<u8>,
        stored: Option<Stored>,
    ) -> Self {
        Self { name, shape: extents(shape), element, data: Some(data), stored }
    }

    pub fn variable(name: String, shape: &[usize], element: Element, stored: Stored) -> Self {
        Self { name, shape: extents(shape), element, data: None, stored: Some(stored) }
    }
}

fn extents(shape: &[usize]) -> Vec<i32> {
    shape.iter().map(|&extent| extent as i32).collect()
}

/// `Operator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub builtin: Builtin,
    pub inputs: Vec<ValueId>,
    pub output: ValueId,
    pub options: NodeOptions,
}

/// A model with one graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub values: Vec<Value>,
    pub nodes: Vec<Node>,
    pub input: ValueId,
    pub output: ValueId,
    pub description: String,
}

impl Model {
    pub fn value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        self.values.len() - 1
    }

    pub fn constant_int32(&mut self, name: String, shape: &[usize], values: &[i32]) -> ValueId {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.value(Value::constant(name, shape, Element::Int32, data, None))
    }

    /// The file. It grows backwards, so whether constants are aligned shows only when its length is known: a few
    /// bytes at its end make that a multiple of the alignment.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tries = (0..ALIGNMENT).step_by(4).map(|tail| self.with_tail(tail));
        let mut first = None;
        for bytes in tries {
            if bytes.len().is_multiple_of(ALIGNMENT) {
                return bytes;
            }
            first.get_or_insert(bytes);
        }
        first.unwrap_or_default()
    }

    fn with_tail(&self, tail: usize) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        fill(&mut builder, tail);
        let root = model(&mut builder, self);
        builder.finish(root, Some(IDENTIFIER));
        builder.finished_data().to_vec()
    }
}

fn fill(builder: &mut FlatBufferBuilder<'_>, count: usize) {
    for _ in 0..count {
        builder.push(0u8);
    }
}

type Builder<'a> = FlatBufferBuilder<'a>;
type Offset = WIPOffset<TableFinishedWIPOffset>;

/// A table under construction: fields by their number in the schema.
struct Table<'a, 'b> {
    builder: &'b mut Builder<'a>,
    start: WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
}

impl<'a, 'b> Table<'a, 'b> {
    fn new(builder: &'b mut Builder<'a>) -> Self {
        let start = builder.start_table();
        Self { builder, start }
    }

    fn field<T: Push>(self, number: VOffsetT, value: T) -> Self {
        self.builder.push_slot_always(4 + 2 * number, value);
        self
    }

    fn maybe<T: Push>(self, number: VOffsetT, value: Option<T>) -> Self {
        match value {
            Some(value) => self.field(number, value),
            None => self,
        }
    }

    fn end(self) -> Offset {
        self.builder.end_table(self.start)
    }
}

fn model(builder: &mut Builder<'_>, model: &Model) -> Offset {
    let buffers = buffers(builder, model);
    let codes = codes(model);
    let graph = graph(builder, model, &codes);
    let codes: Vec<Offset> = codes.iter().map(|&code| operator_code(builder, code)).collect();
    let (codes, graphs) = (builder.create_vector(&codes), builder.create_vector(&[graph]));
    let (description, buffers) = (builder.create_string(&model.description), builder.create_vector(&buffers));
    let table = Table::new(builder).field(0, SCHEMA_VERSION).field(1, codes).field(2, graphs);
    table.field(3, description).field(4, buffers).end()
}

/// Operators in use, in order of first use.
fn codes(model: &Model) -> Vec<Builtin> {
    let mut codes = Vec::new();
    for node in &model.nodes {
        if !codes.contains(&node.builtin) {
            codes.push(node.builtin);
        }
    }
    codes
}

fn operator_code(builder: &mut Builder<'_>, builtin: Builtin) -> Offset {
    let (code, version) = builtin.code();
    Table::new(builder).field(0, code as i8).field(2, version).field(3, code).end()
}

/// Buffer 0 is empty, as the schema asks; then one per constant.
fn buffers(builder: &mut Builder<'_>, model: &Model) -> Vec<Offset> {
    let mut buffers = vec![Table::new(builder).end()];
    for data in model.values.iter().filter_map(|value| value.data.as_ref()) {
        let used = builder.unfinished_data().len() + data.len();
        fill(builder, used.next_multiple_of(ALIGNMENT) - used);
        let data = builder.create_vector(data);
        buffers.push(Table::new(builder).field(0, data).end());
    }
    buffers
}

fn graph(builder: &mut Builder<'_>, model: &Model, codes: &[Builtin]) -> Offset {
    let mut next = 0;
    let mut tensors = Vec::new();
    for value in &model.values {
        let buffer = value.data.as_ref().map_or(0, |_| {
            next += 1;
            next
        });
        tensors.push(tensor(builder, value, buffer));
    }
    let nodes: Vec<Offset> = model.nodes.iter().map(|node| operator(builder, node, codes)).collect();
    let (tensors, nodes) = (builder.create_vector(&tensors), builder.create_vector(&nodes));
    let inputs = builder.create_vector(&[model.input as i32]);
    let outputs = builder.create_vector(&[model.output as i32]);
    let name = builder.create_string("network");
    let table = Table::new(builder).field(0, tensors).field(1, inputs).field(2, outputs);
    table.field(3, nodes).field(4, name).end()
}

fn tensor(builder: &mut Builder<'_>, value: &Value, buffer: u32) -> Offset {
    let stored = value.stored.as_ref().map(|stored| {
        let (scales, zeros) = (builder.create_vector(&stored.scales), builder.create_vector(&stored.zeros));
        Table::new(builder).field(2, scales).field(3, zeros).field(6, stored.dimension).end()
    });
    let (name, shape) = (builder.create_string(&value.name), builder.create_vector(&value.shape));
    let table = Table::new(builder).field(0, shape).field(1, value.element as i8).field(2, buffer);
    table.field(3, name).maybe(4, stored).end()
}

fn operator(builder: &mut Builder<'_>, node: &Node, codes: &[Builtin]) -> Offset {
    let code = codes.iter().position(|&code| code == node.builtin).unwrap_or_default();
    let inputs: Vec<i32> = node.inputs.iter().map(|&input| input as i32).collect();
    let inputs = builder.create_vector(&inputs);
    let outputs = builder.create_vector(&[node.output as i32]);
    let options = options(builder, &node.options);
    let table = Table::new(builder).field(0, code as u32).field(1, inputs).field(2, outputs);
    table.field(3, node.options.kind()).field(4, options).end()
}

fn options(builder: &mut Builder<'_>, options: &NodeOptions) -> Offset {
    match options {
        NodeOptions::Convolution { padding, stride, activation } => {
            let stride = *stride as i32;
            let table = Table::new(builder).field(0, *padding as i8).field(1, stride).field(2, stride);
            table.field(3, *activation as i8).field(4, 1i32).field(5, 1i32).end()
        }
        NodeOptions::Depthwise { padding, stride, activation } => {
            let stride = *stride as i32;
            let table = Table::new(builder).field(0, *padding as i8).field(1, stride).field(2, stride);
            table.field(3, 1i32).field(4, *activation as i8).field(5, 1i32).field(6, 1i32).end()
        }
        NodeOptions::Reshape(shape) => {
            let shape = builder.create_vector(shape);
            Table::new(builder).field(0, shape).end()
        }
        NodeOptions::Add(activation) => Table::new(builder).field(0, *activation as i8).end(),
        NodeOptions::MaxPool { padding, stride, kernel } => {
            let (stride, kernel) = (*stride as i32, *kernel as i32);
            let table = Table::new(builder).field(0, *padding as i8).field(1, stride).field(2, stride);
            table.field(3, kernel).field(4, kernel).field(5, Activation::None as i8).end()
        }
        NodeOptions::Pad | NodeOptions::Quantize => Table::new(builder).end(),
    }
}
