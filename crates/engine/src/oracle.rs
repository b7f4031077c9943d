//! # Oracle
//!
//! The whole engine once more in plain `f64` loops: no fusion, no SIMD, no threads. It is what the fast executor is
//! tested against, and what finite differences are taken of. Equations: see [`crate::network`].
//!
//! With `rounding` off, fake quantization only clamps. Straight-through gradients are the exact derivatives of that
//! function, so finite differences can check them too.

use crate::network::{
    Activation, ActivationQuantizer, Convolution, EPSILON, KernelTransform, Layer, MINIMUM_RANGE, Network,
    NormStatistics, WeightQuantizer, WeightView,
};

/// A network with its numbers in `f64`.
#[derive(Clone, Debug)]
pub struct Oracle<'a> {
    /// The network; it must have passed [`Network::check`].
    pub network: &'a Network,
    /// The parameters.
    pub parameters: Vec<f64>,
    /// Whether fake quantization rounds (or only clamps).
    pub rounding: bool,
}

/// Everything the forward pass computed in one layer.
#[derive(Clone, Debug, Default)]
pub struct LayerTape {
    /// What was loaded, before the input quantizer.
    pub loaded: Vec<f64>,
    /// After the input quantizer.
    pub input: Vec<f64>,
    /// The stored kernel, and the kernel after each transform step.
    pub kernels: Vec<Vec<f64>>,
    /// The weights convolved with.
    pub weight: Vec<f64>,
    /// Convolution output.
    pub convolved: Vec<f64>,
    /// Mean per channel.
    pub mean: Vec<f64>,
    /// Variance per channel.
    pub variance: Vec<f64>,
    /// After the norm.
    pub normalised: Vec<f64>,
    /// After output quantizer and residual.
    pub sum: Vec<f64>,
    /// Final output.
    pub output: Vec<f64>,
}

/// Everything the forward pass computed.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// Images in the batch.
    pub batch: usize,
    /// Per layer.
    pub layers: Vec<LayerTape>,
    /// The last output after the head's input quantizer.
    pub head_input: Vec<f64>,
    /// Pooled, before the quantizer.
    pub pooled: Vec<f64>,
    /// Pooled, after the quantizer.
    pub features: Vec<f64>,
    /// Head weights as used.
    pub head_weight: Vec<f64>,
    /// `[batch × classes]`.
    pub logits: Vec<f64>,
}

impl<'a> Oracle<'a> {
    /// An oracle that rounds as the engine does.
    pub fn new(network: &'a Network, parameters: &[f32]) -> Self {
        Self { network, parameters: parameters.iter().map(|&v| f64::from(v)).collect(), rounding: true }
    }

    /// Forward pass with batch statistics, or with the given ones.
    pub fn forward(&self, images: &[f32], batch: usize, statistics: Option<&[NormStatistics]>) -> Tape {
        let mut tape = Tape { batch, ..Tape::default() };
        let image: Vec<f64> = images.iter().map(|&v| f64::from(v)).collect();
        for (index, layer) in self.network.layers.iter().enumerate() {
            let loaded = tape.layers.last().map_or(&image, |previous| &previous.output).clone();
            let given = statistics.map(|all| &all[index]);
            let entry = self.layer_forward(layer, loaded, given, &tape);
            tape.layers.push(entry);
        }
        self.head_forward(&mut tape);
        tape
    }

    fn layer_forward(
        &self,
        layer: &Layer,
        loaded: Vec<f64>,
        given: Option<&NormStatistics>,
        tape: &Tape,
    ) -> LayerTape {
        let input = self.quantize_all(layer.input_quantizer, &loaded);
        let kernels = self.kernels(layer);
        let weight = self.quantize_weights(
            layer.weight_quantizer.as_ref(),
            &kernels[kernels.len() - 1],
            layer.out_channels,
        );
        let convolved = convolve(layer, tape.batch, &input, &weight);
        let channels = layer.out_channels;
        let (mean, variance) = given.map_or_else(|| moments(&convolved, channels), statistics_to_f64);
        let normalised = self.normalise(layer, &convolved, &mean, &variance);
        let mut entry = LayerTape {
            loaded,
            input,
            kernels,
            weight,
            convolved,
            mean,
            variance,
            normalised,
            ..<_>::default()
        };
        self.finish_forward(layer, &mut entry, tape);
        entry
    }

    fn normalise(&self, layer: &Layer, y: &[f64], mean: &[f64], variance: &[f64]) -> Vec<f64> {
        let (gamma, beta) = (&self.parameters[layer.gamma_offset..], &self.parameters[layer.beta_offset..]);
        let channel = |i: usize| i % layer.out_channels;
        let norm = |(i, &v): (usize, &f64)| {
            let c = channel(i);
            gamma[c] * (v - mean[c]) / (variance[c] + f64::from(EPSILON)).sqrt() + beta[c]
        };
        y.iter().enumerate().map(norm).collect()
    }

    fn finish_forward(&self, layer: &Layer, entry: &mut LayerTape, tape: &Tape) {
        if layer.activation == Activation::Relu6 {
            entry.output = entry.normalised.iter().map(|z| z.clamp(0.0, 6.0)).collect();
            return;
        }
        entry.sum = self.quantize_all(layer.output_quantizer, &entry.normalised);
        if let Some(source) = layer.residual {
            entry.sum.iter_mut().zip(&tape.layers[source].output).for_each(|(s, r)| *s += r);
        }
        entry.output = self.quantize_all(layer.sum_quantizer, &entry.sum);
    }

    fn head_forward(&self, tape: &mut Tape) {
        let head = &self.network.head;
        let output = tape.layers.last().map_or(&[][..], |entry| &entry.output);
        tape.head_input = self.quantize_all(head.input_quantizer, output);
        let pixels = tape.head_input.len() / (tape.batch * head.features);
        tape.pooled = vec![0.0; tape.batch * head.features];
        for (i, v) in tape.head_input.iter().enumerate() {
            let (image, channel) = (i / (pixels * head.features), i % head.features);
            tape.pooled[image * head.features + channel] += v / pixels as f64;
        }
        tape.features = self.quantize_all(head.pooled_quantizer, &tape.pooled);
        let raw = self.matrix(head.weight, head.features, head.classes);
        tape.head_weight = self.quantize_weights(head.weight_quantizer.as_ref(), &raw, head.classes);
        tape.logits = product(&tape.features, &tape.head_weight, tape.batch, head.features, head.classes);
        for (i, v) in tape.logits.iter_mut().enumerate() {
            *v += self.parameters[head.bias_offset + i % head.classes];
        }
    }

    /// Gradient of the parameters, given the gradient of the logits. The tape must come from batch statistics.
    pub fn backward(&self, tape: &Tape, logits_gradient: &[f64]) -> Vec<f64> {
        let mut gradients = vec![0.0; self.parameters.len()];
        let mut outputs: Vec<Vec<f64>> =
            tape.layers.iter().map(|entry| vec![0.0; entry.output.len()]).collect();
        let last = tape.layers.len() - 1;
        outputs[last] = self.head_backward(tape, logits_gradient, &mut gradients);
        for index in (0..tape.layers.len()).rev() {
            let gradient = std::mem::take(&mut outputs[index]);
            let into = self.layer_backward(index, tape, gradient, &mut outputs, &mut gradients);
            if index > 0 {
                outputs[index - 1].iter_mut().zip(&into).for_each(|(a, b)| *a += b);
            }
        }
        gradients
    }

    fn head_backward(&self, tape: &Tape, logits_gradient: &[f64], gradients: &mut [f64]) -> Vec<f64> {
        let head = &self.network.head;
        let (batch, features, classes) = (tape.batch, head.features, head.classes);
        for (i, g) in logits_gradient.iter().enumerate() {
            gradients[head.bias_offset + i % classes] += g;
        }
        let weight_gradient = transposed_product(&tape.features, logits_gradient, batch, features, classes);
        let raw = self.matrix(head.weight, features, classes);
        self.weight_backward(
            head.weight_quantizer.as_ref(),
            &raw,
            weight_gradient,
            head.weight,
            classes,
            gradients,
        );
        let cell = |i: usize| {
            let (image, row) = (i / features, i % features);
            (0..classes)
                .map(|c| logits_gradient[image * classes + c] * tape.head_weight[row * classes + c])
                .sum()
        };
        let mut pooled: Vec<f64> = (0..batch * features).map(cell).collect();
        self.quantizer_backward(head.pooled_quantizer, &tape.pooled, &mut pooled, gradients);
        let pixels = tape.head_input.len() / (batch * features);
        let spread = |i: usize| pooled[i / (pixels * features) * features + i % features] / pixels as f64;
        let mut gradient: Vec<f64> = (0..tape.head_input.len()).map(spread).collect();
        let output = &tape.layers[head.input].output;
        self.quantizer_backward(head.input_quantizer, output, &mut gradient, gradients);
        gradient
    }

    fn layer_backward(
        &self,
        index: usize,
        tape: &Tape,
        mut gradient: Vec<f64>,
        outputs: &mut [Vec<f64>],
        gradients: &mut [f64],
    ) -> Vec<f64> {
        let (layer, entry) = (&self.network.layers[index], &tape.layers[index]);
        if layer.activation == Activation::Relu6 {
            let inside = |z: f64| z > 0.0 && z < 6.0;
            gradient
                .iter_mut()
                .zip(&entry.normalised)
                .for_each(|(g, &z)| *g *= f64::from(u8::from(inside(z))));
        } else {
            self.quantizer_backward(layer.sum_quantizer, &entry.sum, &mut gradient, gradients);
            if let Some(source) = layer.residual {
                outputs[source].iter_mut().zip(&gradient).for_each(|(a, b)| *a += b);
            }
            self.quantizer_backward(layer.output_quantizer, &entry.normalised, &mut gradient, gradients);
        }
        self.norm_backward(layer, entry, &mut gradient, gradients);
        let (weight_gradient, mut into) = convolve_backward(layer, tape.batch, entry, &gradient);
        self.kernel_backward(layer, entry, weight_gradient, gradients);
        self.quantizer_backward(layer.input_quantizer, &entry.loaded, &mut into, gradients);
        into
    }

    fn norm_backward(&self, layer: &Layer, entry: &LayerTape, gradient: &mut [f64], gradients: &mut [f64]) {
        let channels = layer.out_channels;
        let count = (gradient.len() / channels) as f64;
        for c in 0..channels {
            let inverse = 1.0 / (entry.variance[c] + f64::from(EPSILON)).sqrt();
            let each = (c..gradient.len()).step_by(channels);
            let hat = |i: usize| (entry.convolved[i] - entry.mean[c]) * inverse;
            let sum: f64 = each.clone().map(|i| gradient[i]).sum();
            let sum_hat: f64 = each.clone().map(|i| gradient[i] * hat(i)).sum();
            gradients[layer.beta_offset + c] += sum;
            gradients[layer.gamma_offset + c] += sum_hat;
            let factor = self.parameters[layer.gamma_offset + c] * inverse;
            each.for_each(|i| gradient[i] = factor * (gradient[i] - sum / count - hat(i) * sum_hat / count));
        }
    }

    fn kernel_backward(
        &self,
        layer: &Layer,
        entry: &LayerTape,
        mut gradient: Vec<f64>,
        gradients: &mut [f64],
    ) {
        let channels = layer.out_channels;
        mask_weights(
            layer.weight_quantizer.as_ref(),
            &entry.kernels[entry.kernels.len() - 1],
            channels,
            &mut gradient,
        );
        if let Some(transform) = &layer.kernel_transform {
            gradient = self.transform_backward(transform, channels, entry, gradient, gradients);
        }
        scatter(layer.weight, channels, &gradient, gradients);
    }

    fn transform_backward(
        &self,
        transform: &KernelTransform,
        channels: usize,
        entry: &LayerTape,
        mut gradient: Vec<f64>,
        gradients: &mut [f64],
    ) -> Vec<f64> {
        for (index, step) in transform.steps.iter().enumerate().rev() {
            let before = if index == 0 { transform.stored } else { transform.steps[index - 1].kernel };
            let taps = step.kernel * step.kernel;
            let cropped = crop(&entry.kernels[index], before, step.kernel, channels);
            let matrix = &self.parameters[step.matrix_offset..step.matrix_offset + taps * taps];
            let mut old = vec![0.0; before * before * channels];
            for (new_tap, old_tap) in (0..taps * taps).map(|i| (i / taps, i % taps)) {
                let at = crop_index(old_tap, before, step.kernel) * channels;
                for c in 0..channels {
                    let g = gradient[new_tap * channels + c];
                    gradients[step.matrix_offset + new_tap * taps + old_tap] +=
                        g * cropped[old_tap * channels + c];
                    old[at + c] += g * matrix[new_tap * taps + old_tap];
                }
            }
            gradient = old;
        }
        gradient
    }

    fn kernels(&self, layer: &Layer) -> Vec<Vec<f64>> {
        let channels = layer.out_channels;
        let mut kernels = vec![self.matrix(layer.weight, layer.weight_rows(), channels)];
        let Some(transform) = &layer.kernel_transform else { return kernels };
        let mut size = transform.stored;
        for step in &transform.steps {
            let taps = step.kernel * step.kernel;
            let cropped = crop(&kernels[kernels.len() - 1], size, step.kernel, channels);
            let matrix = &self.parameters[step.matrix_offset..step.matrix_offset + taps * taps];
            kernels.push(product(matrix, &cropped, taps, taps, channels));
            size = step.kernel;
        }
        kernels
    }

    fn matrix(&self, view: WeightView, rows: usize, columns: usize) -> Vec<f64> {
        let row = |r: usize| &self.parameters[view.offset + r * view.row_stride..][..columns];
        (0..rows).flat_map(|r| row(r).iter().copied()).collect()
    }

    fn quantize_weights(
        &self,
        quantizer: Option<&WeightQuantizer>,
        weights: &[f64],
        columns: usize,
    ) -> Vec<f64> {
        let Some(quantizer) = quantizer else { return weights.to_vec() };
        let each = |(i, &w): (usize, &f64)| {
            let t = f64::from(quantizer.thresholds[i % columns]);
            self.round(w.clamp(-t, t), t / f64::from(quantizer.levels()))
        };
        weights.iter().enumerate().map(each).collect()
    }

    fn quantize_all(&self, quantizer: Option<ActivationQuantizer>, values: &[f64]) -> Vec<f64> {
        let Some(quantizer) = quantizer else { return values.to_vec() };
        let (low, high) = self.bounds(quantizer);
        let scale = high / f64::from(quantizer.levels());
        values.iter().map(|v| self.round(v.clamp(low, high), scale)).collect()
    }

    fn bounds(&self, quantizer: ActivationQuantizer) -> (f64, f64) {
        let high = self.parameters[quantizer.range_offset].max(f64::from(MINIMUM_RANGE));
        (if quantizer.signed { -high } else { 0.0 }, high)
    }

    fn round(&self, value: f64, scale: f64) -> f64 {
        if self.rounding { (value / scale).round_ties_even() * scale } else { value }
    }

    fn quantizer_backward(
        &self,
        quantizer: Option<ActivationQuantizer>,
        before: &[f64],
        gradient: &mut [f64],
        gradients: &mut [f64],
    ) {
        let Some(quantizer) = quantizer else { return };
        self.rivals_backward(quantizer, before, gradient, gradients);
        let (low, high) = self.bounds(quantizer);
        for (g, &x) in gradient.iter_mut().zip(before) {
            if x >= high {
                gradients[quantizer.range_offset] += *g;
                *g = 0.0;
            } else if x <= low {
                gradients[quantizer.range_offset] -= if quantizer.signed { *g } else { 0.0 };
                *g = 0.0;
            }
        }
    }

    fn rivals_backward(
        &self,
        quantizer: ActivationQuantizer,
        before: &[f64],
        gradient: &[f64],
        gradients: &mut [f64],
    ) {
        let Some(rivals) = quantizer.rivals else { return };
        for (index, &bits) in rivals.bits[..rivals.count].iter().enumerate() {
            let range_offset = rivals.range_offset + index;
            let one = ActivationQuantizer { bits, range_offset, rivals: None, ..quantizer };
            let values = self.quantize_all(Some(one), before);
            let share: f64 = values.iter().zip(gradient).map(|(value, g)| value * g).sum();
            gradients[rivals.gradient_offset + index] += share;
        }
    }

    fn weight_backward(
        &self,
        quantizer: Option<&WeightQuantizer>,
        raw: &[f64],
        mut gradient: Vec<f64>,
        view: WeightView,
        columns: usize,
        gradients: &mut [f64],
    ) {
        mask_weights(quantizer, raw, columns, &mut gradient);
        scatter(view, columns, &gradient, gradients);
    }
}

fn mask_weights(quantizer: Option<&WeightQuantizer>, raw: &[f64], columns: usize, gradient: &mut [f64]) {
    let Some(quantizer) = quantizer else { return };
    for (i, (g, w)) in gradient.iter_mut().zip(raw).enumerate() {
        if w.abs() > f64::from(quantizer.thresholds[i % columns]) {
            *g = 0.0;
        }
    }
}

fn scatter(view: WeightView, columns: usize, gradient: &[f64], gradients: &mut [f64]) {
    for (i, g) in gradient.iter().enumerate() {
        gradients[view.offset + i / columns * view.row_stride + i % columns] += g;
    }
}

fn statistics_to_f64(statistics: &NormStatistics) -> (Vec<f64>, Vec<f64>) {
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect();
    (wide(&statistics.mean), wide(&statistics.variance))
}

fn moments(values: &[f64], channels: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (values.len() / channels) as f64;
    let mean: Vec<f64> =
        (0..channels).map(|c| values.iter().skip(c).step_by(channels).sum::<f64>() / count).collect();
    let spread =
        |c: usize| values.iter().skip(c).step_by(channels).map(|v| (v - mean[c]).powi(2)).sum::<f64>();
    let variance = (0..channels).map(|c| spread(c) / count).collect();
    (mean, variance)
}

fn product(a: &[f64], b: &[f64], rows: usize, inner: usize, columns: usize) -> Vec<f64> {
    let cell = |i: usize| {
        let (r, c) = (i / columns, i % columns);
        (0..inner).map(|k| a[r * inner + k] * b[k * columns + c]).sum()
    };
    (0..rows * columns).map(cell).collect()
}

fn transposed_product(a: &[f64], b: &[f64], inner: usize, rows: usize, columns: usize) -> Vec<f64> {
    let cell = |i: usize| {
        let (r, c) = (i / columns, i % columns);
        (0..inner).map(|k| a[k * rows + r] * b[k * columns + c]).sum()
    };
    (0..rows * columns).map(cell).collect()
}

fn crop_index(tap: usize, before: usize, after: usize) -> usize {
    let border = (before - after) / 2;
    (tap / after + border) * before + tap % after + border
}

fn crop(kernel: &[f64], before: usize, after: usize, channels: usize) -> Vec<f64> {
    let row = |tap: usize| &kernel[crop_index(tap, before, after) * channels..][..channels];
    (0..after * after).flat_map(|tap| row(tap).iter().copied()).collect()
}

/// Calls `visit(output index, input pixel index, tap)` for every pair of an output and an input pixel that meet.
fn visit_taps(layer: &Layer, batch: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let (size, out) = (layer.input_size, layer.output_size());
    let (kernel, stride) = (layer.convolution.kernel(), layer.convolution.stride());
    let inside = |o: usize, k: usize| (o * stride + k).checked_sub(kernel / 2).filter(|&i| i < size);
    for pixel in 0..batch * out * out {
        let (image, row, column) = (pixel / (out * out), pixel / out % out, pixel % out);
        for tap in 0..kernel * kernel {
            if let (Some(r), Some(c)) = (inside(row, tap / kernel), inside(column, tap % kernel)) {
                visit(pixel, (image * size + r) * size + c, tap);
            }
        }
    }
}

fn convolve(layer: &Layer, batch: usize, input: &[f64], weight: &[f64]) -> Vec<f64> {
    let (channels_in, channels) = (layer.in_channels, layer.out_channels);
    let mut output = vec![0.0; batch * layer.output_size().pow(2) * channels];
    let depthwise = matches!(layer.convolution, Convolution::Depthwise { .. });
    visit_taps(layer, batch, |to, from, tap| {
        let (x, y) = (&input[from * channels_in..][..channels_in], &mut output[to * channels..][..channels]);
        if depthwise {
            (0..channels).for_each(|c| y[c] += x[c] * weight[tap * channels + c]);
            return;
        }
        for (i, x) in x.iter().enumerate() {
            let row = &weight[(tap * channels_in + i) * channels..][..channels];
            y.iter_mut().zip(row).for_each(|(y, w)| *y += x * w);
        }
    });
    output
}

fn convolve_backward(
    layer: &Layer,
    batch: usize,
    entry: &LayerTape,
    gradient: &[f64],
) -> (Vec<f64>, Vec<f64>) {
    let (channels_in, channels) = (layer.in_channels, layer.out_channels);
    let (input, weight) = (&entry.input, &entry.weight);
    let mut weight_gradient = vec![0.0; weight.len()];
    let mut into = vec![0.0; input.len()];
    let depthwise = matches!(layer.convolution, Convolution::Depthwise { .. });
    visit_taps(layer, batch, |to, from, tap| {
        for c in 0..channels {
            let g = gradient[to * channels + c];
            let range = if depthwise { c..c + 1 } else { 0..channels_in };
            for i in range {
                let at = if depthwise { tap * channels + c } else { (tap * channels_in + i) * channels + c };
                weight_gradient[at] += g * input[from * channels_in + i];
                into[from * channels_in + i] += g * weight[at];
            }
        }
    });
    (weight_gradient, into)
}
