//! # Percentile
//!
//! The smallest magnitude that at least p percent of all numbers, zeros included, do not exceed: clips a fixed share
//! of outliers, whatever the bit-width.

use super::samples::Samples;

pub(super) fn threshold(samples: &Samples, percentile: f32) -> f32 {
    let total = samples.zeros + samples.counts.iter().sum::<u64>();
    let wanted = f64::from(percentile.clamp(0.0, 100.0)) / 100.0 * total as f64;
    let mut seen = samples.zeros;
    for (&value, count) in samples.values.iter().zip(&samples.counts) {
        seen += count;
        if seen as f64 >= wanted {
            return value;
        }
    }
    samples.largest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_percentiles() {
        let samples = Samples::of((1..=100).map(|i| i as f32));
        for (percentile, expected) in [(100.0, 100.0), (99.0, 99.0), (98.5, 99.0), (50.0, 50.0), (0.5, 1.0)] {
            assert_eq!(threshold(&samples, percentile), expected, "{percentile}");
        }
        let sparse = Samples { zeros: 900, ..samples };
        assert_eq!(threshold(&sparse, 95.0), 50.0);
        assert_eq!(threshold(&sparse, 10.0), 1.0, "among the zeros: the smallest magnitude, never 0");
    }
}
