//! # First values
//!
//! Convolutions: normal with variance 2 / fan-in (He and others, "Delving deep into rectifiers", section 2.2); the
//! classifier: normal with variance 1 / fan-in; norms: factor 1, shift 0; kernel transforms: the identity, so that a
//! smaller kernel starts as the centre of the larger one (Once-for-all, section 3.3).

use rand_chacha::ChaCha8Rng;

use super::{Entry, Kind, Layout};
use crate::random::{Purpose, normal, stream};

/// A buffer of first values; equal seeds give equal buffers.
pub fn initialise(layout: &Layout, seed: u64) -> Vec<f32> {
    let mut values = vec![0.0; layout.len()];
    let mut rng = stream(seed, Purpose::Initialise, [0; 3]);
    layout.entries().iter().for_each(|entry| fill(entry, &mut values[entry.range()], &mut rng));
    values
}

fn fill(entry: &Entry, values: &mut [f32], rng: &mut ChaCha8Rng) {
    match entry.kind {
        Kind::Weight { fan_in } => fill_normal(values, (2.0 / fan_in as f32).sqrt(), rng),
        Kind::Classifier { fan_in } => fill_normal(values, (1.0 / fan_in as f32).sqrt(), rng),
        Kind::Gamma => values.fill(1.0),
        Kind::Beta | Kind::Bias => values.fill(0.0),
        Kind::Transform { side } => (0..side).for_each(|tap| values[tap * side + tap] = 1.0),
    }
}

fn fill_normal(values: &mut [f32], deviation: f32, rng: &mut ChaCha8Rng) {
    values.iter_mut().for_each(|value| *value = deviation * normal(rng));
}

#[cfg(test)]
mod tests {
    use super::*;
    use sartor_space::SearchSpace;

    #[test]
    fn seeds_decide_the_weights() {
        let layout = Layout::elastic(&SearchSpace::preset("quickstart").unwrap());
        assert_eq!(initialise(&layout, 1), initialise(&layout, 1));
        assert_ne!(initialise(&layout, 1), initialise(&layout, 2));
    }

    #[test]
    fn weights_have_the_wanted_variance() {
        let layout = Layout::elastic(&SearchSpace::preset("quickstart").unwrap());
        let values = initialise(&layout, 3);
        for entry in layout.entries().iter().filter(|entry| entry.range().len() > 2000) {
            let Kind::Weight { fan_in } = entry.kind else { continue };
            let weights = &values[entry.range()];
            let variance = weights.iter().map(|w| w * w).sum::<f32>() / weights.len() as f32;
            let ratio = variance * fan_in as f32 / 2.0;
            assert!((0.85..1.15).contains(&ratio), "{}: {ratio}", entry.name);
        }
    }
}
