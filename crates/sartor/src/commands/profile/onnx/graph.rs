//! Layers as ONNX nodes.

use sartor_export::onnx::message::{
    Attribute, DataType, Dimension, Entry, Extent, Graph, Model, Node, OperatorSet, Shape, TensorData,
    TensorType, ValueInfo, ValueType,
};
use sartor_space::Layer;

const OPSET: i64 = 13;
const IR_VERSION: i64 = 8;
/// Kinds of attributes in the schema.
const INTEGER: i32 = 2;
const INTEGERS: i32 = 7;
/// ReLU6.
const CLIPPED_AT: f32 = 6.0;
/// What stands for 0 in the container of a signed tensor.
const SIGNED_ZERO: u8 = 128;
/// Step of the weights; any will do.
const WEIGHT_STEP: f32 = 0.01;
/// Widest width of a container.
const CONTAINER_BITS: u8 = 8;

/// A tensor of bytes with what they stand for.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The value's name.
    pub name: String,
    step: f32,
    zero: u8,
}

/// A graph under construction.
#[derive(Default)]
pub struct Builder {
    graph: Graph,
}

impl Builder {
    /// Bytes as the image's pixels are.
    pub fn stream(&self, name: String) -> Stored {
        Stored { name, step: CLIPPED_AT / 255.0, zero: 0 }
    }

    /// Loads, convolves and stores at 8 bits.
    pub fn integer_layer(&mut self, layer: &Layer, input: &Stored) -> Stored {
        self.convolution(layer, input, true, CONTAINER_BITS)
    }

    /// Loads, convolves and stores: unsigned at these bits after ReLU6, else signed at 8.
    pub fn convolution(&mut self, layer: &Layer, input: &Stored, relu: bool, bits: u8) -> Stored {
        let name = &layer.name;
        let real = self.load(&format!("{name}/input"), input);
        let weight = self.weights(layer);
        let steps = vec![WEIGHT_STEP * input.step; layer.out_channels];
        let bias =
            self.dequantized(&format!("{name}/bias"), DataType::Int32, &[layer.out_channels], 4, steps);
        let output = self.node(name, "Conv", &[&real, &weight, &bias], convolution_attributes(layer));
        let place = format!("{name}/output");
        if relu {
            self.store_unsigned(&place, &output, bits)
        } else {
            self.store_signed(&place, &output, CONTAINER_BITS)
        }
    }

    /// Convolution, and ReLU6 if asked for, in float.
    pub fn float_layer(&mut self, layer: &Layer, input: &str, relu: bool) -> String {
        let name = &layer.name;
        let dims = weight_dims(layer);
        let fan_in = dims[1..].iter().product::<usize>() as f32;
        let values =
            pattern(name, dims.iter().product(), 127).map(|value| f32::from(value) / 127.0 / fan_in.sqrt());
        let weight = self.floats(&format!("{name}/weight"), &dims, values.collect());
        let bias = self.floats(&format!("{name}/bias"), &[layer.out_channels], vec![0.1; layer.out_channels]);
        let output = self.node(name, "Conv", &[input, &weight, &bias], convolution_attributes(layer));
        if !relu {
            return output;
        }
        let low = self.floats(&format!("{name}/low"), &[], vec![0.0]);
        let high = self.floats(&format!("{name}/high"), &[], vec![CLIPPED_AT]);
        self.node(&format!("{name}/relu"), "Clip", &[&output, &low, &high], vec![])
    }

    fn weights(&mut self, layer: &Layer) -> String {
        let (name, dims) = (format!("{}/weight", layer.name), weight_dims(layer));
        let largest = (1i32 << (layer.weight_bits.clamp(2, CONTAINER_BITS) - 1)) - 1;
        let values: Vec<u8> =
            pattern(&layer.name, dims.iter().product(), largest as i8).map(|value| value as u8).collect();
        self.constant(&name, DataType::Int8, &dims, values);
        let steps = self.floats(&format!("{name}.step"), &[dims[0]], vec![WEIGHT_STEP; dims[0]]);
        let zeros = self.constant(&format!("{name}.zero"), DataType::Int8, &[dims[0]], vec![0; dims[0]]);
        self.node(
            &format!("{name}.real"),
            "DequantizeLinear",
            &[&name, &steps, &zeros],
            vec![integer("axis", 0)],
        )
    }

    /// Zeros of an integer type, dequantized by a step per channel.
    fn dequantized(
        &mut self,
        name: &str,
        element: DataType,
        dims: &[usize],
        bytes: usize,
        steps: Vec<f32>,
    ) -> String {
        let zeros = vec![0; dims[0] * bytes];
        self.constant(name, element, dims, zeros.clone());
        let steps = self.floats(&format!("{name}.step"), dims, steps);
        let zero = self.constant(&format!("{name}.zero"), element, dims, zeros);
        self.node(
            &format!("{name}.real"),
            "DequantizeLinear",
            &[name, &steps, &zero],
            vec![integer("axis", 0)],
        )
    }

    /// Bytes to reals.
    pub fn load(&mut self, name: &str, stored: &Stored) -> String {
        let step = self.floats(&format!("{name}.step"), &[], vec![stored.step]);
        let zero = self.constant(&format!("{name}.zero"), DataType::Uint8, &[], vec![stored.zero]);
        self.node(&format!("{name}.real"), "DequantizeLinear", &[&stored.name, &step, &zero], vec![])
    }

    /// Reals after ReLU6 to bytes of so many bits.
    pub fn store_unsigned(&mut self, name: &str, real: &str, bits: u8) -> Stored {
        let largest = ((1u32 << bits.min(CONTAINER_BITS)) - 1) as u8;
        self.store(name, real, CLIPPED_AT / f32::from(largest), 0, (0, largest))
    }

    /// Reals of both signs to bytes of so many bits around 128.
    pub fn store_signed(&mut self, name: &str, real: &str, bits: u8) -> Stored {
        let largest = ((1u32 << (bits.clamp(2, CONTAINER_BITS) - 1)) - 1) as u8;
        let range = (SIGNED_ZERO - largest, SIGNED_ZERO + largest);
        self.store(name, real, CLIPPED_AT / f32::from(largest), SIGNED_ZERO, range)
    }

    fn store(&mut self, name: &str, real: &str, step: f32, zero: u8, (low, high): (u8, u8)) -> Stored {
        let steps = self.floats(&format!("{name}.step"), &[], vec![step]);
        let zeros = self.constant(&format!("{name}.zero"), DataType::Uint8, &[], vec![zero]);
        let mut stored =
            self.node(&format!("{name}.stored"), "QuantizeLinear", &[real, &steps, &zeros], vec![]);
        if high - low < u8::MAX - 1 {
            let low = self.constant(&format!("{name}.low"), DataType::Uint8, &[], vec![low]);
            let high = self.constant(&format!("{name}.high"), DataType::Uint8, &[], vec![high]);
            stored = self.node(&format!("{name}.clipped"), "Clip", &[&stored, &low, &high], vec![]);
        }
        Stored { name: stored, step, zero }
    }

    /// Another order of axes.
    pub fn transpose(&mut self, name: &str, value: &str, order: &[usize]) -> String {
        self.node(name, "Transpose", &[value], vec![integers("perm", order)])
    }

    /// Gives the last value another name.
    pub fn rename_output(&mut self, value: &str, name: &str) {
        let made = self.graph.node.iter_mut().flat_map(|node| node.output.iter_mut());
        made.filter(|output| *output == value).for_each(|output| *output = name.to_owned());
    }

    /// A node with one output, which is named as the node; gives that name back.
    pub fn node(&mut self, name: &str, operator: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.to_owned()],
            name: Some(name.to_owned()),
            op_type: Some(operator.to_owned()),
            attribute,
            domain: None,
        });
        name.to_owned()
    }

    fn floats(&mut self, name: &str, dims: &[usize], values: Vec<f32>) -> String {
        self.constant(
            name,
            DataType::Float,
            dims,
            values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        )
    }

    fn constant(&mut self, name: &str, element: DataType, dims: &[usize], raw: Vec<u8>) -> String {
        self.graph.initializer.push(TensorData {
            dims: dims.iter().map(|&extent| extent as i64).collect(),
            data_type: Some(element as i32),
            name: Some(name.to_owned()),
            raw_data: Some(raw),
            ..TensorData::default()
        });
        name.to_owned()
    }

    /// The file's bytes. The output's extents are left to the runtime.
    pub fn finish(
        mut self,
        (input, element, shape): (&str, DataType, &[usize]),
        (outputs, output_element): (&[String], DataType),
        metadata: &[(String, String)],
    ) -> Vec<u8> {
        self.graph.name = Some("measured".into());
        self.graph.input.push(value(input, element, Some(shape)));
        self.graph.output.extend(outputs.iter().map(|output| value(output, output_element, None)));
        let entry =
            |(key, value): &(String, String)| Entry { key: Some(key.clone()), value: Some(value.clone()) };
        super::encode(&Model {
            ir_version: Some(IR_VERSION),
            producer_name: Some("sartor".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            doc_string: None,
            graph: Some(self.graph),
            opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(OPSET) }],
            metadata: metadata.iter().map(entry).collect(),
        })
    }
}

fn weight_dims(layer: &Layer) -> Vec<usize> {
    vec![layer.out_channels, layer.in_channels / layer.groups.max(1), layer.kernel, layer.kernel]
}

/// Whole numbers from −`largest` to `largest`, in an order that the layer's name fixes: runtimes compute equal layers
/// once.
fn pattern(name: &str, count: usize, largest: i8) -> impl Iterator<Item = i8> + use<> {
    let largest = i16::from(largest);
    let start = name.bytes().fold(0, |sum, byte| (sum * 31 + usize::from(byte)) % 1021);
    (0..count).map(move |place| (((place + start) * 73 % 1021) as i16 % (2 * largest + 1) - largest) as i8)
}

fn convolution_attributes(layer: &Layer) -> Vec<Attribute> {
    let Layer { kernel, stride, padding, groups, .. } = *layer;
    vec![
        integer("group", groups as i64),
        integers("kernel_shape", &[kernel; 2]),
        integers("strides", &[stride; 2]),
        integers("pads", &[padding; 4]),
    ]
}

fn integer(name: &str, value: i64) -> Attribute {
    Attribute { name: Some(name.into()), integer: Some(value), kind: Some(INTEGER), ..Attribute::default() }
}

fn integers(name: &str, values: &[usize]) -> Attribute {
    let integers = values.iter().map(|&value| value as i64).collect();
    Attribute { name: Some(name.into()), integers, kind: Some(INTEGERS), ..Attribute::default() }
}

fn value(name: &str, element: DataType, shape: Option<&[usize]>) -> ValueInfo {
    let extent = |&extent: &usize| Dimension { value: Some(Extent::Fixed(extent as i64)) };
    let shape = shape.map(|shape| Shape { dim: shape.iter().map(extent).collect() });
    let tensor = TensorType { element: Some(element as i32), shape };
    ValueInfo { name: Some(name.into()), kind: Some(ValueType { tensor: Some(tensor) }) }
}
