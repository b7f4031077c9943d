//! # Elastic kernels
//!
//! Once-for-all (Cai et al., 2020, §3.2): a smaller kernel is the centre of the next larger one, passed through a
//! learned matrix M that the channels of the block share, step by step (7 → 5 → 3): `new = M · centre(old)`.
//! Backward: `dM += dnew · centre(old)ᵀ`, `d centre(old) = Mᵀ · dnew`. Runs once per step on kernels only.

use crate::network::{KernelTransform, TransformStep};

/// Taps × channels, dense.
type Taps = Vec<f32>;

/// The stored kernel, then the kernel after each step.
pub(crate) fn forward(
    transform: &KernelTransform,
    parameters: &[f32],
    stored: Taps,
    channels: usize,
) -> Vec<Taps> {
    let mut kernels = vec![stored];
    let mut size = transform.stored;
    for step in &transform.steps {
        let taps = step.kernel * step.kernel;
        let matrix = matrix(step, parameters);
        let mut new = vec![0.0; taps * channels];
        for (row, weights) in new.chunks_exact_mut(channels).zip(matrix.chunks_exact(taps)) {
            for (tap, &weight) in weights.iter().enumerate() {
                let old = centre(&kernels[kernels.len() - 1], tap, size, step.kernel, channels);
                row.iter_mut().zip(old).for_each(|(n, o)| *n += weight * o);
            }
        }
        kernels.push(new);
        size = step.kernel;
    }
    kernels
}

/// From the gradient of the last kernel to that of the stored one; adds the gradients of the matrices.
pub(crate) fn backward(
    transform: &KernelTransform,
    parameters: &[f32],
    kernels: &[Taps],
    mut gradient: Taps,
    channels: usize,
    gradients: &mut [f32],
) -> Taps {
    for (index, step) in transform.steps.iter().enumerate().rev() {
        let size = index.checked_sub(1).map_or(transform.stored, |before| transform.steps[before].kernel);
        let taps = step.kernel * step.kernel;
        let matrix = matrix(step, parameters);
        let mut old_gradient = vec![0.0; size * size * channels];
        for (new_tap, g) in gradient.chunks_exact(channels).enumerate() {
            for tap in 0..taps {
                let old = centre(&kernels[index], tap, size, step.kernel, channels);
                let dot: f32 = g.iter().zip(old).map(|(g, o)| g * o).sum();
                gradients[step.matrix_offset + new_tap * taps + tap] += dot;
                let at = place(tap, size, step.kernel) * channels;
                let weight = matrix[new_tap * taps + tap];
                old_gradient[at..at + channels].iter_mut().zip(g).for_each(|(o, g)| *o += weight * g);
            }
        }
        gradient = old_gradient;
    }
    gradient
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
