//! # Random streams by counter
//!
//! Every random decision draws from its own stream, named by what it is for and where training stands, never from a
//! generator that is carried along. So a resumed run needs no generator state, and a unit of work gives the same
//! result whether it is computed first, last or by another process.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// First weights.
    Initialise = 1,
    /// Shift and flip of a batch; indices: phase, epoch, batch.
    Augment,
    /// Subnets of a step; indices: phase, step, place in the step.
    Subnet,
    /// Images for calibration and batch-norm recalibration.
    Images,
    /// Which full-precision pair to measure; index: pair.
    FullPrecisionPair,
    /// Which mixed-precision pair to measure; indices: architecture, policy.
    MixedPair,
    /// Order of the training images; indices: phase, epoch.
    Order,
    /// Policies on shared architectures.
    Policy,
    /// Which training images become validation images, or are left out; index: class.
    Split,
    /// Samples of a search by gradient; indices: what for, step.
    Controller,
}

/// The stream of a purpose at these indices.
pub fn stream(seed: u64, purpose: Purpose, indices: [u64; 3]) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, ((purpose as u64) << 56) ^ indices[0], indices[1], indices[2]];
    for (chunk, word) in key.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// One standard normal number (Box and Muller).
pub fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_every_part_of_their_name() {
        let names = [
            (1, Purpose::Augment, [0, 0, 0]),
            (2, Purpose::Augment, [0, 0, 0]),
            (1, Purpose::Subnet, [0, 0, 0]),
            (1, Purpose::Augment, [1, 0, 0]),
            (1, Purpose::Augment, [0, 1, 0]),
            (1, Purpose::Augment, [0, 0, 1]),
        ];
        let draws: Vec<u64> = names.iter().map(|&(s, p, i)| stream(s, p, i).random()).collect();
        for (index, draw) in draws.iter().enumerate() {
            assert_eq!(draws.iter().filter(|other| *other == draw).count(), 1, "stream {index}");
        }
        assert_eq!(stream(1, Purpose::Augment, [3, 4, 5]), stream(1, Purpose::Augment, [3, 4, 5]));
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut rng = stream(7, Purpose::Initialise, [0; 3]);
        let draws: Vec<f64> = (0..20_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        // Three standard errors of the mean and of the variance.
        assert!(mean.abs() < 0.022 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
