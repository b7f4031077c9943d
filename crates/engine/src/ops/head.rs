//! # Head: pool, quantize, classify
//!
//! `pooled[b, c] = mean over pixels of quantize(out[b, ·, c])`, `f = quantize(pooled)`, `logits = f · W + bias`.
//! Backward: `dW += fᵀ · dlogits`, `dbias += Σ dlogits`, `df = dlogits · Wᵀ`, and every pixel of an image gets
//! `dpooled / pixels` before the last layer's epilogue.

use super::{quantizer, weights};
use crate::kernels::elementwise::{Load, LoadRows, Quantizer};
use crate::kernels::product::multiply;
use crate::kernels::{dispatch, pitch};
use crate::network::Head;
use crate::simd::Level;

/// The head's numbers of one step; rows are padded to whole vectors.
#[derive(Debug, Default)]
pub(crate) struct HeadState {
    weight: Vec<f32>,
    transposed: Vec<f32>,
    /// `[batch × pitch(features)]`, before the quantizer.
    pub pooled: Vec<f32>,
    /// `[batch × pitch(features)]`, after it.
    features: Vec<f32>,
    padded: Vec<f32>,
    /// `[batch × classes]`.
    pub logits: Vec<f32>,
    /// `[batch × pitch(features)]`: gradient of the pooled features, divided by the pixels.
    pub gradient: Vec<f32>,
    weight_gradient: Vec<f32>,
}

fn clear(values: &mut Vec<f32>, length: usize) {
    values.clear();
    values.resize(length, 0.0);
}

impl HeadState {
    /// Packs the weights, and makes room for a batch.
    pub(crate) fn prepare(&mut self, head: &Head, parameters: &[f32], batch: usize) {
        let (rows, columns) = (pitch(head.features), pitch(head.classes));
        clear(&mut self.weight, rows * columns);
        clear(&mut self.transposed, columns * rows);
        for (r, to) in self.weight.chunks_exact_mut(columns).take(head.features).enumerate() {
            let raw = weights::view_row(head.weight, r, head.classes, parameters);
            weights::quantize_row(head.weight_quantizer.as_ref(), raw, to);
            for (c, &w) in to[..head.classes].iter().enumerate() {
                self.transposed[c * rows + r] = w;
            }
        }
        clear(&mut self.pooled, batch * rows);
        clear(&mut self.features, batch * rows);
        clear(&mut self.padded, batch * columns);
        clear(&mut self.logits, batch * head.classes);
    }

    /// From pooled features to logits.
    pub(crate) fn classify(&mut self, head: &Head, parameters: &[f32], level: Level) {
        self.features.copy_from_slice(&self.pooled);
        quantizer::apply(quantizer::prepare(head.pooled_quantizer, parameters), &mut self.features);
        let (rows, columns) = (pitch(head.features), pitch(head.classes));
        let sizes = [self.padded.len() / columns, head.classes, head.features];
        multiply(
            level,
            sizes,
            (&self.features, rows, 1),
            (&self.weight, columns),
            (&mut self.padded, columns),
            false,
        );
        let bias = &parameters[head.bias_offset..head.bias_offset + head.classes];
        for (logits, padded) in
            self.logits.chunks_exact_mut(head.classes).zip(self.padded.chunks_exact(columns))
        {
            logits.iter_mut().zip(padded).zip(bias).for_each(|((l, p), b)| *l = p + b);
        }
    }

    /// From the gradient of the logits to that of the pooled features, per pixel; adds the head's gradients.
    pub(crate) fn backward(
        &mut self,
        head: &Head,
        parameters: &[f32],
        logits_gradient: &[f32],
        pixels: usize,
        level: Level,
        gradients: &mut [f32],
    ) {
        let (rows, columns) = (pitch(head.features), pitch(head.classes));
        let batch = self.logits.len() / head.classes;
        clear(&mut self.padded, batch * columns);
        for (to, from) in
            self.padded.chunks_exact_mut(columns).zip(logits_gradient.chunks_exact(head.classes))
        {
            to[..head.classes].copy_from_slice(from);
            for (g, &v) in gradients[head.bias_offset..head.bias_offset + head.classes].iter_mut().zip(from) {
                *g += v;
            }
        }
        clear(&mut self.weight_gradient, head.features * columns);
        let sizes = [head.features, head.classes, batch];
        let to = (&mut self.weight_gradient[..], columns);
        multiply(level, sizes, (&self.features, 1, rows), (&self.padded, columns), to, false);
        self.add_weight_gradient(head, parameters, gradients);
        clear(&mut self.gradient, batch * rows);
        let sizes = [batch, head.features, head.classes];
        multiply(
            level,
            sizes,
            (&self.padded, columns, 1),
            (&self.transposed, rows),
            (&mut self.gradient, rows),
            false,
        );
        let pooled_quantizer = quantizer::prepare(head.pooled_quantizer, parameters);
        let range = quantizer::backward(pooled_quantizer, &self.pooled, &mut self.gradient);
        if let Some(quantizer) = head.pooled_quantizer {
            gradients[quantizer.range_offset] += range as f32;
        }
        self.gradient.iter_mut().for_each(|g| *g /= pixels as f32);
    }

    fn add_weight_gradient(&self, head: &Head, parameters: &[f32], gradients: &mut [f32]) {
        for (r, gradient) in self.weight_gradient.chunks_exact(pitch(head.classes)).enumerate() {
            let raw = weights::view_row(head.weight, r, head.classes, parameters);
            let at = head.weight.offset + r * head.weight.row_stride;
            let to = &mut gradients[at..at + head.classes];
            weights::add_masked(head.weight_quantizer.as_ref(), raw, gradient, to);
        }
    }
}

/// Pools whole images of `pixels` rows of `pitch` into one row each.
pub(crate) fn pool(
    level: Level,
    load: Load,
    stored: &[f32],
    pitch: usize,
    pooled: &mut [f32],
    scratch: &mut [f32],
) {
    let images = pooled.len() / pitch;
    let unit = stored.len() / images.max(1);
    let pixels = (unit / pitch) as f32;
    for (image, to) in stored.chunks_exact(unit).zip(pooled.chunks_exact_mut(pitch)) {
        let mut sums = [0.0f64; crate::kernels::LANE_BLOCK];
        to.fill(0.0);
        let rows = scratch.len() / pitch;
        for block in image.chunks(rows * pitch) {
            let loaded = &mut scratch[..block.len()];
            dispatch(level, LoadRows { load, input: block, pitch, output: loaded, stride: pitch });
            add_rows(loaded, pitch, to, &mut sums);
        }
        to.iter_mut().for_each(|v| *v /= pixels);
    }
}

/// Adds rows to `to`, in f64 within a block of channels.
fn add_rows(rows: &[f32], pitch: usize, to: &mut [f32], sums: &mut [f64; crate::kernels::LANE_BLOCK]) {
    for start in (0..pitch).step_by(sums.len()) {
        sums.fill(0.0);
        for row in rows.chunks_exact(pitch) {
            sums.iter_mut().zip(&row[start..]).for_each(|(s, &v)| *s += f64::from(v));
        }
        to[start..].iter_mut().zip(sums.iter()).for_each(|(t, &s)| *t += s as f32);
    }
}

/// The head's input quantizer, worked out.
pub(crate) fn input_quantizer(head: &Head, parameters: &[f32]) -> Option<Quantizer> {
    quantizer::prepare(head.input_quantizer, parameters)
}
