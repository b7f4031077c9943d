//! # Extract: a subnet's effective weights in a buffer of its own
//!
//! Fine-tuning works on a copy that holds one network and nothing elastic: columns and rows that the subnet does not
//! use are left behind and kernel transforms are multiplied out (Once-for-all, section 3.3: crop the centre, then
//! `new taps = M · old taps`). The supernet stays as it is.

use sartor_space::Workload;

use crate::error::Result;
use crate::instantiate::convolutions;
use crate::parameters::{LayerSlot, Layout, rows};

/// Copies the effective numbers of a workload from its layout into the order of `fixed` (made by [`Layout::fixed`]).
pub fn extract(elastic: &Layout, values: &[f32], workload: &Workload, fixed: &Layout) -> Result<Vec<f32>> {
    let mut copy = vec![0.0; fixed.len()];
    for layer in &workload.layers {
        let (from, to) = (elastic.slot(&layer.name)?, fixed.slot(&layer.name)?);
        let columns = to.columns;
        let matrix = effective(from, values, layer.kernel, rows(layer), columns);
        copy[to.weight.offset..][..matrix.len()].copy_from_slice(&matrix);
        copy[to.beta..][..columns].copy_from_slice(&values[from.beta..][..columns]);
    }
    for layer in convolutions(workload) {
        let (from, to) = (elastic.slot(&layer.name)?, fixed.slot(&layer.name)?);
        copy[to.gamma..][..to.columns].copy_from_slice(&values[from.gamma..][..to.columns]);
    }
    Ok(copy)
}

fn effective(slot: &LayerSlot, values: &[f32], kernel: usize, rows: usize, columns: usize) -> Vec<f32> {
    let stored_rows = if slot.kernel == kernel { rows } else { slot.rows };
    let mut matrix = cut(values, slot, stored_rows, columns);
    let mut side = slot.kernel;
    for step in slot.steps.iter().filter(|step| step.kernel >= kernel) {
        let mixing = &values[step.matrix_offset..][..step.kernel.pow(4)];
        matrix = multiply(mixing, &crop(&matrix, side, step.kernel, columns), columns);
        side = step.kernel;
    }
    matrix
}

/// The first rows and columns of a stored matrix, packed.
fn cut(values: &[f32], slot: &LayerSlot, rows: usize, columns: usize) -> Vec<f32> {
    let row = |index: usize| &values[slot.weight.offset + index * slot.weight.row_stride..][..columns];
    (0..rows).flat_map(row).copied().collect()
}

/// The centre taps of every channel.
fn crop(taps: &[f32], side: usize, kernel: usize, channels: usize) -> Vec<f32> {
    let edge = (side - kernel) / 2;
    let row = |tap: usize| (tap / kernel + edge) * side + tap % kernel + edge;
    (0..kernel * kernel).flat_map(|tap| &taps[row(tap) * channels..][..channels]).copied().collect()
}

/// `mixing [taps × taps] · taps [taps × channels]`.
fn multiply(mixing: &[f32], taps: &[f32], channels: usize) -> Vec<f32> {
    let count = taps.len() / channels;
    let mut mixed = vec![0.0; taps.len()];
    for (output, weights) in mixed.chunks_exact_mut(channels).zip(mixing.chunks_exact(count)) {
        for (weight, input) in weights.iter().zip(taps.chunks_exact(channels)) {
            output.iter_mut().zip(input).for_each(|(out, tap)| *out += weight * tap);
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instantiate::network;
    use crate::parameters::initialise;
    use crate::random::{Purpose, normal, stream};
    use sartor_engine::Executor;
    use sartor_space::Candidate;

    #[test]
    fn crop_takes_the_centre() {
        let taps: Vec<f32> = (0..25).map(|tap| tap as f32).collect();
        assert_eq!(crop(&taps, 5, 3, 1), [6.0, 7.0, 8.0, 11.0, 12.0, 13.0, 16.0, 17.0, 18.0]);
    }

    /// The view transforms kernels in the engine, the copy here: sums run in another order.
    const FUNCTION_TOLERANCE: f32 = 1e-3;

    #[test]
    fn a_copy_computes_what_the_view_computes() {
        let space = crate::fixtures::space();
        let layout = Layout::elastic(&space);
        let mut values = initialise(&layout, 2);
        let mut rng = stream(1, Purpose::Images, [0; 3]);
        values.iter_mut().for_each(|value| *value += 0.05 * normal(&mut rng));
        for round in 0..10 {
            let subnet = space.random_subnet(&mut stream(round, Purpose::Subnet, [0; 3]));
            let workload = space.lower(&Candidate { subnet, policy: None });
            let fixed = Layout::fixed(&workload);
            let copy = extract(&layout, &values, &workload, &fixed).unwrap();
            let view = logits(&layout, &workload, &values);
            let copied = logits(&fixed, &workload, &copy);
            let most = view.iter().zip(&copied).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < FUNCTION_TOLERANCE, "round {round}: {most}");
        }
    }

    fn logits(layout: &Layout, workload: &Workload, values: &[f32]) -> Vec<f32> {
        let network = network(layout, workload).unwrap();
        let images: Vec<f32> = (0..4 * network.image_length()).map(|i| (i as f32 * 0.7).sin()).collect();
        Executor::new().forward_train(&network, values, &images, 4).unwrap().to_vec()
    }

    #[test]
    fn multiply_mixes_taps_and_keeps_channels_apart() {
        let mixing = [0.0, 1.0, 2.0, 0.0];
        assert_eq!(multiply(&mixing, &[1.0, 10.0, 2.0, 20.0], 2), [2.0, 20.0, 2.0, 20.0]);
    }
}
