//! # ONNX writer
//!
//! *Fast* ([`to_bytes`]): every width in an 8-bit container, as quantize–dequantize (QDQ) pairs that ONNX Runtime fuses into integer kernels.
//! A tensor narrower than its container is `QuantizeLinear` → integer `Clip` → `DequantizeLinear`: the clip stays an
//! integer node and is exact, where a float clip in front would break the fusion. It is also what keeps the runtime
//! from merging the two quantizers of a signed stream into one.
//!
//! Signed tensors are stored as uint8 around 128, not as int8: ONNX Runtime fuses a convolution only if its input and
//! output have one type, and the other side is a ReLU6 output.
//!
//! - Input `pixels`: uint8 `[N, C, H, W]` as they come from a file; normalisation is the first `DequantizeLinear`.
//! - Output `logits`: float `[N, classes]`, the classifier's int32 sums times their steps.
//! - Convolution nodes carry the layers' names; what belongs to a layer starts with its name and a slash.
//! - Weights narrower than a byte are stored shifted left by `8 - bits`, so that the int32 bias, whose step is tied to
//!   theirs, is fine enough ([`Weights::bias_shift`]); they still have `2^bits - 1` levels.
//! - Opset 13, IR 8: per-channel scales and integer `Clip`, nothing newer, so old runtimes load it.
//!
//! *Compact* ([`to_compact_bytes`]): the same graph, but weights of up to 4 bits in ONNX's own int4 (opset 21, IR 10)
//! and of 2 bits in int2 (opset 25, IR 13), so that the file is as small as the policy says. ONNX Runtime has no
//! integer kernels for such weights: those convolutions run in float, and near a tie a value may fall to the other
//! side. Weights of 5 to 7 bits have no ONNX type of their own and stay in bytes.

use prost::Message;

use crate::error::{ExportError, Result};
use crate::graph::{Classifier, Convolution, Operation, QuantizedNetwork, Quantizer, TensorId, Weights};
use sartor_space::LayerKind;

mod graph;
pub mod message;

use graph::{GraphBuilder, fixed, integer, integers, value};
use message::{DataType, Entry, Extent, Model, OperatorSet};

/// Operator set and file format that per-channel scales and an integer `Clip` need.
const BYTES: (i64, i64) = (13, 8);
/// … that int4 needs.
const NIBBLES: (i64, i64) = (21, 10);
/// … that int2 needs.
const PAIRS: (i64, i64) = (25, 13);
/// What stands for 0 in the container of a signed tensor.
pub(crate) const SIGNED_OFFSET: i32 = 128;
/// Name of the input.
pub const INPUT: &str = "pixels";
/// Name of the output.
pub const OUTPUT: &str = "logits";

/// Number of images in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batch {
    /// Any number: the extent is called `N`.
    #[default]
    Symbolic,
    /// Always this many.
    Fixed(usize),
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    Fast,
    Compact,
}

/// The bytes of a `.onnx` file; `metadata` is stored as key–value pairs. Equal networks give equal bytes.
pub fn to_bytes(network: &QuantizedNetwork, batch: Batch, metadata: &[(&str, &str)]) -> Vec<u8> {
    write(network, Profile::Fast, batch, metadata)
}

/// As [`to_bytes`], with narrow weights in ONNX's own narrow types.
pub fn to_compact_bytes(network: &QuantizedNetwork, batch: Batch, metadata: &[(&str, &str)]) -> Vec<u8> {
    write(network, Profile::Compact, batch, metadata)
}

fn write(network: &QuantizedNetwork, profile: Profile, batch: Batch, metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = Writer { network, profile, builder: GraphBuilder::default() };
    writer.values(batch);
    network.operations.iter().for_each(|operation| writer.operation(operation));
    writer.classifier(&network.classifier);
    let versions = versions(network, profile);
    model(writer.builder, versions, metadata).encode_to_vec()
}

/// Operator set and file format: the oldest that have what is used.
fn versions(network: &QuantizedNetwork, profile: Profile) -> (i64, i64) {
    let layers = network.convolutions().map(|layer| layer.weights.bits);
    let narrowest = layers.chain([network.classifier.weights.bits]).min();
    match (profile, narrowest) {
        (Profile::Compact, Some(2)) => PAIRS,
        (Profile::Compact, Some(3 | 4)) => NIBBLES,
        _ => BYTES,
    }
}

/// Reads the messages of a `.onnx` file; anything malformed is an error.
pub fn parse(path: &std::path::Path) -> Result<Model> {
    let file = |source| ExportError::File { action: "read", path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(file)?;
    Model::decode(&bytes[..])
        .map_err(|error| ExportError::NotOnnx { path: path.to_path_buf(), reason: error.to_string() })
}

fn model(builder: GraphBuilder, (opset, format): (i64, i64), metadata: &[(&str, &str)]) -> Model {
    let entry =
        |(key, value): &(&str, &str)| Entry { key: Some(key.to_string()), value: Some(value.to_string()) };
    Model {
        ir_version: Some(format),
        producer_name: Some("sartor".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        doc_string: None,
        graph: Some(builder.graph),
        opset_import: vec![OperatorSet { domain: Some(String::new()), version: Some(opset) }],
        metadata: metadata.iter().map(entry).collect(),
    }
}

struct Writer<'a> {
    network: &'a QuantizedNetwork,
    profile: Profile,
    builder: GraphBuilder,
}

impl Writer<'_> {
    fn values(&mut self, batch: Batch) {
        let batch = match batch {
            Batch::Symbolic => Extent::Symbol("N".into()),
            Batch::Fixed(images) => fixed(images),
        };
        let image = self.network.image();
        let shape = vec![batch.clone(), fixed(image.channels), fixed(image.size), fixed(image.size)];
        let logits = vec![batch, fixed(self.network.classes())];
        let graph = &mut self.builder.graph;
        graph.name = Some("network".into());
        graph.input.push(value(INPUT, DataType::Uint8, shape));
        graph.output.push(value(OUTPUT, DataType::Float, logits));
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Convolution(convolution) => self.convolution(convolution),
            Operation::Requantize { name, input, output } => {
                let real = self.load(&format!("{name}/stream"), *input);
                self.store(&real, *output);
            }
            Operation::Add { name, left, right, output } => self.add(name, (*left, *right), *output),
            &Operation::MaxPool { ref name, kernel, stride, padding, padding_after, input, output } => {
                self.max_pool(name, (kernel, stride, [padding, padding_after]), input, output);
            }
            Operation::Pool { name, input, output } => self.pool(name, *input, *output),
        }
    }

    fn convolution(&mut self, layer: &Convolution) {
        let name = &layer.name;
        let input = self.load(&format!("{name}/input"), layer.input);
        let (dims, weights) = convolution_weights(layer);
        let weight = self.weight(name, &layer.weights, &dims, &weights, 0);
        let bias = self.bias(name, &layer.weights, layer.input);
        let group = if layer.kind == LayerKind::Depthwise { layer.weights.scales.len() } else { 1 };
        let attributes = vec![
            integers("kernel_shape", &[layer.kernel; 2]),
            integers("strides", &[layer.stride; 2]),
            integers("pads", &[layer.padding; 4]),
            integer("group", group as i64),
        ];
        let sums = self.builder.node(name, "Conv", &[&input, &weight, &bias], attributes);
        self.store(&sums, layer.output);
    }

    fn add(&mut self, name: &str, (left, right): (TensorId, TensorId), output: TensorId) {
        let left = self.load(&format!("{name}/own"), left);
        let right = self.load(&format!("{name}/residual"), right);
        let sum = self.builder.node(&format!("{name}/add"), "Add", &[&left, &right], vec![]);
        self.store(&sum, output);
    }

    /// On the integers themselves, of which the largest stands for the largest real.
    fn max_pool(
        &mut self,
        name: &str,
        (kernel, stride, [before, after]): (usize, usize, [usize; 2]),
        input: TensorId,
        output: TensorId,
    ) {
        let [from, to] = [input, output].map(|tensor| stored(&self.network.tensors[tensor].name));
        let attributes = vec![
            integers("kernel_shape", &[kernel; 2]),
            integers("strides", &[stride; 2]),
            integers("pads", &[before, before, after, after]),
        ];
        self.builder.node(&to, "MaxPool", &[&from], attributes);
        if let Some(node) = self.builder.graph.node.last_mut() {
            node.name = Some(name.to_string());
        }
    }

    fn pool(&mut self, name: &str, input: TensorId, output: TensorId) {
        let real = self.load(&format!("{name}/input"), input);
        let mean = self.builder.node(name, "GlobalAveragePool", &[&real], vec![]);
        self.store(&mean, output);
    }

    fn classifier(&mut self, layer: &Classifier) {
        let pooled = stored(&self.network.tensors[layer.input].name);
        let name = &layer.name;
        let flat =
            self.builder.node(&format!("{name}/flatten"), "Flatten", &[&pooled], vec![integer("axis", 1)]);
        let features = self.network.tensors[layer.input].channels;
        let input =
            self.dequantize(&format!("{name}/input"), &flat, &self.network.tensors[layer.input].quantizer);
        let dims = [features, self.network.classes()];
        let weight = self.weight(name, &layer.weights, &dims, &layer.weights.values, 1);
        let bias = self.bias(name, &layer.weights, layer.input);
        self.builder.node(OUTPUT, "Gemm", &[&input, &weight, &bias], vec![]);
        if let Some(node) = self.builder.graph.node.last_mut() {
            node.name = Some(name.clone());
        }
    }

    /// Float weights out of integers, a scale per index of `axis`.
    fn weight(&mut self, name: &str, weights: &Weights, dims: &[usize], values: &[i8], axis: i64) -> String {
        let (element, raw, zeros, scales) = self.container(weights, values);
        let channels = [weights.scales.len()];
        let integers = self.builder.constant(format!("{name}/weight"), element, dims, raw);
        let scale = self.builder.floats(format!("{name}/weight/scale"), &channels, &scales);
        let zero = self.builder.constant(format!("{name}/weight/zero"), element, &channels, zeros);
        let inputs = [&integers[..], &scale, &zero];
        let axis = vec![integer("axis", axis)];
        self.builder.node(&format!("{name}/weight/real"), "DequantizeLinear", &inputs, axis)
    }

    /// Element type, stored weights, stored zero points and scales.
    fn container(&self, weights: &Weights, values: &[i8]) -> (DataType, Vec<u8>, Vec<u8>, Vec<f32>) {
        let zeros = vec![0; weights.scales.len()];
        let packed =
            |element, width| (element, pack(values, width), pack(&zeros, width), weights.scales.clone());
        match (self.profile, weights.bits) {
            (Profile::Compact, 2) => packed(DataType::Int2, 2),
            (Profile::Compact, 3 | 4) => packed(DataType::Int4, 4),
            _ => {
                let bytes = values.iter().map(|value| (value << weights.bias_shift) as u8).collect();
                (DataType::Int8, bytes, vec![0; zeros.len()], weights.sum_scales())
            }
        }
    }

    /// Float bias out of int32, in steps of input scale × weight scale.
    fn bias(&mut self, name: &str, weights: &Weights, input: TensorId) -> String {
        let channels = [weights.scales.len()];
        let input = self.network.tensors[input].quantizer.scale;
        let steps: Vec<f32> = weights.sum_scales().iter().map(|scale| input * scale).collect();
        let integers = self.builder.int32s(format!("{name}/bias"), &channels, &weights.bias);
        let scale = self.builder.floats(format!("{name}/bias/scale"), &channels, &steps);
        let zero = self.builder.int32s(format!("{name}/bias/zero"), &channels, &vec![0; channels[0]]);
        let inputs = [&integers[..], &scale, &zero];
        self.builder.node(&format!("{name}/bias/real"), "DequantizeLinear", &inputs, vec![integer("axis", 0)])
    }

    /// Real values of a stored tensor, for one reader.
    fn load(&mut self, name: &str, tensor: TensorId) -> String {
        let tensor = &self.network.tensors[tensor];
        let source =
            if tensor.name == self.network.image().name { INPUT.into() } else { stored(&tensor.name) };
        self.dequantize(name, &source, &tensor.quantizer)
    }

    fn dequantize(&mut self, name: &str, source: &str, quantizer: &Quantizer) -> String {
        let (scale, zero) = self.parameters(name, quantizer);
        self.builder.node(name, "DequantizeLinear", &[source, &scale, &zero], vec![])
    }

    /// Quantizes real values into a tensor's container and clips them to its range.
    fn store(&mut self, real: &str, tensor: TensorId) {
        let tensor = &self.network.tensors[tensor];
        let (name, quantizer) = (stored(&tensor.name), tensor.quantizer);
        let wide = if quantizer.fills_container() { name.clone() } else { format!("{name}/wide") };
        let (scale, zero) = self.parameters(&wide, &quantizer);
        self.builder.node(&wide, "QuantizeLinear", &[real, &scale, &zero], vec![]);
        if quantizer.fills_container() {
            return;
        }
        let low = self.byte(format!("{name}/low"), stored_byte(&quantizer, quantizer.low));
        let high = self.byte(format!("{name}/high"), stored_byte(&quantizer, quantizer.high));
        self.builder.node(&name, "Clip", &[&wide, &low, &high], vec![]);
    }

    fn parameters(&mut self, name: &str, quantizer: &Quantizer) -> (String, String) {
        let scale = self.builder.floats(format!("{name}/scale"), &[], &[quantizer.scale]);
        let zero = stored_byte(quantizer, quantizer.zero_point);
        (scale, self.byte(format!("{name}/zero"), zero))
    }

    fn byte(&mut self, name: String, value: u8) -> String {
        self.builder.constant(name, DataType::Uint8, &[], vec![value])
    }
}

/// Name of a tensor's integers in the graph.
fn stored(tensor: &str) -> String {
    format!("{tensor}/integers")
}

/// An integer of a tensor as its container holds it.
fn stored_byte(quantizer: &Quantizer, integer: i32) -> u8 {
    let offset = if quantizer.signed { SIGNED_OFFSET } else { 0 };
    (integer + offset) as u8
}

/// Two's complement of `width` bits, several in a byte, lowest bits first.
pub(crate) fn pack(values: &[i8], width: usize) -> Vec<u8> {
    let mask = (1u8 << width) - 1;
    let byte = |group: &[i8]| {
        let places = group.iter().enumerate();
        places.fold(0, |byte, (place, &value)| byte | (value as u8 & mask) << (place * width))
    };
    values.chunks(8 / width).map(byte).collect()
}

/// `[out, in, k, k]` of `[k·k·in, out]`; depthwise `[channels, 1, k, k]` of `[k·k, channels]`.
fn convolution_weights(layer: &Convolution) -> ([usize; 4], Vec<i8>) {
    let (taps, out) = (layer.kernel * layer.kernel, layer.weights.scales.len());
    let inputs = layer.weights.values.len() / (taps * out);
    let at = |o: usize, i: usize, tap: usize| layer.weights.values[(tap * inputs + i) * out + o];
    let row = |o: usize| (0..inputs).flat_map(move |i| (0..taps).map(move |tap| (o, i, tap)));
    let values = (0..out).flat_map(row).map(|(o, i, tap)| at(o, i, tap)).collect();
    ([out, inputs, layer.kernel, layer.kernel], values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn network(seed: u64) -> QuantizedNetwork {
        let workload = samples::workload(seed);
        QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap()
    }

    #[test]
    fn weights_are_transposed_to_output_channels_first() {
        let layer = network(0).convolutions().next().unwrap().clone();
        let (dims, values) = convolution_weights(&layer);
        assert_eq!(dims, [8, 3, 3, 3]);
        let (o, i, tap) = (5, 2, 7);
        assert_eq!(values[(o * 3 + i) * 9 + tap], layer.weights.values[(tap * 3 + i) * 8 + o]);
    }

    #[test]
    fn narrow_weights_share_bytes_lowest_first() {
        assert_eq!(pack(&[1, -2, 7], 4), [0xe1, 0x07]);
        assert_eq!(pack(&[1, -1, 0, 1, -1], 2), [0b01_00_11_01, 0b11]);
    }

    #[test]
    fn compact_files_are_as_new_and_as_large_as_their_widths() {
        let of = |bits| {
            let workload = samples::uniform_workload(bits);
            let network = QuantizedNetwork::build(&samples::model(&workload, 3), &workload).unwrap();
            let bytes = to_compact_bytes(&network, Batch::Symbolic, &[]);
            let model = Model::decode(&bytes[..]).unwrap();
            let of_weights = |data: &&message::TensorData| data.name.as_ref().unwrap().ends_with("/weight");
            let weights = model.graph.as_ref().unwrap().initializer.iter().filter(of_weights);
            let stored: usize = weights.map(|data| data.raw_data.as_ref().unwrap().len()).sum();
            (model.opset_import[0].version, model.ir_version, stored)
        };
        let sizes = [(8, 13, 8), (6, 13, 8), (4, 21, 10), (2, 25, 13)].map(|(bits, opset, format)| {
            let (got_opset, got_format, stored) = of(bits);
            assert_eq!((got_opset, got_format), (Some(opset), Some(format)), "{bits} bits");
            stored
        });
        assert!(sizes[0] == sizes[1] && sizes[2] < sizes[1] * 7 / 10 && sizes[3] < sizes[2]);
    }

    #[test]
    fn every_value_is_made_before_it_is_read_and_every_name_is_unique() {
        let model =
            Model::decode(&to_bytes(&network(1), Batch::Symbolic, &[("candidate", "x")])[..]).unwrap();
        let graph = model.graph.unwrap();
        let mut known: std::collections::BTreeSet<String> = [INPUT.to_string()].into();
        for constant in &graph.initializer {
            assert!(known.insert(constant.name.clone().unwrap()), "{:?} twice", constant.name);
        }
        for node in &graph.node {
            node.input
                .iter()
                .for_each(|input| assert!(known.contains(input), "{:?} reads {input}", node.name));
            node.output.iter().for_each(|output| assert!(known.insert(output.clone()), "{output} twice"));
        }
        assert!(known.contains(OUTPUT));
        assert_eq!(model.metadata[0].key.as_deref(), Some("candidate"));
    }

    #[test]
    fn layers_keep_their_names() {
        let network = network(2);
        let model = Model::decode(&to_bytes(&network, Batch::Fixed(1), &[])[..]).unwrap();
        let nodes = model.graph.unwrap().node;
        for layer in network.convolutions() {
            let node = nodes.iter().find(|node| node.name.as_ref() == Some(&layer.name)).unwrap();
            assert_eq!(node.op_type.as_deref(), Some("Conv"));
        }
    }

    #[test]
    fn equal_networks_give_equal_bytes() {
        assert_eq!(to_bytes(&network(4), Batch::Symbolic, &[]), to_bytes(&network(4), Batch::Symbolic, &[]));
    }
}
