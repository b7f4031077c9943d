//! # Elastic kernels
//!
//! Once-for-all (Cai et al., 2020, §3.2): a smaller kernel is the centre of the next larger one, passed through a
//! learned matrix M that the channels of the block share, step by step (7 → 5 → 3): `new = M · centre(old)`.
//! Backward: `dM += dnew · centre(old)ᵀ`, `d centre(old) = Mᵀ · dnew`. Runs once per step on kernels only.
//!
//! The kernels (and gradients) of a layer lie one after another in a vector that keeps its memory between steps.

use crate::network::{KernelTransform, TransformStep};

/// Given the stored kernel (taps × channels), appends the kernel after each step.
pub(crate) fn forward(
    transform: &KernelTransform,
    parameters: &[f32],
    channels: usize,
    kernels: &mut Vec<f32>,
) {
    let (mut size, mut start) = (transform.stored, 0);
    for step in &transform.steps {
        let (taps, end) = (step.kernel * step.kernel, kernels.len());
        kernels.resize(end + taps * channels, 0.0);
        let (before, new) = kernels.split_at_mut(end);
        for (row, weights) in new.chunks_exact_mut(channels).zip(matrix(step, parameters).chunks_exact(taps))
        {
            for (tap, &weight) in weights.iter().enumerate() {
                let old = centre(&before[start..], tap, size, step.kernel, channels);
                row.iter_mut().zip(old).for_each(|(n, o)| *n += weight * o);
            }
        }
        (size, start) = (step.kernel, end);
    }
}

/// Given the gradient of the last kernel, appends that of each kernel before it, the stored one last; adds the
/// gradients of the matrices. `kernels` is what [`forward`] left.
pub(crate) fn backward(
    transform: &KernelTransform,
    parameters: &[f32],
    kernels: &[f32],
    channels: usize,
    gradient: &mut Vec<f32>,
    gradients: &mut [f32],
) {
    let (mut kernel_end, mut start) = (kernels.len(), 0);
    for (index, step) in transform.steps.iter().enumerate().rev() {
        let size = index.checked_sub(1).map_or(transform.stored, |before| transform.steps[before].kernel);
        kernel_end -= step.kernel * step.kernel * channels;
        let old = &kernels[kernel_end - size * size * channels..kernel_end];
        let end = gradient.len();
        gradient.resize(end + old.len(), 0.0);
        let (new, old_gradient) = gradient.split_at_mut(end);
        step_back(step, size, parameters, [old, &new[start..]], channels, old_gradient, gradients);
        start = end;
    }
}

fn step_back(
    step: &TransformStep,
    size: usize,
    parameters: &[f32],
    [old, new_gradient]: [&[f32]; 2],
    channels: usize,
    old_gradient: &mut [f32],
    gradients: &mut [f32],
) {
    let taps = step.kernel * step.kernel;
    for (new_tap, g) in new_gradient.chunks_exact(channels).enumerate() {
        for tap in 0..taps {
            let dot: f32 =
                g.iter().zip(centre(old, tap, size, step.kernel, channels)).map(|(g, o)| g * o).sum();
            gradients[step.matrix_offset + new_tap * taps + tap] += dot;
            let weight = matrix(step, parameters)[new_tap * taps + tap];
            let at = place(tap, size, step.kernel) * channels;
            old_gradient[at..at + channels].iter_mut().zip(g).for_each(|(o, g)| *o += weight * g);
        }
    }
}

fn matrix<'a>(step: &TransformStep, parameters: &'a [f32]) -> &'a [f32] {
    &parameters[step.matrix_offset..step.matrix_offset + step.kernel.pow(4)]
}

/// Index in the larger kernel of a tap of the smaller one.
fn place(tap: usize, before: usize, after: usize) -> usize {
    let border = (before - after) / 2;
    (tap / after + border) * before + tap % after + border
}

fn centre(kernel: &[f32], tap: usize, before: usize, after: usize, channels: usize) -> &[f32] {
    &kernel[place(tap, before, after) * channels..][..channels]
}
