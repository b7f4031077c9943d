//! Norms, quantizers and sums as the kernels take them: in real numbers, or counted in steps where a layer convolves whole
//! numbers.

use crate::kernels::elementwise::{Addition, Load, Norm, Quantizer};
use crate::network::{Activation, Layer, Network};
use crate::ops::norm::{Arrays, Counts};
use crate::ops::quantizer;
use crate::plan::{LayerPlan, Plan};

/// How layer `index` reads its input (`index` = number of layers: the head).
pub(super) fn load<'a>(
    network: &Network,
    plan: &Plan,
    norms: &'a [f32],
    parameters: &[f32],
    index: usize,
) -> Load<'a> {
    let input_quantizer =
        network.layers.get(index).map_or(network.head.input_quantizer, |l| l.input_quantizer);
    let producer = index.checked_sub(1).filter(|&p| network.layers[p].activation == Activation::Relu6);
    let quantizer = quantizer::prepare(input_quantizer, parameters);
    let norm = producer.map(|p| layer_norm(&plan.layers[p], norms, quantizer));
    let counted = norm.is_some_and(|norm| norm.counts);
    let quantizer = quantizer.map(|q| if counted { q.of_counted() } else { q });
    let in_steps = plan.layers.get(index).is_some_and(|plan| plan.in_steps);
    Load { norm, quantizer: quantizer.map(|q| if in_steps { q.counting() } else { q }) }
}

/// A layer's norm, whose results `quantizer` rounds.
fn layer_norm<'a>(plan: &LayerPlan, norms: &'a [f32], quantizer: Option<Quantizer>) -> Norm<'a> {
    let arrays = Arrays::of(&norms[plan.norm.clone()], plan.pitch);
    if plan.in_steps { arrays.counted_norm(quantizer) } else { arrays.norm() }
}

/// What becomes of a linear layer's output.
pub(super) struct LinearOutput<'a> {
    pub norm: Norm<'a>,
    pub output_quantizer: Option<Quantizer>,
    pub sum_quantizer: Option<Quantizer>,
    pub addition: Option<Addition>,
}

/// What becomes of the output of linear layer `index`.
pub(super) fn linear_output<'a>(
    network: &Network,
    plan: &Plan,
    norms: &'a [f32],
    parameters: &[f32],
    index: usize,
) -> LinearOutput<'a> {
    let prepare = |quantizer| quantizer::prepare(quantizer, parameters);
    let (layer, plan) = (&network.layers[index], &plan.layers[index]);
    let (output, sum_quantizer) = (prepare(layer.output_quantizer), prepare(layer.sum_quantizer));
    let norm = layer_norm(plan, norms, output);
    let real = LinearOutput { norm, output_quantizer: output, sum_quantizer, addition: None };
    let Some(output) = output.filter(|_| norm.counts) else { return real };
    let residual = layer.residual.and_then(|source| prepare(stored_by(&network.layers[source])));
    let addition = residual.zip(sum_quantizer).map(|(residual, sum)| Addition::new(output, residual, sum));
    let counted = output.of_counted();
    let output_quantizer = Some(if addition.is_some() { counted.counting() } else { counted });
    let sum_quantizer = sum_quantizer.map(|q| if addition.is_some() { q.of_counted() } else { q });
    LinearOutput { norm, output_quantizer, sum_quantizer, addition }
}

/// The quantizer that a linear layer's stored output went through.
fn stored_by(layer: &Layer) -> Option<crate::network::ActivationQuantizer> {
    if layer.residual.is_some() { layer.sum_quantizer } else { layer.output_quantizer }
}

/// What layer `index` counts, if it convolves whole numbers.
pub(super) fn counts<'a>(
    network: &'a Network,
    plan: &Plan,
    parameters: &[f32],
    index: usize,
) -> Option<Counts<'a>> {
    let layer = &network.layers[index];
    let weights = layer.weight_quantizer.as_ref().filter(|_| plan.layers[index].in_steps)?;
    let step = |quantizer| Some(quantizer::prepare(quantizer, parameters)?.step);
    let next = network.layers.get(index + 1).map_or(network.head.input_quantizer, |l| l.input_quantizer);
    let output = if layer.activation == Activation::Linear { layer.output_quantizer } else { next };
    Some(Counts { input: step(layer.input_quantizer), weights, output: step(output).unwrap_or(1.0) })
}
