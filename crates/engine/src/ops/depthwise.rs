//! # Depthwise convolution
//!
//! Equations and loops are in [`crate::kernels::depthwise`]; here is the layer's side.

use super::convolution::{Backward, Forward, Outputs};
use crate::kernels::depthwise::{backward as backward_kernel, forward as forward_kernel};
use crate::kernels::dispatch;
use crate::kernels::elementwise::RangeGradients;
use crate::plan::geometry;
use crate::sums::ChannelSums;

pub(crate) fn forward(
    op: &Forward,
    input: &[f32],
    output: &mut [f32],
    sums: Option<&mut ChannelSums>,
    scratch: &mut [f32],
) {
    let kernel = forward_kernel::Forward {
        geometry: geometry(op.layer),
        load: op.load,
        input,
        weight: op.weight,
        weight_row: op.plan.weight_row,
        output,
        scratch,
        sums,
    };
    dispatch(op.level, kernel);
}

pub(crate) fn backward(op: &Backward, outputs: Outputs, scratch: &mut [f32]) -> RangeGradients {
    let input_gradient = outputs.input.map(|into| backward_kernel::InputGradient {
        epilogue: into.epilogue,
        output: into.kept,
        first: into.first,
        second: into.second,
    });
    let kernel = backward_kernel::Backward {
        geometry: geometry(op.layer),
        load: op.load,
        input: op.input,
        gradient: op.gradient,
        kept: op.kept,
        raw: op.raw,
        weight: op.weight,
        weight_row: op.plan.weight_row,
        weight_gradient: outputs.weight,
        scratch,
        input_gradient,
    };
    dispatch(op.level, kernel)
}
