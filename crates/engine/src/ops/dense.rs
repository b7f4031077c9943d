//! # Dense convolution (the stem)
//!
//! The pixels under the kernel are copied side by side (im2col), which makes it a pointwise convolution with
//! `k·k·in` channels, see [`super::pointwise`]. The input gradient goes back the same way, by addition (col2im).
//! Done for blocks of output rows that stay in cache; a stem takes a few percent of a network.

use std::ops::Range;

use super::convolution::{Backward, Forward, Outputs};
use super::pointwise::{Block, input_product, multiply, output_gradient, weight_gradient};
use crate::kernels::elementwise::{EpilogueRows, Load, LoadRows, RangeGradients};
use crate::kernels::{dispatch, pitch, scratch_stride};
use crate::network::Layer;
use crate::plan::{LayerPlan, ROW_BLOCK};
use crate::simd::Level;
use crate::sums::ChannelSums;

pub(crate) fn forward(
    op: &Forward,
    input: &[f32],
    output: &mut [f32],
    mut sums: Option<&mut ChannelSums>,
    scratch: &mut [f32],
) {
    let plan = op.plan;
    let (loaded, columns) = scratch.split_at_mut(plan.input_unit());
    let x_row = scratch_stride(pitch(LayerPlan::depth(op.layer)));
    for (input, output) in input.chunks(plan.input_unit()).zip(output.chunks_mut(plan.unit())) {
        let image = load_image(op.level, op.load, input, plan, loaded);
        for (block, output) in output.chunks_mut(ROW_BLOCK * plan.pitch).enumerate() {
            let rows = output.len() / plan.pitch;
            let pixels = block * ROW_BLOCK..block * ROW_BLOCK + rows;
            image_to_columns(op.layer, plan.input_pitch, image, pixels, columns, x_row);
            multiply(op, Block { x: columns, x_row, rows }, output, sums.as_deref_mut());
        }
    }
}

pub(crate) fn backward(op: &Backward, mut outputs: Outputs, scratch: &mut [f32]) -> RangeGradients {
    let plan = op.plan;
    let x_row = scratch_stride(pitch(LayerPlan::depth(op.layer)));
    let (loaded, rest) = scratch.split_at_mut(plan.input_unit());
    let (columns, rest) = rest.split_at_mut(ROW_BLOCK * x_row);
    let (column_gradient, dy) = rest.split_at_mut(ROW_BLOCK * x_row);
    let mut ranges = RangeGradients::default();
    for image in 0..op.kept.len() / plan.unit() {
        let from = image * plan.input_unit()..(image + 1) * plan.input_unit();
        let x = load_image(op.level, op.load, &op.input[from.clone()], plan, loaded);
        if let Some(into) = &mut outputs.input {
            into.kept[from.clone()].fill(0.0);
        }
        for start in (0..plan.pixels).step_by(ROW_BLOCK) {
            let pixels = start..(start + ROW_BLOCK).min(plan.pixels);
            let at = |pixel: usize| image * plan.unit() + pixel * plan.pitch;
            output_gradient(op, at(pixels.start)..at(pixels.end), dy);
            image_to_columns(op.layer, plan.input_pitch, x, pixels.clone(), columns, x_row);
            weight_gradient(op, Block { x: columns, x_row, rows: pixels.len() }, dy, outputs.weight);
            if let Some(into) = &mut outputs.input {
                let width = pitch(LayerPlan::depth(op.layer));
                input_product(op, pixels.len(), dy, width, column_gradient, x_row);
                let to = &mut into.kept[from.clone()];
                columns_to_image(op.layer, plan.input_pitch, column_gradient, x_row, pixels, to);
            }
        }
        if let Some(into) = &mut outputs.input {
            let (gradient, pitch) = (&mut into.kept[from.clone()], plan.input_pitch);
            let (first, second) = (&mut *into.first, &mut *into.second);
            let epilogue = into.epilogue.part(from);
            ranges.add(dispatch(
                op.level,
                EpilogueRows { epilogue, constant: None, gradient, pitch, first, second },
            ));
        }
    }
    ranges
}

fn load_image<'a>(
    level: Level,
    load: Load,
    input: &'a [f32],
    plan: &LayerPlan,
    loaded: &'a mut [f32],
) -> &'a [f32] {
    if load.is_plain() {
        return input;
    }
    let pitch = plan.input_pitch;
    dispatch(level, LoadRows { load, input, pitch, output: loaded, stride: pitch });
    loaded
}

/// Calls `visit(first tap, pixel under it, taps)` for each row of taps of one output pixel, as far as it lies inside
/// the image; neighbouring taps lie over neighbouring pixels.
#[inline(always)]
fn taps_inside(layer: &Layer, pixel: usize, mut visit: impl FnMut(usize, usize, usize)) {
    let (size, width, kernel) = (layer.input_size, layer.output_size(), layer.convolution.kernel());
    let (border, stride) = (kernel / 2, layer.convolution.stride());
    let (top, left) = (pixel / width * stride, pixel % width * stride);
    // Positions are counted from the border's corner, so that they are never negative.
    let inside =
        |start: usize| border.saturating_sub(start)..kernel.min((size + border).saturating_sub(start));
    let columns = inside(left);
    for i in inside(top) {
        let under = (top + i - border) * size + left + columns.start - border;
        visit(i * kernel + columns.start, under, columns.len());
    }
}

fn image_to_columns(
    layer: &Layer,
    input_pitch: usize,
    image: &[f32],
    pixels: Range<usize>,
    columns: &mut [f32],
    row: usize,
) {
    let (channels, depth) = (layer.in_channels, LayerPlan::depth(layer));
    for (pixel, to) in pixels.zip(columns.chunks_exact_mut(row)) {
        to[..depth].fill(0.0);
        taps_inside(layer, pixel, |tap, under, count| {
            let to = &mut to[tap * channels..(tap + count) * channels];
            if input_pitch == channels {
                let from = &image[under * channels..][..to.len()];
                return to.iter_mut().zip(from).for_each(|(to, &v)| *to = v);
            }
            for (to, from) in
                to.chunks_exact_mut(channels).zip(image[under * input_pitch..].chunks(input_pitch))
            {
                to.copy_from_slice(&from[..channels]);
            }
        });
    }
}

fn columns_to_image(
    layer: &Layer,
    input_pitch: usize,
    columns: &[f32],
    row: usize,
    pixels: Range<usize>,
    image: &mut [f32],
) {
    let channels = layer.in_channels;
    for (pixel, from) in pixels.zip(columns.chunks_exact(row)) {
        taps_inside(layer, pixel, |tap, under, count| {
            let from = from[tap * channels..(tap + count) * channels].chunks_exact(channels);
            for (to, from) in image[under * input_pitch..].chunks_mut(input_pitch).zip(from) {
                to.iter_mut().zip(from).for_each(|(to, v)| *to += v);
            }
        });
    }
}
