//! # From a trained model and its workload to the integer graph
//!
//! Quantization points (EMS, section 4; what an integer machine needs is added):
//! - image: the pixel itself, padding is real 0;
//! - a convolution's input at the layer's activation bits: unsigned after ReLU6, signed after a linear layer;
//! - a linear layer's output: signed 8-bit; with a residual, the sum with the block's stored input is signed 8-bit too;
//!   the consumer's quantizer is applied on top when it loads, as in training;
//! - the last convolution's output and the pooled features: unsigned 8-bit;
//! - classifier: 8-bit weights per class, int32 sums.

use sartor_space::{Layer, LayerKind, Role, Workload};

use crate::error::{ExportError, Result};
use crate::fold::{Norm, fold};
use crate::graph::{
    Classifier, Convolution, Operation, QuantizedNetwork, Quantizer, Tensor, TensorId, Weights,
};
use crate::trained::TrainedModel;

/// Width of the stream between blocks, of residual sums, of the last convolution's output and of pooled features.
const STREAM_BITS: u8 = 8;
/// Where ReLU6 ends.
const RELU_CEILING: f32 = 6.0;
/// Smallest activation range; training treats smaller ones as this.
const MINIMUM_RANGE: f32 = 1e-4;

impl QuantizedNetwork {
    /// Folds, quantizes and checks; errors name layer, key, expected and got.
    pub fn build(model: &TrainedModel, workload: &Workload) -> Result<Self> {
        let (classifier, layers) = split_classifier(workload)?;
        let mut builder = Builder::new(model, layers)?;
        for index in 0..layers.len() {
            builder.layer(layers, index)?;
        }
        builder.pool(classifier)?;
        builder.finish(classifier)
    }
}

fn split_classifier(workload: &Workload) -> Result<(&Layer, &[Layer])> {
    match workload.layers.split_last() {
        Some((last, layers)) if last.role == Role::Classifier && !layers.is_empty() => Ok((last, layers)),
        last => Err(structure(
            last.map_or("(none)", |(layer, _)| &layer.name),
            "last layer",
            last.map_or("missing".to_string(), |(layer, _)| format!("{:?}", layer.role)),
            "a classifier after at least one convolution",
        )),
    }
}

fn structure(layer: &str, field: &'static str, got: impl ToString, expected: impl ToString) -> ExportError {
    ExportError::Structure {
        layer: layer.to_string(),
        field,
        got: got.to_string(),
        expected: expected.to_string(),
    }
}

/// Adds tensors and operations while it follows the stream.
struct Builder<'a> {
    model: &'a TrainedModel,
    tensors: Vec<Tensor>,
    operations: Vec<Operation>,
    /// What the next layer reads.
    stream: TensorId,
    /// The searched block in progress and the stream it read.
    block_input: Option<(usize, TensorId)>,
}

impl<'a> Builder<'a> {
    fn new(model: &'a TrainedModel, layers: &[Layer]) -> Result<Self> {
        let first = &layers[0];
        let zero_point = model.array("image", "zero_point", &[1])?[0];
        if zero_point.fract() != 0.0 || !(0.0..=255.0).contains(&zero_point) {
            let (layer, key) = ("image".to_string(), "image.zero_point".to_string());
            return Err(ExportError::Value {
                layer,
                key,
                index: 0,
                got: zero_point,
                expected: "an integer 0 to 255",
            });
        }
        let quantizer = Quantizer::image(zero_point as u8, model.positive("image", "scale", &[1])?[0]);
        let image =
            Tensor { name: "image".into(), size: first.input_size, channels: first.in_channels, quantizer };
        Ok(Self { model, tensors: vec![image], operations: vec![], stream: 0, block_input: None })
    }

    fn layer(&mut self, layers: &[Layer], index: usize) -> Result<()> {
        let layer = &layers[index];
        self.check(layer)?;
        if let Role::Expand { block } = layer.role {
            self.block_input = Some((block, self.stream));
        }
        self.load(layer)?;
        let quantizer = self.output_quantizer(layer, layers.get(index + 1))?;
        self.convolution(layer, quantizer)?;
        if layer.residual { self.add(layer) } else { Ok(()) }
    }

    /// Shapes must follow from the stream, bits must be those of an integer kernel.
    fn check(&self, layer: &Layer) -> Result<()> {
        let stream = &self.tensors[self.stream];
        let shape = (layer.in_channels, layer.input_size);
        if shape != (stream.channels, stream.size) {
            let (got, expected) = (format!("{shape:?}"), format!("{:?}", (stream.channels, stream.size)));
            return Err(structure(&layer.name, "input (channels, size)", got, expected));
        }
        check_bits(layer)?;
        check_geometry(layer)
    }

    /// A signed stream is brought to the consumer's own quantizer.
    fn load(&mut self, layer: &Layer) -> Result<()> {
        if self.stream == 0 || !self.tensors[self.stream].quantizer.signed {
            return Ok(());
        }
        let quantizer = Quantizer::signed(layer.activation_bits, self.range(&layer.name, "input_range")?);
        let Tensor { size, channels, .. } = self.tensors[self.stream];
        let name = layer.name.clone();
        let output = self.tensor(format!("{name}/input"), (size, channels), quantizer);
        self.operations.push(Operation::Requantize { name, input: self.stream, output });
        self.stream = output;
        Ok(())
    }

    fn output_quantizer(&self, layer: &Layer, next: Option<&Layer>) -> Result<Quantizer> {
        match next {
            _ if !layer.relu => Ok(Quantizer::signed(STREAM_BITS, self.range(&layer.name, "output_range")?)),
            Some(next) => {
                let range = self.range(&next.name, "input_range")?;
                Ok(Quantizer::unsigned_below(next.activation_bits, range, RELU_CEILING))
            }
            None => {
                let range = self.range("head_input", "range")?;
                Ok(Quantizer::unsigned_below(STREAM_BITS, range, RELU_CEILING))
            }
        }
    }

    fn convolution(&mut self, layer: &Layer, quantizer: Quantizer) -> Result<()> {
        let weights = self.weights(layer)?;
        let output = self.tensor(layer.name.clone(), (layer.output_size(), layer.out_channels), quantizer);
        let input = std::mem::replace(&mut self.stream, output);
        self.operations.push(Operation::Convolution(Convolution {
            name: layer.name.clone(),
            kind: layer.kind(),
            kernel: layer.kernel,
            stride: layer.stride,
            padding: layer.padding,
            weights,
            input,
            output,
        }));
        Ok(())
    }

    fn weights(&self, layer: &Layer) -> Result<Weights> {
        let (name, channels) = (&layer.name, [layer.out_channels]);
        let rows = match layer.kind() {
            LayerKind::Depthwise => layer.kernel * layer.kernel,
            _ => layer.kernel * layer.kernel * layer.in_channels,
        };
        let values = self.model.array(name, "weight", &[rows, layer.out_channels])?;
        let thresholds = self.model.positive(name, "weight_threshold", &channels)?;
        let norm = |field| self.model.array(name, field, &channels);
        let (gamma, beta, mean, variance) = (norm("gamma")?, norm("beta")?, norm("mean")?, norm("variance")?);
        check_variance(name, variance)?;
        let affine = |channel: usize| {
            let (gamma, beta) = (gamma[channel], beta[channel]);
            Norm { gamma, beta, mean: mean[channel], variance: variance[channel] }.factor_and_shift()
        };
        fold(name, (values, thresholds, layer.weight_bits), affine, self.input_range())
    }

    /// Scale and largest magnitude of what the next layer reads.
    fn input_range(&self) -> (f32, i32) {
        let quantizer = self.tensors[self.stream].quantizer;
        let magnitude = (quantizer.high - quantizer.zero_point).max(quantizer.zero_point - quantizer.low);
        (quantizer.scale, magnitude)
    }

    fn add(&mut self, layer: &Layer) -> Result<()> {
        let block = match layer.role {
            Role::Project { block } => Some(block),
            _ => None,
        };
        let Some((_, right)) = self.block_input.filter(|(open, _)| Some(*open) == block) else {
            return Err(structure(
                &layer.name,
                "residual",
                "without its block's expand layer",
                "expand before project",
            ));
        };
        let (from, to) = (&self.tensors[right], &self.tensors[self.stream]);
        if !from.quantizer.signed || (from.size, from.channels) != (to.size, to.channels) {
            let got = format!(
                "{} of {}×{}², signed: {}",
                from.name, from.channels, from.size, from.quantizer.signed
            );
            let expected = format!("a linear output of {}×{}²", to.channels, to.size);
            return Err(structure(&layer.name, "residual source", got, expected));
        }
        let (name, shape) = (layer.name.clone(), (to.size, to.channels));
        let quantizer = Quantizer::signed(STREAM_BITS, self.range(&name, "sum_range")?);
        let output = self.tensor(format!("{name}/sum"), shape, quantizer);
        let left = std::mem::replace(&mut self.stream, output);
        self.operations.push(Operation::Add { name, left, right, output });
        Ok(())
    }

    fn pool(&mut self, classifier: &Layer) -> Result<()> {
        let Tensor { channels, .. } = self.tensors[self.stream];
        if self.tensors[self.stream].quantizer.signed {
            return Err(structure(&classifier.name, "pooled layer", "linear", "a layer with ReLU6"));
        }
        if channels != classifier.in_channels {
            return Err(structure(&classifier.name, "in_channels", classifier.in_channels, channels));
        }
        let quantizer = Quantizer::unsigned(STREAM_BITS, self.range("pooled", "range")?);
        let output = self.tensor("pooled".into(), (1, channels), quantizer);
        let input = std::mem::replace(&mut self.stream, output);
        self.operations.push(Operation::Pool { name: "pool".into(), input, output });
        Ok(())
    }

    fn finish(self, layer: &Layer) -> Result<QuantizedNetwork> {
        check_bits(layer)?;
        let (name, classes) = (layer.name.clone(), layer.out_channels);
        let values = self.model.array(&name, "weight", &[layer.in_channels, classes])?;
        let thresholds = self.model.positive(&name, "weight_threshold", &[classes])?;
        let bias = self.model.array(&name, "bias", &[classes])?;
        let affine = |class: usize| (1.0, f64::from(bias[class]));
        let weights = fold(&name, (values, thresholds, layer.weight_bits), affine, self.input_range())?;
        let classifier = Classifier { name, weights, input: self.stream };
        Ok(QuantizedNetwork { tensors: self.tensors, operations: self.operations, classifier })
    }

    fn range(&self, layer: &str, field: &str) -> Result<f32> {
        Ok(self.model.array(layer, field, &[1])?[0].max(MINIMUM_RANGE))
    }

    fn tensor(&mut self, name: String, (size, channels): (usize, usize), quantizer: Quantizer) -> TensorId {
        self.tensors.push(Tensor { name, size, channels, quantizer });
        self.tensors.len() - 1
    }
}

fn check_bits(layer: &Layer) -> Result<()> {
    let fields = [("weight_bits", layer.weight_bits, 2), ("activation_bits", layer.activation_bits, 2)];
    match fields.into_iter().find(|&(_, got, least)| got < least || got > 8) {
        None => Ok(()),
        Some((field, got, _)) => {
            Err(ExportError::Bits { layer: layer.name.clone(), field, got, expected: "2 to 8" })
        }
    }
}

fn check_geometry(layer: &Layer) -> Result<()> {
    let name = &layer.name;
    let padded = layer.input_size + 2 * layer.padding;
    if layer.kernel == 0 || layer.stride == 0 || layer.kernel > padded || layer.padding >= layer.kernel {
        let got = format!("kernel {}, stride {}, padding {}", layer.kernel, layer.stride, layer.padding);
        return Err(structure(name, "geometry", got, format!("a kernel that fits {padded} padded pixels")));
    }
    let depthwise = layer.groups == layer.in_channels && layer.in_channels == layer.out_channels;
    if layer.groups != 1 && !depthwise {
        return Err(structure(name, "groups", layer.groups, "1, or one per channel"));
    }
    if layer.in_channels == 0 || layer.out_channels == 0 {
        return Err(structure(name, "channels", 0, "at least 1"));
    }
    Ok(())
}

fn check_variance(layer: &str, variance: &[f32]) -> Result<()> {
    match variance.iter().position(|&value| value < 0.0) {
        None => Ok(()),
        Some(index) => Err(ExportError::Value {
            layer: layer.to_string(),
            key: format!("{layer}.variance"),
            index,
            got: variance[index],
            expected: "at least 0",
        }),
    }
}
