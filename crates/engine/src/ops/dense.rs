//! # Dense convolution (the stem)
//!
//! The pixels under the kernel are copied side by side ([`super::columns`]), which makes it a pointwise convolution with
//! `k·k·in` channels, see [`super::pointwise`]. Done for blocks of output rows that stay in cache; a stem takes a few
//! percent of a network. Each image is first copied into a border of zeros, so that a window is a few runs of numbers.

use super::columns::{Columns, Gather};
use super::convolution::{Backward, Forward, Outputs};
use super::pointwise::{Block, input_product, multiply, output_gradient, weight_gradient};
use crate::kernels::elementwise::{EpilogueRows, Load, LoadRows, RangeGradients};
use crate::kernels::product::Ahead;
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
    let x_row = scratch_stride(pitch(LayerPlan::depth(op.layer)));
    let window = window(op.layer, plan.input_pitch);
    let (loaded, rest) = scratch.split_at_mut(plan.input_unit());
    let (padded, columns) = rest.split_at_mut(window.padded_length());
    for (input, output) in input.chunks(plan.input_unit()).zip(output.chunks_mut(plan.unit())) {
        window.pad(load_image(op.level, op.load, input, plan, loaded), padded);
        for (block, output) in output.chunks_mut(ROW_BLOCK * plan.pitch).enumerate() {
            let rows = output.len() / plan.pitch;
            let pixels = block * ROW_BLOCK..block * ROW_BLOCK + rows;
            dispatch(op.level, Gather { window, padded, pixels, to: columns, row: x_row });
            let ahead = if sums.is_some() { Ahead::after([output, &[], &[]]) } else { Ahead::NONE };
            multiply(op, Block { x: columns, x_row, rows }, output, sums.as_deref_mut(), ahead);
        }
    }
}

pub(crate) fn backward(op: &Backward, mut outputs: Outputs, scratch: &mut [f32]) -> RangeGradients {
    let plan = op.plan;
    let x_row = scratch_stride(pitch(LayerPlan::depth(op.layer)));
    let window = window(op.layer, plan.input_pitch);
    let (loaded, rest) = scratch.split_at_mut(plan.input_unit());
    let (padded, rest) = rest.split_at_mut(window.padded_length());
    let (columns, rest) = rest.split_at_mut(ROW_BLOCK * x_row);
    let (column_gradient, dy) = rest.split_at_mut(ROW_BLOCK * x_row);
    let mut ranges = RangeGradients::default();
    for image in 0..op.kept.len() / plan.unit() {
        let from = image * plan.input_unit()..(image + 1) * plan.input_unit();
        window.pad(load_image(op.level, op.load, &op.input[from.clone()], plan, loaded), padded);
        if let Some(into) = &mut outputs.input {
            into.kept[from.clone()].fill(0.0);
        }
        for start in (0..plan.pixels).step_by(ROW_BLOCK) {
            let pixels = start..(start + ROW_BLOCK).min(plan.pixels);
            let at = |pixel: usize| image * plan.unit() + pixel * plan.pitch;
            let place = at(pixels.start)..at(pixels.end);
            let ahead = Ahead::after([&op.kept[place.clone()], &op.raw[place.clone()], &[]]);
            output_gradient(op, place, dy);
            dispatch(op.level, Gather { window, padded, pixels: pixels.clone(), to: columns, row: x_row });
            let block = Block { x: columns, x_row, rows: pixels.len() };
            weight_gradient(op, block, dy, outputs.weight, ahead);
            if let Some(into) = &mut outputs.input {
                let width = LayerPlan::depth(op.layer);
                input_product(op, pixels.len(), dy, width, column_gradient, x_row, Ahead::NONE);
                let to = &mut into.kept[from.clone()];
                for (pixel, from) in pixels.zip(column_gradient.chunks_exact(x_row)) {
                    window.scatter(from, pixel, to);
                }
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

/// How the kernel moves over the image.
pub(crate) fn window(layer: &Layer, pitch: usize) -> Columns {
    let kernel = layer.convolution.kernel();
    Columns {
        size: layer.input_size,
        width: layer.output_size(),
        kernel,
        stride: layer.convolution.stride(),
        padding: kernel / 2,
        channels: layer.in_channels,
        pitch,
    }
}
