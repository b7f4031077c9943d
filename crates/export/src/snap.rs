//! # Integer biases, told to the float model
//!
//! Training leaves biases in float, the integer network rounds them to steps. At few bits a sum often lies close to a
//! rounding boundary, so even small differences flip values, and flips multiply from layer to layer: the
//! fake-quantized forward pass and the integer network then disagree on some images. A model whose shifts (β) are
//! those that the integers stand for does not change as an integer network, and its fake-quantized forward pass is the
//! integer one up to float32 rounding: evaluate that model, so that both speak of the same network.

use crate::error::Result;
use crate::fold::Norm;
use crate::graph::QuantizedNetwork;
use crate::trained::TrainedModel;

impl TrainedModel {
    /// The same model with every `beta` and the classifier's `bias` replaced by what `network`'s int32 biases stand for.
    ///
    /// `network` must have been built from this model.
    pub fn with_integer_biases(&self, network: &QuantizedNetwork) -> Result<Self> {
        let mut model = self.clone();
        for layer in network.convolutions() {
            let channels = [layer.weights.scales.len()];
            let input = network.tensors[layer.input].quantizer.scale;
            let array = |field| self.array(&layer.name, field, &channels);
            let (gamma, mean, variance) = (array("gamma")?, array("mean")?, array("variance")?);
            let beta = |channel: usize| {
                let norm = Norm {
                    gamma: gamma[channel],
                    beta: 0.0,
                    mean: mean[channel],
                    variance: variance[channel],
                };
                let step = f64::from(layer.weights.sum_scale(channel)) * f64::from(input);
                (f64::from(layer.weights.bias[channel]) * step - norm.factor_and_shift().1) as f32
            };
            model.replace(&layer.name, "beta", (0..channels[0]).map(beta).collect());
        }
        let classifier = &network.classifier;
        let bias =
            network.logit_steps().zip(&classifier.weights.bias).map(|(step, &bias)| step * bias as f32);
        model.replace(&classifier.name, "bias", bias.collect());
        Ok(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// A shift is stored in float32.
    const RELATIVE_TOLERANCE: f32 = 1e-5;

    #[test]
    fn the_integer_network_stays_and_its_biases_are_told() {
        for seed in 0..5 {
            let workload = samples::workload(seed);
            let model = samples::model(&workload, seed);
            let network = QuantizedNetwork::build(&model, &workload).unwrap();
            let snapped = model.with_integer_biases(&network).unwrap();
            assert_eq!(QuantizedNetwork::build(&snapped, &workload).unwrap(), network, "seed {seed}");
            for layer in network.convolutions() {
                let channels = [layer.weights.scales.len()];
                let step =
                    |channel| layer.weights.sum_scale(channel) * network.tensors[layer.input].quantizer.scale;
                let of = |model: &TrainedModel| model.array(&layer.name, "beta", &channels).unwrap().to_vec();
                for (channel, (old, new)) in of(&model).into_iter().zip(of(&snapped)).enumerate() {
                    assert!(
                        (old - new).abs() <= 0.5 * step(channel) + RELATIVE_TOLERANCE,
                        "{} {old} {new}",
                        layer.name
                    );
                }
            }
        }
    }
}
