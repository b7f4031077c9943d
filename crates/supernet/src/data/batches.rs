//! Batches of normalised images, in an order that an epoch's number decides.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::augmentation::{Placement, place};
use super::{Augmentation, Images, Normalization};
use crate::random::{Purpose, stream};

/// Fills `out` with the normalised images at `indices`, `[indices, size, size, channels]`, and `labels` with theirs.
/// Both are cleared first; their memory is used again. `augmentation` draws three numbers per image.
///
/// # Panics
/// When an index is not below the number of images.
pub fn batch(
    images: &Images,
    indices: &[u32],
    normalization: &Normalization,
    mut augmentation: Option<(&Augmentation, &mut ChaCha8Rng)>,
    out: &mut Vec<f32>,
    labels: &mut Vec<usize>,
) {
    out.clear();
    labels.clear();
    out.reserve(indices.len() * images.stride());
    labels.extend(indices.iter().map(|&index| images.labels[index as usize] as usize));
    let table = normalization.table();
    for &index in indices {
        let placement = augmentation.as_mut().map_or(Placement::default(), |(what, rng)| what.draw(rng));
        place(images, index as usize, placement, &table, out);
    }
}

/// The numbers 0 to `len` − 1, shuffled; depends on `seed` and `epoch` only.
pub fn epoch_order(len: usize, seed: u64, epoch: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..len as u32).collect();
    order.shuffle(&mut stream(seed, Purpose::Order, [0, epoch, 0]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn images() -> Images {
        Images { size: 2, channels: 1, pixels: (0..40).collect(), labels: (0..10).collect() }
    }

    #[test]
    fn a_plain_batch_is_the_normalised_pixels() {
        let normalization = Normalization { zero_point: 10, scale: 0.5 };
        let (mut out, mut labels) = (vec![9.0], vec![9]);
        batch(&images(), &[3, 0], &normalization, None, &mut out, &mut labels);
        assert_eq!(out, [1.0, 1.5, 2.0, 2.5, -5.0, -4.5, -4.0, -3.5]);
        assert_eq!(labels, [3, 0]);
    }

    #[test]
    fn padding_is_real_zero_and_the_generator_decides() {
        let normalization = Normalization { zero_point: 100, scale: 0.01 };
        let augmentation = Augmentation { shift: 1, flip: true };
        let indices: Vec<u32> = (0..10).collect();
        let run = |seed| {
            let (mut out, mut labels) = (Vec::new(), Vec::new());
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            batch(
                &images(),
                &indices,
                &normalization,
                Some((&augmentation, &mut rng)),
                &mut out,
                &mut labels,
            );
            out
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(1).contains(&0.0), "no pixel of these images is the zero point, only padding");
    }

    #[test]
    fn orders_are_permutations_that_differ_by_epoch_and_seed() {
        let mut sorted = epoch_order(100, 1, 0);
        assert_eq!(sorted, epoch_order(100, 1, 0));
        assert_ne!(sorted, epoch_order(100, 1, 1));
        assert_ne!(sorted, epoch_order(100, 2, 0));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<u32>>());
        assert!(epoch_order(0, 1, 0).is_empty());
    }
}
