//! What a network will take in memory, before anything is allocated.

use crate::network::Network;
use crate::plan::{Plan, Purpose};

/// Bytes of the buffers that an [`Executor`](crate::Executor) holds after a training step of `batch` images on
/// `threads` threads: activations, gradients, packed weights, chunk sums and scratch, without the parameters.
///
/// # Panics
/// When the network has no layers.
pub fn training_bytes(network: &Network, batch: usize, threads: usize) -> usize {
    let plan = planned(network, batch, Purpose::Train);
    let widths = (0..network.layers.len()).map(|index| plan.gradient_width(network, index));
    let widest = widths.max().unwrap_or(0);
    bytes(&plan, threads) + (plan.chunks() + 1) * widest * size_of::<f32>()
}

/// As [`training_bytes`], for recomputing batch-norm statistics: forward only.
///
/// # Panics
/// As [`training_bytes`].
pub fn recalibration_bytes(network: &Network, batch: usize, threads: usize) -> usize {
    bytes(&planned(network, batch, Purpose::Recalibrate), threads)
}

fn planned(network: &Network, batch: usize, purpose: Purpose) -> Plan {
    let mut plan = Plan::default();
    plan.make(network, batch.max(1), purpose);
    plan
}

fn bytes(plan: &Plan, threads: usize) -> usize {
    (plan.activations + plan.weights + plan.norms + threads * plan.scratch) * size_of::<f32>()
}
