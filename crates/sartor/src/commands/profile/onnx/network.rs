//! Whole networks: the layers with everything between them that a table does not price.

use sartor_export::onnx::message::DataType;
use sartor_export::runtime::RepeatedInput;
use sartor_hardware::LayerKey;
use sartor_space::{Layer, Role, Workload};

use super::graph::{Builder, Stored};
use super::{Arithmetic, INPUT, Measurable, OUTPUT};
use crate::failure::Failure;

/// Bits of the stream between blocks.
const STREAM_BITS: u8 = 8;

/// A candidate's network as it is exported: the stream between blocks at 8 bits, narrower operands clipped, residual
/// additions, and the pool before the classifier.
///
/// # Errors
/// A network without layers, or widths that no kernel computes together.
pub fn network(workload: &Workload, batch: usize) -> Result<Measurable, Failure> {
    let first = workload.layers.first().ok_or_else(|| Failure::bad_input("a network without layers"))?;
    let shape = vec![batch, first.in_channels, first.input_size, first.input_size];
    let mut builder = Builder::default();
    let (element, input) = match Arithmetic::of(&LayerKey::of(first))? {
        Arithmetic::Integer => {
            integer_layers(&mut builder, workload);
            (DataType::Uint8, RepeatedInput::Bytes(shape.clone()))
        }
        Arithmetic::Float => {
            float_layers(&mut builder, workload);
            (DataType::Float, RepeatedInput::Floats(shape.clone()))
        }
    };
    let bytes = builder.finish((INPUT, element, &shape), (&[OUTPUT.to_owned()], DataType::Float), &[]);
    Ok(Measurable { bytes, input })
}

fn integer_layers(builder: &mut Builder, workload: &Workload) {
    let mut stream = builder.stream(INPUT.to_owned());
    let mut block_input = stream.clone();
    for (index, layer) in workload.layers.iter().enumerate() {
        if matches!(layer.role, Role::Expand { .. }) {
            block_input = stream.clone();
        }
        if layer.role == Role::Classifier {
            stream = pooled(builder, &stream);
        }
        if layer.signed_input && !layer.first {
            stream = requantized(builder, layer, &stream);
        }
        let bits = workload.layers.get(index + 1).map_or(STREAM_BITS, |next| next.activation_bits);
        stream = builder.convolution(layer, &stream, layer.relu, bits);
        if layer.residual {
            stream = added(builder, layer, &stream, &block_input);
        }
    }
    let real = builder.load("logits", &stream);
    builder.rename_output(&real, OUTPUT);
}

/// A layer's own quantizer on the 8-bit stream.
fn requantized(builder: &mut Builder, layer: &Layer, stream: &Stored) -> Stored {
    let name = format!("{}/stream", layer.name);
    let real = builder.load(&format!("{name}.loaded"), stream);
    builder.store_signed(&name, &real, layer.activation_bits)
}

fn added(builder: &mut Builder, layer: &Layer, one: &Stored, other: &Stored) -> Stored {
    let name = format!("{}/add", layer.name);
    let (one, other) =
        (builder.load(&format!("{name}.one"), one), builder.load(&format!("{name}.other"), other));
    let sum = builder.node(&name, "Add", &[&one, &other], vec![]);
    builder.store_signed(&name, &sum, STREAM_BITS)
}

fn pooled(builder: &mut Builder, stream: &Stored) -> Stored {
    let real = builder.load("pool.loaded", stream);
    let mean = builder.node("pool", "GlobalAveragePool", &[&real], vec![]);
    builder.store_unsigned("pool", &mean, STREAM_BITS)
}

fn float_layers(builder: &mut Builder, workload: &Workload) {
    let mut stream = INPUT.to_owned();
    let mut block_input = stream.clone();
    for layer in &workload.layers {
        if matches!(layer.role, Role::Expand { .. }) {
            block_input = stream.clone();
        }
        if layer.role == Role::Classifier {
            stream = builder.node("pool", "GlobalAveragePool", &[&stream], vec![]);
        }
        stream = builder.float_layer(layer, &stream, layer.relu);
        if layer.residual {
            stream = builder.node(&format!("{}/add", layer.name), "Add", &[&stream, &block_input], vec![]);
        }
    }
    builder.rename_output(&stream, OUTPUT);
}
