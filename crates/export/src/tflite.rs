//! # TFLite writer
//!
//! Every width in an int8 container with the operators that every TensorFlow Lite runtime has; what the reference
//! kernels compute is [`Style::FixedPoint`](crate::Style) bit by bit.
//!
//! Ranges narrower than the container cost no `MINIMUM` or `MAXIMUM`: the container itself saturates where the zero
//! point puts it.
//! - Unsigned `[0, h]` has the zero point `127 - h`; the container cuts above, a fused RELU cuts below.
//! - Signed `[-h, h]` is stored twice, with the zero points `127 - h` and then `h - 128`: the first store cuts above,
//!   the `QUANTIZE` to the second one cuts below. Both have the same scale, so it is exact.
//!
//! Padding is explicit (`PAD`) where TensorFlow's `SAME` would put it elsewhere. The mean over all pixels and the
//! rescaling of the stream between blocks are depthwise convolutions with constant weights: `MEAN` rounds twice, and XNNPACK
//! rescales in `QUANTIZE` with 8-bit factors. Narrow weights are stored shifted left
//! by `8 - bits`, as their bias needs finer steps ([`Weights::bias_shift`]).
//!
//! *Compact* ([`to_compact_bytes`]): weights of up to 4 bits in int4. Such weights cannot be shifted, so the network
//! is the one whose biases are whole steps of the products ([`QuantizedNetwork::with_plain_biases`]); it is verified
//! as such, and its own accuracy is stated.
//!
//! Input `pixels`: uint8 `[1, size, size, channels]`. Output `logits`: int8 `[1, classes]`.

use crate::graph::{Convolution, Operation, QuantizedNetwork, Quantizer, Tensor, TensorId, Weights};
use crate::onnx::pack;
use crate::requantize::{GAIN, gained_weight};
use sartor_space::LayerKind;

mod check;
mod flat;

pub use check::{Interpreter, verify_tflite};

use flat::{Activation, Builtin, Element, Model, Node, NodeOptions, Padding, Stored, Value, ValueId};

/// Name of the input.
pub const INPUT: &str = "pixels";
/// Name of the output.
pub const OUTPUT: &str = "logits";
/// What an int8 image's zero point is below the pixels'.
const IMAGE_OFFSET: i32 = 128;

/// The bytes of a `.tflite` file whose logits are in `logits`' steps. Equal networks give equal bytes.
pub fn to_bytes(network: &QuantizedNetwork, logits: &Quantizer, metadata: &str) -> Vec<u8> {
    write(network, logits, metadata, false)
}

/// As [`to_bytes`], with weights of up to 4 bits in int4; the network must have plain biases
/// ([`QuantizedNetwork::with_plain_biases`]), because int4 weights cannot be shifted.
pub fn to_compact_bytes(network: &QuantizedNetwork, logits: &Quantizer, metadata: &str) -> Vec<u8> {
    write(network, logits, metadata, true)
}

fn write(network: &QuantizedNetwork, logits: &Quantizer, metadata: &str, compact: bool) -> Vec<u8> {
    let stored = vec![0; network.tensors.len()];
    let mut writer = Writer { network, compact, model: Model::default(), stored };
    writer.image();
    network.operations.iter().for_each(|operation| writer.operation(operation));
    writer.classifier(logits);
    writer.model.description = metadata.to_string();
    writer.model.to_bytes()
}

/// The zero point of a tensor in its int8 container.
pub(crate) fn container_zero(tensor: &Tensor) -> i32 {
    let quantizer = &tensor.quantizer;
    match quantizer.signed {
        true => quantizer.high - 128,
        false if quantizer.zero_point != 0 => quantizer.zero_point - IMAGE_OFFSET,
        false => 127 - quantizer.high,
    }
}

struct Writer<'a> {
    network: &'a QuantizedNetwork,
    /// Weights of up to 4 bits in int4.
    compact: bool,
    model: Model,
    /// Where a tensor of the network is.
    stored: Vec<ValueId>,
}

impl Writer<'_> {
    fn image(&mut self) {
        let image = self.network.image();
        let quantizer = image.quantizer;
        let zero = quantizer.zero_point;
        let pixels = self.activation(INPUT, image, quantizer.scale, zero);
        self.model.values[pixels].element = Element::Uint8;
        let bytes = self.activation(&image.name, image, quantizer.scale, zero - IMAGE_OFFSET);
        self.model.input = pixels;
        self.quantize(pixels, bytes);
        self.stored[0] = bytes;
    }

    fn operation(&mut self, operation: &Operation) {
        match operation {
            Operation::Convolution(layer) => self.convolution(layer),
            Operation::Requantize { input, output, .. } => {
                self.requantize(*input, *output);
            }
            Operation::Add { left, right, output, .. } => {
                let first = self.first_store(*output);
                let inputs = vec![self.stored[*left], self.stored[*right]];
                self.node(Builtin::Add, inputs, first, NodeOptions::Add(self.activation_of(*output)));
                self.second_store(first, *output);
            }
            &Operation::MaxPool { ref name, kernel, stride, padding, padding_after, input, output } => {
                let window = (kernel, stride, [padding, padding_after]);
                let (from, padding) = self.padded(name, window, (input, output));
                let tensor = &self.network.tensors[output];
                let (scale, zero) = (tensor.quantizer.scale, container_zero(tensor));
                self.stored[output] = self.activation(&tensor.name, tensor, scale, zero);
                let options = NodeOptions::MaxPool { padding, stride, kernel };
                self.node(Builtin::MaxPool, vec![from], self.stored[output], options);
            }
            Operation::Pool { input, output, .. } => self.pool(*input, *output),
        }
    }

    fn convolution(&mut self, layer: &Convolution) {
        let window = (layer.kernel, layer.stride, [layer.padding; 2]);
        let (input, padding) = self.padded(&layer.name, window, (layer.input, layer.output));
        let (kernel, depthwise) = (layer.kernel, layer.kind == LayerKind::Depthwise);
        let (channels, inputs) = (layer.weights.scales.len(), self.network.tensors[layer.input].channels);
        let (shape, data, dimension) = if depthwise {
            ([1, kernel, kernel, channels], shifted(&layer.weights), 3)
        } else {
            ([channels, kernel, kernel, inputs], channels_first(&layer.weights), 0)
        };
        let weight = self.weight(&layer.name, &layer.weights, &shape, data, dimension);
        let bias = self.bias(&layer.name, &layer.weights, layer.input);
        let output = self.first_store(layer.output);
        let activation = self.activation_of(layer.output);
        let options = if depthwise {
            NodeOptions::Depthwise { padding, stride: layer.stride, activation }
        } else {
            NodeOptions::Convolution { padding, stride: layer.stride, activation }
        };
        let builtin = match (depthwise, self.narrow(&layer.weights)) {
            (true, false) => Builtin::Depthwise,
            (true, true) => Builtin::NarrowDepthwise,
            (false, false) => Builtin::Convolution,
            (false, true) => Builtin::NarrowConvolution,
        };
        self.node(builtin, vec![input, weight, bias], output, options);
        self.second_store(output, layer.output);
    }

    /// The input, with an explicit border where `SAME` would put another one.
    fn padded(
        &mut self,
        name: &str,
        (kernel, stride, [before, after]): (usize, usize, [usize; 2]),
        (input, output): (TensorId, TensorId),
    ) -> (ValueId, Padding) {
        let (tensor, out) = (&self.network.tensors[input], self.network.tensors[output].size);
        let input = self.stored[input];
        if before == 0 && (out - 1) * stride + kernel <= tensor.size {
            return (input, Padding::Valid);
        }
        let same_out = tensor.size.div_ceil(stride);
        let same_total = ((same_out - 1) * stride + kernel).saturating_sub(tensor.size);
        if same_out == out && same_total / 2 == before {
            return (input, Padding::Same);
        }
        let (first, last) = (before as i32, after as i32);
        let borders = [0, 0, first, last, first, last, 0, 0];
        let wide = Tensor { size: tensor.size + before + after, ..tensor.clone() };
        let zero = container_zero(tensor);
        let amounts = self.model.constant_int32(format!("{name}/border"), &[4, 2], &borders);
        let output = self.activation(&format!("{name}/padded"), &wide, tensor.quantizer.scale, zero);
        self.node(Builtin::Pad, vec![input, amounts], output, NodeOptions::Pad);
        (output, Padding::Valid)
    }

    fn weight(
        &mut self,
        name: &str,
        weights: &Weights,
        shape: &[usize],
        data: Vec<u8>,
        dimension: i32,
    ) -> ValueId {
        let (scales, zeros) = (weights.sum_scales(), vec![0; weights.scales.len()]);
        let stored = Stored { scales, zeros, dimension };
        let (element, data) = match self.narrow(weights) {
            true => {
                let values: Vec<i8> = data.iter().map(|&byte| byte as i8).collect();
                (Element::Int4, pack(&values, 4))
            }
            false => (Element::Int8, data),
        };
        self.model.value(Value::constant(format!("{name}/weight"), shape, element, data, Some(stored)))
    }

    /// Whether weights are stored in int4.
    fn narrow(&self, weights: &Weights) -> bool {
        self.compact && weights.fit_nibbles() && weights.bias_shift == 0
    }

    fn bias(&mut self, name: &str, weights: &Weights, input: TensorId) -> ValueId {
        let input = self.network.tensors[input].quantizer.scale;
        let scales = weights.sum_scales().iter().map(|scale| input * scale).collect();
        let stored = Stored { scales, zeros: vec![0; weights.bias.len()], dimension: 0 };
        let data = weights.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let shape = [weights.bias.len()];
        self.model.value(Value::constant(format!("{name}/bias"), &shape, Element::Int32, data, Some(stored)))
    }

    fn requantize(&mut self, input: TensorId, output: TensorId) {
        let name = self.network.tensors[output].name.clone();
        let first = self.first_store(output);
        self.mean(&name, (input, 1), first);
        self.second_store(first, output);
    }

    fn pool(&mut self, input: TensorId, output: TensorId) {
        let size = self.network.tensors[input].size;
        let pooled = self.first_store(output);
        self.mean("pool", (input, size), pooled);
        self.second_store(pooled, output);
    }

    /// Means over windows, channel by channel.
    fn mean(&mut self, name: &str, (input, kernel): (TensorId, usize), output: ValueId) {
        let (from, scale) = (&self.network.tensors[input], gained_weight(kernel * kernel));
        let channels = from.channels;
        let stored =
            |scale, dimension| Stored { scales: vec![scale; channels], zeros: vec![0; channels], dimension };
        let (data, shape) = (vec![GAIN; kernel * kernel * channels], [1, kernel, kernel, channels]);
        let weight =
            Value::constant(format!("{name}/weight"), &shape, Element::Int8, data, Some(stored(scale, 3)));
        let (zeros, steps) = (vec![0; 4 * channels], stored(from.quantizer.scale * scale, 0));
        let bias = Value::constant(format!("{name}/bias"), &[channels], Element::Int32, zeros, Some(steps));
        let inputs = vec![self.stored[input], self.model.value(weight), self.model.value(bias)];
        let options =
            NodeOptions::Depthwise { padding: Padding::Valid, stride: 1, activation: Activation::None };
        self.node(Builtin::Depthwise, inputs, output, options);
    }

    /// A 1×1 convolution, because the fully connected operator rounds once where convolutions round twice.
    fn classifier(&mut self, logits: &Quantizer) {
        let layer = &self.network.classifier;
        let (channels, classes) = (self.network.tensors[layer.input].channels, self.network.classes());
        let (data, shape) = (channels_first(&layer.weights), [classes, 1, 1, channels]);
        let weight = self.weight(&layer.name, &layer.weights, &shape, data, 0);
        let bias = self.bias(&layer.name, &layer.weights, layer.input);
        let stored = || Stored { scales: vec![logits.scale], zeros: vec![0], dimension: 0 };
        let sums = Value::variable(layer.name.clone(), &[1, 1, 1, classes], Element::Int8, stored());
        let (sums, input) = (self.model.value(sums), self.stored[layer.input]);
        let (padding, activation) = (Padding::Valid, Activation::None);
        let options = NodeOptions::Convolution { padding, stride: 1, activation };
        let narrow = self.narrow(&layer.weights);
        let builtin = if narrow { Builtin::NarrowConvolution } else { Builtin::Convolution };
        self.node(builtin, vec![input, weight, bias], sums, options);
        let shape = vec![1, classes as i32];
        let target = self.model.constant_int32(format!("{}/shape", layer.name), &[2], &shape);
        let output = self.model.value(Value::variable(OUTPUT.into(), &[1, classes], Element::Int8, stored()));
        self.node(Builtin::Reshape, vec![sums, target], output, NodeOptions::Reshape(shape));
        self.model.output = output;
    }

    /// A tensor from 0 on is cut there.
    fn activation_of(&self, tensor: TensorId) -> Activation {
        if self.network.tensors[tensor].quantizer.low >= 0 { Activation::Relu } else { Activation::None }
    }

    /// Where an operation writes a tensor; a signed one is not yet cut below.
    fn first_store(&mut self, tensor: TensorId) -> ValueId {
        let tensor = &self.network.tensors[tensor];
        let (scale, high) = (tensor.quantizer.scale, tensor.quantizer.high);
        match tensor.quantizer.signed {
            true => self.activation(&format!("{}/wide", tensor.name), tensor, scale, 127 - high),
            false => self.activation(&tensor.name, tensor, scale, container_zero(tensor)),
        }
    }

    /// Cuts a signed tensor below.
    fn second_store(&mut self, first: ValueId, tensor: TensorId) {
        let described = &self.network.tensors[tensor];
        self.stored[tensor] = first;
        if described.quantizer.signed {
            let (scale, zero) = (described.quantizer.scale, container_zero(described));
            let second = self.activation(&described.name, described, scale, zero);
            self.quantize(first, second);
            self.stored[tensor] = second;
        }
    }

    fn activation(&mut self, name: &str, tensor: &Tensor, scale: f32, zero: i32) -> ValueId {
        let stored = Stored { scales: vec![scale], zeros: vec![zero.into()], dimension: 0 };
        let shape = [1, tensor.size, tensor.size, tensor.channels];
        self.model.value(Value::variable(name.into(), &shape, Element::Int8, stored))
    }

    fn quantize(&mut self, input: ValueId, output: ValueId) {
        self.node(Builtin::Quantize, vec![input], output, NodeOptions::Quantize);
    }

    fn node(&mut self, builtin: Builtin, inputs: Vec<ValueId>, output: ValueId, options: NodeOptions) {
        self.model.nodes.push(Node { builtin, inputs, output, options });
    }
}

/// Weights as their bytes hold them.
fn shifted(weights: &Weights) -> Vec<u8> {
    weights.values.iter().map(|&value| (value << weights.bias_shift) as u8).collect()
}

/// `[out][rows]` of `[rows, out]`.
fn channels_first(weights: &Weights) -> Vec<u8> {
    let (channels, values) = (weights.scales.len(), shifted(weights));
    (0..channels).flat_map(|channel| values.iter().skip(channel).step_by(channels).copied()).collect()
}

#[cfg(test)]
mod tests;
