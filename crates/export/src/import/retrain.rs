//! # New numbers for an imported network
//!
//! Whoever trains the steps as they are simulates them with the quantizers of [`ImportedNetwork::points`] and gives
//! weights and norms back. As with a trained Sartor network ([`TrainedModel::with_integer_biases`]), shifts are then
//! those that the int32 biases stand for, so that what is simulated is the integer network up to float32 rounding.

use std::collections::{BTreeMap, HashMap};

use super::{ImportedConvolution, ImportedNetwork, RangePoint, Work};
use crate::error::{ExportError, Result};
use crate::fold::Norm;
use crate::graph::{QuantizedNetwork, Weights};
use crate::trained::{NamedArray, TrainedModel};

impl ImportedNetwork {
    /// The same network with other weights and norms, by step; none where the step keeps its own.
    ///
    /// # Errors
    /// Another number of steps, weights or channels.
    pub fn retrained(&self, numbers: Vec<Option<(Vec<f32>, Vec<Norm>)>>) -> Result<Self> {
        let mut network = self.clone();
        expect("steps", numbers.len(), self.steps.len())?;
        for (step, numbers) in network.steps.iter_mut().zip(numbers) {
            let (Work::Convolution(layer), Some((weight, norms))) = (&mut step.work, numbers) else {
                continue;
            };
            expect("weights", weight.len(), layer.weight.len())?;
            expect("norms", norms.len(), layer.norms.len())?;
            (layer.weight, layer.norms) = (weight, norms);
        }
        Ok(network)
    }

    /// The same network with every shift replaced by what `network`'s int32 biases stand for; it must have been made of
    /// this one.
    pub fn with_integer_biases(&self, network: &QuantizedNetwork) -> Self {
        let scale = |tensor: usize| network.tensors[tensor].quantizer.scale;
        let layers = network.convolutions().map(|layer| (&layer.name, (&layer.weights, scale(layer.input))));
        let classifier = &network.classifier;
        let last = std::iter::once((&classifier.name, (&classifier.weights, scale(classifier.input))));
        let weights: HashMap<&String, (&Weights, f32)> = layers.chain(last).collect();
        let mut again = self.clone();
        for step in &mut again.steps {
            if let (Work::Convolution(layer), Some(&of)) = (&mut step.work, weights.get(&step.name)) {
                layer.take_biases(of);
            }
        }
        again
    }

    /// Weights, norms, thresholds (by layer) and ranges by the names of the steps.
    pub fn arrays(&self, thresholds: &[Vec<f32>], ranges: &[(RangePoint, f32)]) -> TrainedModel {
        let mut arrays = BTreeMap::new();
        let mut put = |key: String, shape: Vec<usize>, values: Vec<f32>| {
            arrays.insert(key, NamedArray { shape, values });
        };
        let mut thresholds = thresholds.iter();
        for step in &self.steps {
            let Some(layer) = step.work.convolution().filter(|layer| !layer.fixed) else { continue };
            let (name, channels) = (&step.name, layer.channels());
            let field = |of: fn(&Norm) -> f32| layer.norms.iter().map(of).collect();
            let rows = layer.weight.len() / channels;
            put(format!("{name}.weight"), vec![rows, channels], layer.weight.clone());
            put(format!("{name}.gamma"), vec![channels], field(|norm| norm.gamma));
            put(format!("{name}.beta"), vec![channels], field(|norm| norm.beta));
            put(format!("{name}.mean"), vec![channels], field(|norm| norm.mean));
            put(format!("{name}.variance"), vec![channels], field(|norm| norm.variance));
            if let Some(own) = thresholds.next() {
                put(format!("{name}.weight_threshold"), vec![channels], own.clone());
            }
        }
        for (point, range) in ranges {
            let writer = point.value.checked_sub(1).map_or("image", |index| &self.steps[index].name);
            let kind = format!("{:?}", point.kind).to_lowercase();
            put(format!("{writer}.{kind}_{}_range", point.bits), vec![1], vec![*range]);
        }
        TrainedModel::from_arrays(arrays, BTreeMap::new())
    }
}

impl ImportedConvolution {
    fn take_biases(&mut self, (weights, input): (&Weights, f32)) {
        for (channel, norm) in self.norms.iter_mut().enumerate() {
            let step = f64::from(weights.sum_scale(channel)) * f64::from(input);
            let plain = Norm { beta: 0.0, ..*norm };
            norm.beta = (f64::from(weights.bias[channel]) * step - plain.factor_and_shift().1) as f32;
        }
    }
}

fn expect(what: &'static str, got: usize, expected: usize) -> Result<()> {
    if got == expected { Ok(()) } else { Err(ExportError::Data { what, got, expected }) }
}
