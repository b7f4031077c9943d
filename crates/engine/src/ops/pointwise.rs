//! # Pointwise convolution
//!
//! A matrix product over all pixels of a chunk: `Y = X · W`, backward `dW += Xᵀ · dY`, `dX = dY · Wᵀ`. Done for blocks
//! of rows that stay in cache: load the input (norm, ReLU6, fake quantization), multiply, gather channel sums;
//! backward: make dY from the kept gradient, both products, and the producer's epilogue.

use super::convolution::{Backward, Forward, Outputs};
use crate::kernels::elementwise::{EpilogueRows, Load, LoadRows, NormGradientRows, RangeGradients};
use crate::kernels::product::{Ahead, Product, TileSums};
use crate::kernels::{dispatch, scratch_stride};
use crate::plan::ROW_BLOCK;
use crate::simd::Level;
use crate::sums::{ChannelSums, PRIMING_ROWS};

pub(crate) fn forward(
    op: &Forward,
    input: &[f32],
    output: &mut [f32],
    mut sums: Option<&mut ChannelSums>,
    scratch: &mut [f32],
) {
    let (input_pitch, pitch) = (op.plan.input_pitch, op.plan.pitch);
    let blocks = input.chunks(ROW_BLOCK * input_pitch).zip(output.chunks_mut(ROW_BLOCK * pitch));
    for (input, output) in blocks {
        let (x, x_row) = load_block(op.level, op.load, input, input_pitch, scratch);
        // Without sums it is inference, whose images are in the cache.
        let ahead = if sums.is_some() { Ahead::after([input, output, &[]]) } else { Ahead::NONE };
        multiply(op, Block { x, x_row, rows: output.len() / pitch }, output, sums.as_deref_mut(), ahead);
    }
}

/// A block of loaded rows.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub x: &'a [f32],
    pub x_row: usize,
    pub rows: usize,
}

/// `output = x · weights`, with channel sums.
pub(super) fn multiply(
    op: &Forward,
    block: Block,
    output: &mut [f32],
    sums: Option<&mut ChannelSums>,
    ahead: Ahead,
) {
    let Some(sums) = sums else { return product(op, block, output, None, ahead) };
    let pitch = op.plan.pitch;
    if sums.count == 0 {
        let rows = block.rows.min(PRIMING_ROWS);
        product(op, Block { rows, ..block }, &mut output[..rows * pitch], None, Ahead::NONE);
        sums.prime(&output[..rows * pitch]);
    }
    sums.begin();
    let tile = TileSums { shift: sums.shift, first: sums.first, second: sums.second };
    product(op, block, output, Some(tile), ahead);
    sums.end(block.rows);
}

fn product(op: &Forward, block: Block, output: &mut [f32], sums: Option<TileSums>, ahead: Ahead) {
    let product = Product {
        rows: block.rows,
        columns: op.layer.out_channels,
        depth: op.weight.len() / op.plan.weight_row,
        a: block.x,
        a_row: block.x_row,
        a_depth: 1,
        b: op.weight,
        b_row: op.plan.weight_row,
        c: output,
        c_row: op.plan.pitch,
        accumulate: false,
        sums,
        ahead,
    };
    dispatch(op.level, product);
}

/// The rows as the convolution sees them, and their stride: the stored ones where nothing has to be done.
pub(super) fn load_block<'a>(
    level: Level,
    load: Load,
    input: &'a [f32],
    pitch: usize,
    scratch: &'a mut [f32],
) -> (&'a [f32], usize) {
    if load.is_plain() {
        return (input, pitch);
    }
    let stride = scratch_stride(pitch);
    dispatch(level, LoadRows { load, input, pitch, output: scratch, stride });
    (scratch, stride)
}

pub(crate) fn backward(op: &Backward, mut outputs: Outputs, scratch: &mut [f32]) -> RangeGradients {
    let (input_pitch, pitch) = (op.plan.input_pitch, op.plan.pitch);
    let dy_row = scratch_stride(pitch);
    let (dy, x_scratch) = scratch.split_at_mut(ROW_BLOCK * dy_row);
    let mut ranges = RangeGradients::default();
    let rows = op.kept.len() / pitch;
    for start in (0..rows).step_by(ROW_BLOCK) {
        let end = (start + ROW_BLOCK).min(rows);
        let (at, from) = (start * pitch..end * pitch, start * input_pitch..end * input_pitch);
        output_gradient(op, at.clone(), dy);
        let (x, x_row) = load_block(op.level, op.load, &op.input[from.clone()], input_pitch, x_scratch);
        let ahead = Ahead::after([&op.input[from.clone()], &op.kept[at.clone()], &op.raw[at]]);
        weight_gradient(op, Block { x, x_row, rows: end - start }, dy, outputs.weight, ahead);
        let Some(into) = &mut outputs.input else { continue };
        let gradient = &mut into.kept[from.clone()];
        let ahead = Ahead::after([gradient, &[], &[]]);
        input_product(op, end - start, dy, op.layer.in_channels, gradient, input_pitch, ahead);
        let epilogue = into.epilogue.part(from);
        let (first, second) = (&mut *into.first, &mut *into.second);
        ranges.add(dispatch(
            op.level,
            EpilogueRows { epilogue, constant: None, gradient, pitch: input_pitch, first, second },
        ));
    }
    ranges
}

/// Gradient of the convolution output for a range of elements, into scratch rows.
pub(super) fn output_gradient(op: &Backward, at: std::ops::Range<usize>, dy: &mut [f32]) {
    let (kept, raw, pitch) = (&op.kept[at.clone()], &op.raw[at], op.plan.pitch);
    let stride = scratch_stride(pitch);
    dispatch(op.level, NormGradientRows { gradient: op.gradient, kept, raw, pitch, output: dy, stride });
}

/// `dW += Xᵀ · dY`.
pub(super) fn weight_gradient(op: &Backward, block: Block, dy: &[f32], to: &mut [f32], ahead: Ahead) {
    let pitch = op.plan.pitch;
    let product = Product {
        rows: to.len() / pitch,
        columns: op.layer.out_channels,
        depth: block.rows,
        a: block.x,
        a_row: 1,
        a_depth: block.x_row,
        b: dy,
        b_row: scratch_stride(pitch),
        c: to,
        c_row: pitch,
        accumulate: true,
        sums: None,
        ahead,
    };
    dispatch(op.level, product);
}

/// `dX = dY · Wᵀ`, `columns` of it.
pub(super) fn input_product(
    op: &Backward,
    rows: usize,
    dy: &[f32],
    columns: usize,
    to: &mut [f32],
    to_row: usize,
    ahead: Ahead,
) {
    let product = Product {
        rows,
        columns,
        depth: op.layer.out_channels,
        a: dy,
        a_row: scratch_stride(op.plan.pitch),
        a_depth: 1,
        b: op.transposed,
        b_row: op.plan.transposed_row,
        c: to,
        c_row: to_row,
        accumulate: false,
        sums: None,
        ahead,
    };
    dispatch(op.level, product);
}
