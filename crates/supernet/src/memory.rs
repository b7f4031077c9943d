//! # Memory: what a training will take, and how to stay below a limit
//!
//! Known before anything is allocated: the engine plans its buffers from the network's shapes alone. The largest
//! network of a space decides, since no subnet takes more.

use sartor_engine::{Network, memory};
use sartor_space::{Candidate, SearchSpace};

use crate::error::{Result, SupernetError};
use crate::instantiate::network;
use crate::parameters::Layout;
use crate::workbench::inference_batch;

/// Threads that scratch is counted for, whatever the machine has: their number must not change a result.
const THREADS: usize = 16;
/// Arrays as long as the parameters: values, velocity, gradients and teacher, and three of them twice while a
/// checkpoint is written.
const ARRAYS: usize = 10;

/// Bytes that training a supernet takes when `images` go through it at once. The data set's own images (one byte a
/// value) come on top.
///
/// # Errors
/// A space that cannot be trained.
pub fn training_bytes(space: &SearchSpace, images: usize) -> Result<usize> {
    let (layout, network) = largest(space)?;
    Ok(bytes(space, &layout, &network, images))
}

/// How many images of a batch may go through the network at once within `limit` bytes; all of them if they fit.
///
/// # Errors
/// A space that cannot be trained, or a limit that not even one image meets.
pub fn micro_batch(space: &SearchSpace, batch: usize, limit: usize) -> Result<usize> {
    let (layout, network) = largest(space)?;
    let bytes = |images| bytes(space, &layout, &network, images);
    // Not quite monotonous: a batch of 17 images is cut into fewer chunks than one of 16.
    let fits = (1..=batch.max(1)).rev().find(|&images| bytes(images) <= limit);
    fits.ok_or_else(|| SupernetError::Memory { limit, needed: bytes(1) })
}

fn largest(space: &SearchSpace) -> Result<(Layout, Network)> {
    space.check_trainable()?;
    let layout = Layout::elastic(space);
    let candidate = Candidate { subnet: space.largest(), policy: None };
    let network = network(&layout, &space.lower(&candidate))?;
    Ok((layout, network))
}

fn bytes(space: &SearchSpace, layout: &Layout, network: &Network, images: usize) -> usize {
    let training = memory::training_bytes(network, images, THREADS);
    let recalibration = memory::recalibration_bytes(network, inference_batch(space.input().size), THREADS);
    let batch = images * network.image_length() * size_of::<f32>();
    training.max(recalibration) + ARRAYS * layout.len() * size_of::<f32>() + batch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_micro_batch_is_the_largest_that_fits() {
        let space = SearchSpace::preset("apq").unwrap();
        for limit in [700_000_000, 1 << 30, 2 << 30] {
            let images = micro_batch(&space, 64, limit).unwrap();
            assert!(training_bytes(&space, images).unwrap() <= limit);
            assert!(
                images < 64 && training_bytes(&space, images + 1).unwrap() > limit,
                "{images} in {limit}"
            );
        }
        assert_eq!(micro_batch(&space, 8, usize::MAX).unwrap(), 8);
    }

    #[test]
    fn a_limit_below_one_image_is_refused_with_what_is_needed() {
        let space = SearchSpace::preset("quickstart").unwrap();
        let error = micro_batch(&space, 64, 1 << 20).unwrap_err();
        let SupernetError::Memory { needed, .. } = error else { panic!("{error}") };
        assert_eq!(needed, training_bytes(&space, 1).unwrap());
        assert_eq!(micro_batch(&space, 64, needed).unwrap(), 1);
    }
}
