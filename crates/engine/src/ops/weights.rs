//! # Weights as the kernels read them
//!
//! Once per step, each layer's view of the shared parameters goes through its kernel transform and its quantizer into
//! rows that are padded to whole vectors, and (for matrix products) into the transpose that the input gradient reads.
//! That touches every parameter once, some thousandth of a step. Backward goes the same way in reverse:
//! straight-through mask `|w| <= t`, transform, and an addition at the view's place.

use super::kernel_transform;
use crate::network::{Layer, WeightQuantizer, WeightView};
use crate::plan::LayerPlan;

/// Packs the weights of a layer; `transposed` is empty when it is not needed.
pub(crate) fn prepare(
    layer: &Layer,
    plan: &LayerPlan,
    parameters: &[f32],
    packed: &mut [f32],
    transposed: &mut [f32],
) {
    let columns = layer.out_channels;
    let Some(transform) = &layer.kernel_transform else {
        let row = |r: usize| view_row(layer.weight, r, columns, parameters);
        pack(row, layer.weight_quantizer.as_ref(), plan.weight_row, packed);
        return transpose(packed, plan, columns, transposed);
    };
    let stored = dense(layer.weight, layer.weight_rows(), columns, parameters);
    let kernels = kernel_transform::forward(transform, parameters, stored, columns);
    let last = &kernels[kernels.len() - 1];
    pack(|r| &last[r * columns..(r + 1) * columns], layer.weight_quantizer.as_ref(), plan.weight_row, packed);
}

/// Adds the gradient of a layer's parameters, given that of its packed weights (rows of `pitch`).
pub(crate) fn backward(
    layer: &Layer,
    plan: &LayerPlan,
    parameters: &[f32],
    packed: &[f32],
    gradients: &mut [f32],
) {
    let columns = layer.out_channels;
    let Some(transform) = &layer.kernel_transform else {
        for (r, gradient) in packed.chunks_exact(plan.pitch).enumerate() {
            let raw = view_row(layer.weight, r, columns, parameters);
            let at = layer.weight.offset + r * layer.weight.row_stride;
            add_masked(layer.weight_quantizer.as_ref(), raw, gradient, &mut gradients[at..at + columns]);
        }
        return;
    };
    let stored = dense(layer.weight, layer.weight_rows(), columns, parameters);
    let kernels = kernel_transform::forward(transform, parameters, stored, columns);
    let mut masked = vec![0.0; LayerPlan::depth(layer) * columns];
    let rows = masked.chunks_exact_mut(columns).zip(packed.chunks_exact(plan.pitch));
    for ((to, gradient), raw) in rows.zip(kernels[kernels.len() - 1].chunks_exact(columns)) {
        add_masked(layer.weight_quantizer.as_ref(), raw, gradient, to);
    }
    let stored = kernel_transform::backward(transform, parameters, &kernels, masked, columns, gradients);
    for (r, gradient) in stored.chunks_exact(columns).enumerate() {
        let at = layer.weight.offset + r * layer.weight.row_stride;
        gradients[at..at + columns].iter_mut().zip(gradient).for_each(|(to, g)| *to += g);
    }
}

/// Row r of a view.
pub(crate) fn view_row(view: WeightView, r: usize, columns: usize, parameters: &[f32]) -> &[f32] {
    &parameters[view.offset + r * view.row_stride..][..columns]
}

/// One row of fake-quantized weights.
pub(crate) fn quantize_row(quantizer: Option<&WeightQuantizer>, raw: &[f32], to: &mut [f32]) {
    let Some(quantizer) = quantizer else { return to[..raw.len()].copy_from_slice(raw) };
    let levels = quantizer.levels();
    for ((to, &w), &t) in to.iter_mut().zip(raw).zip(quantizer.thresholds.iter()) {
        let scale = t / levels;
        *to = (w.clamp(-t, t) / scale).round_ties_even() * scale;
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

fn pack<'a>(
    row: impl Fn(usize) -> &'a [f32],
    quantizer: Option<&WeightQuantizer>,
    stride: usize,
    packed: &mut [f32],
) {
    for (r, to) in packed.chunks_exact_mut(stride).enumerate() {
        let raw = row(r);
        quantize_row(quantizer, raw, to);
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

fn dense(view: WeightView, rows: usize, columns: usize, parameters: &[f32]) -> Vec<f32> {
    (0..rows).flat_map(|r| view_row(view, r, columns, parameters).iter().copied()).collect()
}
