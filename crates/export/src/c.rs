//! # Plain C99 package
//!
//! Two files that a microcontroller's or an accelerator's team can take: `network.h` and `network.c`, made of
//! `stdint.h` and `string.h` alone, with `int predict(const uint8_t *image, int8_t *logits)`.
//!
//! - Weights lie packed at their true bits, output channel by output channel, and are unpacked one channel at a time.
//! - Activations share one static arena: tensors that are never alive together overlap. Nothing is allocated, nothing
//!   recurses.
//! - Arithmetic is [`Style::FixedOnce`](crate::Style): int32 sums, 31-bit factors, no floats. The class is taken
//!   from the int32 sums, the int8 logits are for whoever wants them.
//!
//! The kernels are the fixed text of `kernels.c`; only numbers are generated, so what is compiled can be read.

use std::fmt::Write;

use sartor_space::LayerKind;

use crate::executor::answers::{ClassFactors, logit_factors};
use crate::graph::{Convolution, Operation, QuantizedNetwork, Quantizer, TensorId, Weights};
#[cfg(test)]
use crate::requantize::Style;
use crate::requantize::{Addition, FixedFactor};

mod arena;
mod check;
mod pack;

pub use check::{Compiler, verify_c};

use arena::Arena;
use pack::{pack, rows};

/// Name of the interface file.
pub const HEADER: &str = "network.h";
/// Name of the code file.
pub const CODE: &str = "network.c";

const KERNELS: &str = include_str!("c/kernels.c");
/// Kernels that a network may do without.
const OPTIONAL: [&str; 5] = ["depthwise", "requantize", "add", "max_pool", "pool"];
/// What stands for 0 in the byte of a signed activation.
const SIGNED_ZERO: i32 = 128;

/// Files with what they need on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Text of [`HEADER`].
    pub header: String,
    /// Text of [`CODE`].
    pub code: String,
    /// Bytes of weights, biases and factors, which can stay in flash; the code itself comes on top.
    pub constant_bytes: usize,
    /// Bytes of static memory; the image and the logits are the caller's.
    pub ram_bytes: usize,
}

/// The package of a network whose int8 logits are in `logits`' steps. Equal networks give equal bytes.
pub fn package(network: &QuantizedNetwork, logits: &Quantizer) -> Package {
    let mut writer =
        Writer { network, arena: Arena::plan(network), tables: String::new(), constant_bytes: 0 };
    let mut steps: Vec<String> =
        network.operations.iter().enumerate().map(|(index, step)| writer.operation(index, step)).collect();
    steps.push(writer.classifier(logits));
    let longest = longest_row(network);
    let ram_bytes = writer.arena.bytes + longest + 4 * network.classes();
    let (constant_bytes, arena) = (writer.constant_bytes, writer.arena.bytes);
    let sizes = format!(
        "#define ARENA_BYTES {}\n#define LONGEST_ROW {longest}\n#define CLASSES {}\n",
        arena.max(1),
        network.classes()
    );
    let body = format!(
        "int predict(const uint8_t *image, int8_t *logits)\n{{\n{}}}\n",
        steps.iter().map(|step| format!("    {step}\n")).collect::<String>()
    );
    let about = about(network, logits, constant_bytes, ram_bytes);
    Package {
        header: header(network, &about),
        code: format!(
            "{about}#include \"{HEADER}\"\n\n{sizes}\n{}\n{}\n{body}",
            kernels(&body),
            writer.tables
        ),
        constant_bytes,
        ram_bytes,
    }
}

/// The kernels without those that are never called, which compilers complain about.
fn kernels(body: &str) -> String {
    let unused = |block: &&str| {
        let name = block.split_once("static void ").and_then(|(_, rest)| rest.split_once('('));
        name.is_some_and(|(name, _)| OPTIONAL.contains(&name) && !body.contains(&format!(" {name}(")))
    };
    KERNELS.split("\n\n").filter(|block| !unused(block)).collect::<Vec<_>>().join("\n\n")
}

fn about(network: &QuantizedNetwork, logits: &Quantizer, constant_bytes: usize, ram_bytes: usize) -> String {
    let (image, classes) = (network.image(), network.classes());
    let (size, channels) = (image.size, image.channels);
    format!(
        "/* Integer network: {size}x{size}x{channels} bytes in (rows, columns, channels), {classes} classes out.\n \
         * Constants: {constant_bytes} bytes. Static memory: {ram_bytes} bytes. Real value of a logit: logit * {:e}. */\n",
        logits.scale
    )
}

fn header(network: &QuantizedNetwork, about: &str) -> String {
    format!(
        "{about}#ifndef NETWORK_H\n#define NETWORK_H\n\n#include <stdint.h>\n\n#define NETWORK_IMAGE_BYTES {}\n\
         #define NETWORK_CLASSES {}\n\n/* Class of an image; fills NETWORK_CLASSES logits. Not reentrant. */\n\
         int predict(const uint8_t *image, int8_t *logits);\n\n#endif\n",
        network.image().len(),
        network.classes()
    )
}

/// Most weights of one output channel.
fn longest_row(network: &QuantizedNetwork) -> usize {
    let row = |weights: &Weights| weights.values.len() / weights.scales.len();
    let convolutions = network.convolutions().map(|layer| row(&layer.weights));
    convolutions.chain([row(&network.classifier.weights)]).max().unwrap_or(0)
}

struct Writer<'a> {
    network: &'a QuantizedNetwork,
    arena: Arena,
    tables: String,
    constant_bytes: usize,
}

impl Writer<'_> {
    /// Tables of an operation into `tables`; gives its call.
    fn operation(&mut self, index: usize, operation: &Operation) -> String {
        match operation {
            Operation::Convolution(layer) => self.convolution(index, layer),
            Operation::Requantize { input, output, .. } => {
                let (from, to) = (self.quantizer(*input), self.quantizer(*output));
                let factor = FixedFactor::between(&from, &to);
                let call = format!(
                    "requantize({}, {}, {}, {}",
                    self.pointer(*input),
                    self.pointer(*output),
                    self.network.tensors[*output].len(),
                    zero(&from)
                );
                format!("{call}, {}, {});", fixed(factor), limits(&to))
            }
            Operation::Add { left, right, output, .. } => self.add((*left, *right), *output),
            Operation::MaxPool { kernel, stride, padding, input, output, .. } => {
                let (from, to) = (&self.network.tensors[*input], &self.network.tensors[*output]);
                format!(
                    "max_pool({}, {}, {}, {}, {}, {kernel}, {stride}, {padding});",
                    self.pointer(*input),
                    self.pointer(*output),
                    from.size,
                    to.size,
                    from.channels
                )
            }
            Operation::Pool { input, output, .. } => self.pool(*input, *output),
        }
    }

    fn convolution(&mut self, index: usize, layer: &Convolution) -> String {
        let (input, output) = (&self.network.tensors[layer.input], &self.network.tensors[layer.output]);
        let depthwise = layer.kind == LayerKind::Depthwise;
        let factor = |weight: f32| FixedFactor::of_sum(input.quantizer.scale, weight, output.quantizer.scale);
        let factors: Vec<FixedFactor> = layer.weights.sum_scales().into_iter().map(factor).collect();
        let table = format!("layer{index}");
        let geometry = format!(
            "{}, {}, {}, {}, {}, {}, {}, {}",
            layer.kernel,
            layer.stride,
            layer.padding,
            input.size,
            input.channels,
            zero(&input.quantizer),
            output.size,
            output.channels
        );
        self.weights(&table, &layer.name, &layer.weights, &factors);
        let _ = writeln!(
            self.tables,
            "static const Convolution {table} = {{ {}, {geometry}, {} }};\n",
            fields(&table, &layer.weights),
            limits(&output.quantizer)
        );
        let kernel = if depthwise { "depthwise" } else { "convolution" };
        format!("{kernel}(&{table}, {}, {});", self.pointer(layer.input), self.pointer(layer.output))
    }

    /// Packed weights, biases and factors as static tables.
    fn weights(&mut self, table: &str, name: &str, weights: &Weights, factors: &[FixedFactor]) {
        let packed = pack(&rows(weights), weights.bits);
        self.constant_bytes += packed.len() + 9 * weights.bias.len();
        let _ = writeln!(self.tables, "/* {name}: {}-bit weights */", weights.bits);
        let multipliers: Vec<i32> = factors.iter().map(|factor| factor.multiplier).collect();
        let shifts: Vec<i32> = factors.iter().map(|factor| factor.shift).collect();
        self.array("uint8_t", &format!("{table}_weights"), &packed);
        self.array("int32_t", &format!("{table}_bias"), &weights.bias);
        self.array("int32_t", &format!("{table}_multipliers"), &multipliers);
        self.array("int8_t", &format!("{table}_shifts"), &shifts);
    }

    fn array<T: ToString>(&mut self, kind: &str, name: &str, values: &[T]) {
        let _ = writeln!(self.tables, "static const {kind} {name}[{}] = {{", values.len());
        for line in values.chunks(16) {
            let line: Vec<String> = line.iter().map(T::to_string).collect();
            let _ = writeln!(self.tables, "    {},", line.join(", "));
        }
        self.tables.push_str("};\n");
    }

    fn add(&self, (left, right): (TensorId, TensorId), output: TensorId) -> String {
        let (a, b, to) = (self.quantizer(left), self.quantizer(right), self.quantizer(output));
        let Addition { left: first, right: second, back } = Addition::new(a.scale, b.scale, to.scale);
        format!(
            "add({}, {}, {}, {}, {}, {}, {}, {});",
            self.pointer(left),
            self.pointer(right),
            self.pointer(output),
            self.network.tensors[output].len(),
            fixed(first),
            fixed(second),
            fixed(back),
            limits(&to)
        )
    }

    fn pool(&self, input: TensorId, output: TensorId) -> String {
        let (from, to) = (&self.network.tensors[input], &self.network.tensors[output]);
        let pixels = from.size * from.size;
        let factor = FixedFactor::of_mean(from.quantizer.scale, pixels, to.quantizer.scale);
        format!(
            "pool({}, {}, {pixels}, {}, {}, {}, {});",
            self.pointer(input),
            self.pointer(output),
            from.channels,
            zero(&from.quantizer),
            fixed(factor),
            limits(&to.quantizer)
        )
    }

    fn classifier(&mut self, logits: &Quantizer) -> String {
        let layer = &self.network.classifier;
        let steps: Vec<f32> = self.network.logit_steps().collect();
        let factors = logit_factors(self.network, logits);
        let classes = ClassFactors::new(&steps);
        self.weights("classes", &layer.name, &layer.weights, &factors);
        self.constant_bytes += 4 * steps.len();
        self.array("int32_t", "classes_steps", classes.factors());
        let _ = writeln!(
            self.tables,
            "static const Classifier classes = {{ {}, classes_steps, {}, {} }};\n",
            fields("classes", &layer.weights),
            self.network.tensors[layer.input].channels,
            zero(&self.quantizer(layer.input))
        );
        format!("return classify(&classes, {}, logits);", self.pointer(layer.input))
    }

    fn quantizer(&self, tensor: TensorId) -> Quantizer {
        self.network.tensors[tensor].quantizer
    }

    /// Where a tensor lies.
    fn pointer(&self, tensor: TensorId) -> String {
        match self.arena.offsets[tensor] {
            None => "image".to_string(),
            Some(offset) => format!("arena + {offset}"),
        }
    }
}

/// The fields that convolutions and the classifier share.
fn fields(table: &str, weights: &Weights) -> String {
    format!(
        "{table}_weights, {table}_bias, {table}_multipliers, {table}_shifts, {}, {}",
        weights.bits, weights.bias_shift
    )
}

fn fixed(factor: FixedFactor) -> String {
    format!("{}, {}", factor.multiplier, factor.shift)
}

/// The byte that stands for 0.
fn zero(quantizer: &Quantizer) -> i32 {
    if quantizer.signed { SIGNED_ZERO } else { quantizer.zero_point }
}

/// Zero and limits of the bytes written.
fn limits(quantizer: &Quantizer) -> String {
    let zero = zero(quantizer);
    format!("{zero}, {}, {}", quantizer.low, quantizer.high)
}

#[cfg(test)]
mod tests;
