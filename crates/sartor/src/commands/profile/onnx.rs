//! # ONNX models to measure
//!
//! One layer alone, or a whole network, as runtimes execute what Sartor exports: up to 8 bits as quantize–dequantize
//! pairs in 8-bit containers, which become integer kernels; 32 bits in float. The weights are a fixed pattern: how long
//! an integer kernel takes does not depend on them, and the floats stay clear of denormals.

mod graph;
mod network;

use sartor_export::onnx::message::{DataType, Model};
use sartor_export::runtime::RepeatedInput;
use sartor_hardware::LayerKey;

use crate::failure::Failure;
use graph::Builder;
pub use network::network;

/// Name of a model's input.
const INPUT: &str = "input";
/// Name of a model's output.
const OUTPUT: &str = "output";
/// Widest operand of an integer kernel.
const WIDEST_INTEGER: u8 = 8;
const FULL_PRECISION: u8 = 32;

/// A model and the input it wants.
#[derive(Debug)]
pub struct Measurable {
    /// The `.onnx` file.
    pub bytes: Vec<u8>,
    /// Its input.
    pub input: RepeatedInput,
}

/// What a layer is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// 8-bit containers.
    Integer,
    /// 32-bit floats.
    Float,
}

impl Arithmetic {
    /// That of a pair of widths.
    ///
    /// # Errors
    /// Widths that no kernel computes together.
    pub fn of(key: &LayerKey) -> Result<Self, Failure> {
        match (key.weight_bits, key.activation_bits) {
            (FULL_PRECISION, FULL_PRECISION) => Ok(Self::Float),
            (weight, activation) if weight.max(activation) <= WIDEST_INTEGER => Ok(Self::Integer),
            _ => Err(Failure::bad_input(format!("layer {key} has widths that no runtime computes together"))
                .hint("1 to 8 bits for both operands, or 32 for both")),
        }
    }
}

/// A layer alone, channels last at both ends where that spares the runtime a change of layout.
///
/// # Errors
/// Widths that no kernel computes together.
pub fn layer(key: &LayerKey, batch: usize) -> Result<Measurable, Failure> {
    copies(key, batch, 1)
}

/// The same layer several times side by side on one input, with different weights, each with its own output.
///
/// # Errors
/// Widths that no kernel computes together.
pub fn copies(key: &LayerKey, batch: usize, count: usize) -> Result<Measurable, Failure> {
    let mut builder = Builder::default();
    let (side, channels) = (key.input_size, key.in_channels);
    let (input, element, shape) = match Arithmetic::of(key)? {
        Arithmetic::Integer => {
            let shape = vec![batch, side, side, channels];
            (RepeatedInput::Bytes(shape.clone()), DataType::Uint8, shape)
        }
        Arithmetic::Float => {
            let shape = vec![batch, channels, side, side];
            (RepeatedInput::Floats(shape.clone()), DataType::Float, shape)
        }
    };
    let outputs: Vec<String> = (0..count).map(|copy| one_copy(&mut builder, key, copy, element)).collect();
    let bytes = builder.finish((INPUT, element, &shape), (&outputs, element), &metadata(key));
    Ok(Measurable { bytes, input })
}

fn one_copy(builder: &mut Builder, key: &LayerKey, copy: usize, element: DataType) -> String {
    let layer = key.layer(&format!("layer{copy}"));
    let output = format!("{OUTPUT}{copy}");
    if element == DataType::Float {
        let real = builder.float_layer(&layer, INPUT, true);
        builder.rename_output(&real, &output);
        return output;
    }
    let pixels = builder.transpose(&format!("{}.nchw", layer.name), INPUT, &[0, 3, 1, 2]);
    let stored = builder.integer_layer(&layer, &builder.stream(pixels));
    builder.transpose(&output, &stored.name, &[0, 2, 3, 1])
}

/// The columns of the cost table, for tools that look into the file.
fn metadata(key: &LayerKey) -> Vec<(String, String)> {
    let value = serde_json::to_value(key).unwrap_or_default();
    let fields = value.as_object().cloned().unwrap_or_default();
    fields.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

/// File name that tells the layer.
pub fn file_name(key: &LayerKey) -> String {
    let LayerKey { in_channels, out_channels, input_size, kernel, stride, padding, groups, .. } = key;
    let first = if key.first { "-first" } else { "" };
    format!(
        "in{in_channels}-out{out_channels}-size{input_size}-k{kernel}-s{stride}-p{padding}-g{groups}-w{}a{}{first}.onnx",
        key.weight_bits, key.activation_bits
    )
}

/// Reads a model back, for tests.
#[cfg(test)]
fn parse(bytes: &[u8]) -> Model {
    use prost::Message;
    Model::decode(bytes).expect("an ONNX model")
}

/// The bytes of a model.
fn encode(model: &Model) -> Vec<u8> {
    prost::Message::encode_to_vec(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(weight_bits: u8, activation_bits: u8) -> LayerKey {
        LayerKey {
            in_channels: 16,
            out_channels: 24,
            input_size: 14,
            kernel: 3,
            stride: 2,
            padding: 1,
            groups: 1,
            weight_bits,
            activation_bits,
            first: false,
        }
    }

    #[test]
    fn values_are_made_before_they_are_read() {
        for (weight, activation) in [(8, 8), (2, 4), (32, 32)] {
            let model = parse(&layer(&key(weight, activation), 2).unwrap().bytes);
            let graph = model.graph.unwrap();
            let mut known: Vec<String> = vec![INPUT.into()];
            known.extend(graph.initializer.iter().filter_map(|constant| constant.name.clone()));
            for node in &graph.node {
                assert!(node.input.iter().all(|input| known.contains(input)), "{node:?}");
                known.extend(node.output.clone());
            }
            assert!(known.contains(&format!("{OUTPUT}0")));
        }
    }

    #[test]
    fn narrow_weights_stay_within_their_levels() {
        let model = parse(&layer(&key(3, 8), 1).unwrap().bytes);
        let graph = model.graph.unwrap();
        let weights =
            graph.initializer.iter().find(|it| it.data_type == Some(DataType::Int8 as i32)).unwrap();
        let values = weights.raw_data.as_ref().unwrap().iter().map(|&byte| byte as i8);
        assert!(values.clone().all(|value| (-3..=3).contains(&value)));
        assert_eq!(values.count(), 24 * 16 * 9);
    }

    #[test]
    fn copies_have_weights_and_outputs_of_their_own() {
        let graph = parse(&copies(&key(8, 8), 1, 3).unwrap().bytes).graph.unwrap();
        assert_eq!(graph.output.len(), 3);
        let weights: Vec<_> =
            graph.initializer.iter().filter(|it| it.dims == [24, 16, 3, 3]).map(|it| &it.raw_data).collect();
        assert_eq!(weights.len(), 3);
        assert!(weights[0] != weights[1] && weights[1] != weights[2] && weights[0] != weights[2]);
    }

    #[test]
    fn mixed_widths_have_no_kernel() {
        assert!(layer(&key(8, 32), 1).is_err());
        assert!(layer(&key(16, 16), 1).is_err());
    }

    #[test]
    fn names_tell_the_layer() {
        assert_eq!(file_name(&key(4, 8)), "in16-out24-size14-k3-s2-p1-g1-w4a8.onnx");
    }
}
