//! # Weights as the kernels read them
//!
//! Once per step, each layer's view of the shared parameters goes through its kernel transform and its quantizer into
//! rows that are padded to whole vectors, and (for matrix products) into the transpose that the input gradient reads.
//! That touches every parameter once, some thousandth of a step. Backward goes the same way in reverse:
//! straight-through mask `|w| <= t`, transform, and an addition at the view's place.

use super::kernel_transform;
use crate::network::{KernelTransform, Layer, WeightQuantizer, WeightView};
use crate::plan::LayerPlan;

/// Kernels and gradients on their way through a kernel transform; memory that is kept between steps.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    kernels: Vec<f32>,
    gradients: Vec<f32>,
}

impl Kernels {
    /// The stored kernel and those after each step; returns where the last one starts.
    fn forward(&mut self, layer: &Layer, transform: &KernelTransform, parameters: &[f32]) -> usize {
        let columns = layer.out_channels;
        self.kernels.clear();
        for r in 0..layer.weight_rows() {
            self.kernels.extend_from_slice(view_row(layer.weight, r, columns, parameters));
        }
        kernel_transform::forward(transform, parameters, columns, &mut self.kernels);
        self.kernels.len() - LayerPlan::depth(layer) * columns
    }
}

/// Packs the weights of a layer; `transposed` is empty when it is not needed.
pub(crate) fn prepare(
    layer: &Layer,
    plan: &LayerPlan,
    parameters: &[f32],
    kernels: &mut Kernels,
    packed: &mut [f32],
    transposed: &mut [f32],
) {
    let columns = layer.out_channels;
    let Some(transform) = &layer.kernel_transform else {
        let row = |r: usize| view_row(layer.weight, r, columns, parameters);
        pack(row, layer, plan, packed);
        return transpose(packed, plan, columns, transposed);
    };
    let last = kernels.forward(layer, transform, parameters);
    let row = |r: usize| &kernels.kernels[last + r * columns..][..columns];
    pack(row, layer, plan, packed);
}

/// Adds the gradient of a layer's parameters, given that of its packed weights (rows of `pitch`).
pub(crate) fn backward(
    layer: &Layer,
    plan: &LayerPlan,
    parameters: &[f32],
    packed: &[f32],
    kernels: &mut Kernels,
    gradients: &mut [f32],
) {
    let (columns, quantizer) = (layer.out_channels, layer.weight_quantizer.as_ref());
    let place = |r: usize| layer.weight.offset + r * layer.weight.row_stride;
    let Some(transform) = &layer.kernel_transform else {
        for (r, gradient) in packed.chunks_exact(plan.pitch).enumerate() {
            let raw = view_row(layer.weight, r, columns, parameters);
            add_masked(quantizer, raw, gradient, &mut gradients[place(r)..][..columns]);
        }
        return;
    };
    let last = kernels.forward(layer, transform, parameters);
    let Kernels { kernels, gradients: chain } = kernels;
    chain.clear();
    chain.resize(kernels.len() - last, 0.0);
    let rows = chain.chunks_exact_mut(columns).zip(packed.chunks_exact(plan.pitch));
    for ((to, gradient), raw) in rows.zip(kernels[last..].chunks_exact(columns)) {
        add_masked(quantizer, raw, gradient, to);
    }
    kernel_transform::backward(transform, parameters, kernels, columns, chain, gradients);
    let stored = chain.len() - layer.weight_rows() * columns;
    for (r, gradient) in chain[stored..].chunks_exact(columns).enumerate() {
        gradients[place(r)..][..columns].iter_mut().zip(gradient).for_each(|(to, g)| *to += g);
    }
}

/// Row r of a view.
pub(crate) fn view_row(view: WeightView, r: usize, columns: usize, parameters: &[f32]) -> &[f32] {
    &parameters[view.offset + r * view.row_stride..][..columns]
}

/// Nearest integer, ties to even, of a number between -2^22 and 2^22 (levels have at most 15 bits): adding 1.5 · 2^23
/// leaves no room for a fraction. Unlike `round_ties_even` no call where the instruction set has no rounding.
#[inline]
fn round_level(value: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (value + NO_FRACTION) - NO_FRACTION
}

/// One row of fake-quantized weights.
pub(crate) fn quantize_row(quantizer: Option<&WeightQuantizer>, raw: &[f32], to: &mut [f32]) {
    let Some(quantizer) = quantizer else { return to[..raw.len()].copy_from_slice(raw) };
    count_row(quantizer, raw, to);
    to[..raw.len()].iter_mut().enumerate().for_each(|(c, to)| *to *= quantizer.step(c));
}

/// One row of weights as numbers of steps.
fn count_row(quantizer: &WeightQuantizer, raw: &[f32], to: &mut [f32]) {
    for (c, (to, w)) in to.iter_mut().zip(raw).enumerate() {
        let threshold = quantizer.thresholds[c];
        *to = round_level(w.clamp(-threshold, threshold) / quantizer.step(c));
    }
}

/// Adds the gradient that passes straight through.
pub(crate) fn add_masked(quantizer: Option<&WeightQuantizer>, raw: &[f32], gradient: &[f32], to: &mut [f32]) {
    let Some(quantizer) = quantizer else {
        return to.iter_mut().zip(gradient).for_each(|(to, g)| *to += g);
    };
    for (((to, &g), w), &t) in to.iter_mut().zip(gradient).zip(raw).zip(quantizer.thresholds.iter()) {
        *to += if w.abs() <= t { g } else { 0.0 };
    }
}

fn pack<'a>(row: impl Fn(usize) -> &'a [f32], layer: &Layer, plan: &LayerPlan, packed: &mut [f32]) {
    for (r, to) in packed.chunks_exact_mut(plan.weight_row).enumerate() {
        let raw = row(r);
        match &layer.weight_quantizer {
            Some(quantizer) if plan.in_steps => count_row(quantizer, raw, to),
            quantizer => quantize_row(quantizer.as_ref(), raw, to),
        }
        to[raw.len()..].fill(0.0);
    }
}

fn transpose(packed: &[f32], plan: &LayerPlan, columns: usize, transposed: &mut [f32]) {
    if transposed.is_empty() {
        return;
    }
    transposed.fill(0.0);
    for (r, row) in packed.chunks_exact(plan.weight_row).enumerate() {
        for (c, &w) in row[..columns].iter().enumerate() {
            transposed[c * plan.transposed_row + r] = w;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_rounded_as_the_standard_library_does() {
        let halves = (-70_000..70_000).map(|i| i as f32 * 0.5);
        let near = (-40_000..40_000).map(|i| i as f32 * 0.5 + (i % 7) as f32 * 1e-3);
        halves.chain(near).for_each(|v| assert_eq!(round_level(v), v.round_ties_even(), "{v}"));
    }
}
