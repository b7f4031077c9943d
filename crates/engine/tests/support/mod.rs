//! Builds small networks and their numbers for the tests.
#![allow(dead_code, missing_docs)]

use sartor_engine::*;
use std::sync::Arc;

/// A small deterministic generator of values around zero.
pub struct Noise(pub u64);

impl Noise {
    pub fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            sum += (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * 1.7
    }

    pub fn fill(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.next()).collect()
    }
}

/// Grows a network layer by layer, with the parameters that belong to it.
pub struct Builder {
    pub network: Network,
    pub parameters: Vec<f32>,
    noise: Noise,
    channels: usize,
    size: usize,
}

impl Builder {
    pub fn new(size: usize, channels: usize) -> Self {
        let head = Head {
            input: 0,
            features: 0,
            classes: 0,
            weight: WeightView { offset: 0, row_stride: 0 },
            bias_offset: 0,
            input_quantizer: None,
            pooled_quantizer: None,
            weight_quantizer: None,
        };
        let network = Network { image_size: size, image_channels: channels, layers: vec![], head };
        // The first few parameters belong to nobody, so that offset mistakes show.
        Self { network, parameters: vec![0.25; 3], noise: Noise(42), channels, size }
    }

    fn take(&mut self, length: usize, scale: f32, around: f32) -> usize {
        let offset = self.parameters.len();
        let values = self.noise.fill(length);
        self.parameters.extend(values.iter().map(|v| v * scale + around));
        offset
    }

    fn view(&mut self, rows: usize, columns: usize, fan: usize) -> WeightView {
        let row_stride = columns + 3;
        let offset = self.take(rows * row_stride, (2.0 / fan as f32).sqrt(), 0.0);
        WeightView { offset, row_stride }
    }

    pub fn layer(
        &mut self,
        convolution: Convolution,
        out_channels: usize,
        activation: Activation,
    ) -> &mut Layer {
        let index = self.network.layers.len();
        let mut layer = Layer {
            name: format!("layer{index}"),
            convolution,
            in_channels: self.channels,
            out_channels,
            input_size: self.size,
            weight: WeightView { offset: 0, row_stride: 0 },
            kernel_transform: None,
            weight_quantizer: None,
            gamma_offset: self.take(out_channels, 0.2, 1.0),
            beta_offset: self.take(out_channels, 0.3, 0.2),
            activation,
            input: if index == 0 { Source::Image } else { Source::Layer(index - 1) },
            input_quantizer: None,
            output_quantizer: None,
            residual: None,
            sum_quantizer: None,
        };
        layer.weight = self.view(layer.weight_rows(), out_channels, layer.weight_rows());
        (self.channels, self.size) = (out_channels, layer.output_size());
        self.network.layers.push(layer);
        self.network.layers.last_mut().unwrap()
    }

    pub fn stem(&mut self, out: usize, kernel: usize, stride: usize) -> &mut Self {
        self.layer(Convolution::Dense { kernel, stride }, out, Activation::Relu6);
        self
    }

    /// Expansion, depthwise, projection; residual where shapes allow.
    pub fn block(&mut self, middle: usize, out: usize, kernel: usize, stride: usize) -> &mut Self {
        let from = self.network.layers.len() - 1;
        let linear = self.network.layers[from].activation == Activation::Linear;
        let same = linear && stride == 1 && self.channels == out;
        self.layer(Convolution::Pointwise, middle, Activation::Relu6);
        self.layer(Convolution::Depthwise { kernel, stride }, middle, Activation::Relu6);
        self.layer(Convolution::Pointwise, out, Activation::Linear).residual = same.then_some(from);
        self
    }

    /// Stores the last depthwise kernel at `stored` and reaches its size through learned matrices.
    pub fn elastic(&mut self, stored: usize, sizes: &[usize]) -> &mut Self {
        let at =
            self.network.layers.iter().rposition(|l| matches!(l.convolution, Convolution::Depthwise { .. }));
        let at = at.unwrap();
        let steps = sizes.iter().map(|&kernel| {
            let matrix_offset = self.take(kernel.pow(4), 0.1, 0.0);
            for i in 0..kernel * kernel {
                self.parameters[matrix_offset + i * (kernel * kernel + 1)] += 1.0;
            }
            TransformStep { kernel, matrix_offset }
        });
        let steps = steps.collect();
        let channels = self.network.layers[at].out_channels;
        self.network.layers[at].kernel_transform = Some(KernelTransform { stored, steps });
        self.network.layers[at].weight = self.view(stored * stored, channels, stored * stored);
        self
    }

    pub fn head(&mut self, classes: usize) -> &mut Self {
        let weight = self.view(self.channels, classes, self.channels);
        let bias_offset = self.take(classes, 0.1, 0.0);
        let head = &mut self.network.head;
        (head.input, head.features, head.classes) = (self.network.layers.len() - 1, self.channels, classes);
        (head.weight, head.bias_offset) = (weight, bias_offset);
        self
    }

    fn range(&mut self, bits: u8, signed: bool, range: f32) -> Option<ActivationQuantizer> {
        let range_offset = self.take(1, 0.0, range);
        Some(ActivationQuantizer { bits, signed, range_offset, rivals: None })
    }

    /// Puts every quantizer there can be on the network, with ranges small enough to saturate.
    pub fn quantize(&mut self, weight_bits: u8, activation_bits: u8) -> &mut Self {
        for index in 0..self.network.layers.len() {
            let after_linear = index == 0 || self.network.layers[index - 1].activation == Activation::Linear;
            let input = self.range(activation_bits, after_linear, 1.4);
            let (output, sum) =
                (self.range(activation_bits, true, 1.3), self.range(activation_bits, true, 1.7));
            let layer = &mut self.network.layers[index];
            layer.input_quantizer = input;
            layer.weight_quantizer = Some(thresholds(weight_bits, layer.out_channels));
            if layer.activation == Activation::Linear {
                (layer.output_quantizer, layer.sum_quantizer) = (output, sum);
            }
        }
        let signed = self.network.layers.last().unwrap().activation == Activation::Linear;
        self.network.head.input_quantizer = self.range(activation_bits, signed, 1.2);
        self.network.head.pooled_quantizer = self.range(activation_bits, signed, 0.6);
        self.network.head.weight_quantizer = Some(thresholds(weight_bits, self.network.head.classes));
        self
    }

    /// Lets other widths compete at every layer's input.
    pub fn contest(&mut self) -> &mut Self {
        for index in 0..self.network.layers.len() {
            let range_offset = self.take(3, 0.1, 1.3);
            let gradient_offset = self.take(3, 0.0, 0.0);
            let Some(quantizer) = &mut self.network.layers[index].input_quantizer else { continue };
            let bits = [16, 14, 15, 0];
            quantizer.rivals = Some(Rivals { count: 3, bits, range_offset, gradient_offset });
        }
        self
    }

    pub fn images(&self, batch: usize) -> Vec<f32> {
        Noise(7).fill(self.network.image_length() * batch)
    }
}

fn thresholds(bits: u8, channels: usize) -> WeightQuantizer {
    let thresholds: Arc<[f32]> = (0..channels).map(|c| 0.4 + 0.1 * (c % 5) as f32).collect();
    WeightQuantizer { bits, thresholds }
}

/// Networks that between them use every feature, odd sizes and channel counts included.
pub fn zoo() -> Vec<(&'static str, Builder, usize)> {
    let mut all: Vec<(&'static str, Builder, usize)> = vec![];
    let mut add = |name, size, channels, batch, build: &dyn Fn(&mut Builder)| {
        let mut builder = Builder::new(size, channels);
        build(&mut builder);
        all.push((name, builder, batch));
    };
    add("stem only", 5, 3, 3, &|b| {
        b.stem(4, 3, 2).head(3);
    });
    add("one pixel", 1, 1, 4, &|b| {
        b.stem(5, 3, 1).block(7, 3, 5, 2).block(6, 3, 3, 1).head(2);
    });
    add("residual chain", 6, 3, 2, &|b| {
        b.stem(4, 3, 1).block(9, 5, 3, 1).block(8, 5, 5, 1).block(8, 5, 3, 1).head(3);
    });
    add("odd sizes and strides", 9, 2, 2, &|b| {
        b.stem(6, 5, 2).block(17, 5, 7, 2).block(20, 4, 3, 2).head(4);
    });
    add("wide", 8, 3, 3, &|b| {
        b.stem(16, 3, 1).block(70, 24, 5, 1).block(49, 24, 7, 1).layer(
            Convolution::Pointwise,
            33,
            Activation::Relu6,
        );
        b.head(10);
    });
    add("elastic kernels", 7, 3, 2, &|b| {
        b.stem(4, 3, 1).block(6, 4, 5, 1).elastic(7, &[5]).block(5, 4, 3, 1).elastic(7, &[5, 3]);
        b.block(5, 3, 3, 2).elastic(5, &[3]).head(3);
    });
    add("dense inside", 7, 3, 2, &|b| {
        b.stem(4, 3, 1).layer(Convolution::Dense { kernel: 3, stride: 2 }, 6, Activation::Linear);
        b.layer(Convolution::Dense { kernel: 5, stride: 1 }, 5, Activation::Relu6);
        b.head(3);
    });
    add("depthwise first", 6, 5, 2, &|b| {
        b.layer(Convolution::Depthwise { kernel: 3, stride: 1 }, 5, Activation::Relu6);
        b.layer(Convolution::Pointwise, 4, Activation::Linear);
        b.head(3);
    });
    add("many images", 4, 3, 37, &|b| {
        b.stem(5, 3, 1).block(18, 6, 3, 1).block(18, 6, 3, 1).head(3);
    });
    all
}
