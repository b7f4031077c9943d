//! Tells an observer what the quantizers would see, in real numbers.

use super::Executor;
use super::forward::Observer;
use super::numbers::{counts, linear_output, load};
use crate::kernels::dispatch;
use crate::kernels::elementwise::{Load, LoadRows};
use crate::network::{Activation, Network, Tap};
use crate::ops::quantizer;

impl Executor {
    /// The taps of a layer that has just been finished.
    pub(super) fn tell(&self, network: &Network, parameters: &[f32], index: usize, observer: &mut Observer) {
        let layer = &network.layers[index];
        let plan = &self.plan.layers[index];
        let input = &self.activations[plan.input.start..][..self.plan.batch * plan.input_unit()];
        self.tell_loaded(network, parameters, index, (input, plan.input_pitch, layer.in_channels), observer);
        if layer.activation == Activation::Linear {
            self.tell_linear(network, parameters, index, observer);
        }
    }

    /// The taps of the head.
    pub(super) fn tell_head(&self, network: &Network, parameters: &[f32], observer: &mut Observer) {
        let plan = &self.plan.layers[network.head.input];
        let input = &self.activations[plan.output.start..][..self.plan.batch * plan.unit()];
        let count = network.layers.len();
        self.tell_loaded(network, parameters, count, (input, plan.pitch, network.head.features), observer);
        observer(Tap::Pooled, &dense(&self.head.pooled, plan.pitch, network.head.features));
    }

    fn tell_loaded(
        &self,
        network: &Network,
        parameters: &[f32],
        index: usize,
        (input, pitch, channels): (&[f32], usize, usize),
        observer: &mut Observer,
    ) {
        let tap = if index == network.layers.len() { Tap::HeadInput } else { Tap::Input(index) };
        let load = Load { quantizer: None, ..load(network, &self.plan, &self.norms, parameters, index) };
        if load.is_plain() {
            return observer(tap, &dense(input, pitch, channels));
        }
        let mut output = vec![0.0; input.len()];
        dispatch(self.level, LoadRows { load, input, pitch, output: &mut output, stride: pitch });
        if let Some(counts) = index.checked_sub(1).and_then(|p| counts(network, &self.plan, parameters, p)) {
            output.iter_mut().for_each(|v| *v *= counts.output);
        }
        observer(tap, &dense(&output, pitch, channels));
    }

    fn tell_linear(&self, network: &Network, parameters: &[f32], index: usize, observer: &mut Observer) {
        let (layer, plan) = (&network.layers[index], &self.plan.layers[index]);
        let (norm, channels) =
            (linear_output(network, &self.plan, &self.norms, parameters, index).norm, layer.out_channels);
        let step = counts(network, &self.plan, parameters, index).map(|counts| counts.output);
        let part = |start: usize| &self.activations[start..][..self.plan.batch * plan.unit()];
        let mut values = dense(part(plan.raw.start), plan.pitch, channels);
        for row in values.chunks_exact_mut(channels) {
            row.iter_mut().zip(norm.scale).zip(norm.shift).for_each(|((v, scale), shift)| {
                *v = step.map_or(*v * scale + shift, |step| (*v + shift) * scale * step);
            });
        }
        observer(Tap::Output(index), &values);
        quantizer::apply(quantizer::prepare(layer.output_quantizer, parameters), &mut values);
        if let Some(source) = layer.residual {
            let residual = dense(part(self.plan.layers[source].output.start), plan.pitch, channels);
            values.iter_mut().zip(residual).for_each(|(v, r)| *v += r);
        }
        observer(Tap::Sum(index), &values);
    }
}

/// Rows without their padding.
fn dense(rows: &[f32], pitch: usize, channels: usize) -> Vec<f32> {
    rows.chunks_exact(pitch).flat_map(|row| row[..channels].iter().copied()).collect()
}
