//! # Activation histogram
//!
//! Gathers the magnitudes of a tensor over many batches in bounded memory. Bins are equal and the range is always the
//! smallest power of two above the largest magnitude: when a larger one comes, neighbouring bins are added together,
//! which loses nothing that a histogram of the new range would have known. So the result does not depend on the order
//! of the values, nor on how they were split over histograms that are merged.

use super::ActivationMethod;
use super::grid::steps;
use super::mse::SquaredError;
use super::samples::Samples;

/// Bins; at least half of them are below the largest magnitude.
const BINS: usize = 4096;
/// Ranges stay between these powers of two; magnitudes above the last count as not finite.
const SMALLEST_RANGE: f32 = 1.0 / (1u128 << 100) as f32;
const LARGEST_RANGE: f32 = (1u128 << 100) as f32;
/// Largest output of ReLU6: no unsigned range is above.
pub const RELU6_RANGE: f32 = 6.0;
/// Range of a signed tensor that was never anything but zero.
const SIGNED_RANGE_OF_ZEROS: f32 = 1.0;
/// Ranges at least this large keep a normal scale at 16 bits.
const SMALLEST_RESULT: f32 = 1e-30;

/// Magnitudes of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationHistogram {
    signed: bool,
    /// Power of two above every magnitude.
    range: f32,
    counts: Vec<u64>,
    zeros: u64,
    largest: f32,
    not_finite: u64,
}

impl ActivationHistogram {
    /// An empty histogram. Unsigned (after ReLU6): negative values count as zeros, as they will be quantized to.
    /// Signed (linear outputs): magnitudes count.
    pub fn new(signed: bool) -> Self {
        let counts = vec![0; BINS];
        ActivationHistogram { signed, range: SMALLEST_RANGE, counts, zeros: 0, largest: 0.0, not_finite: 0 }
    }

    /// Counts these values.
    pub fn observe(&mut self, values: &[f32]) {
        let signed = self.signed;
        let magnitude = |value: f32| if signed { value.abs() } else { value.max(0.0) };
        let believed = |value: &f32| value.abs() < LARGEST_RANGE;
        let largest =
            values.iter().filter(|value| believed(value)).fold(0.0, |max: f32, &x| max.max(magnitude(x)));
        self.grow_above(largest);
        let bins_per_unit = BINS as f32 / self.range;
        for &value in values {
            let magnitude = magnitude(value);
            if magnitude > 0.0 && believed(&value) {
                self.counts[((magnitude * bins_per_unit) as usize).min(BINS - 1)] += 1;
            } else if value.abs() < LARGEST_RANGE {
                self.zeros += 1;
            } else {
                self.not_finite += 1;
            }
        }
    }

    /// Adds what another histogram of the same kind has counted.
    pub fn merge(&mut self, other: &ActivationHistogram) {
        self.grow_above(other.largest);
        let mut other = other.clone();
        other.grow_above(self.largest);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.zeros += other.zeros;
        self.not_finite += other.not_finite;
    }

    /// The range v for `bits`: unsigned [0, v] with v at most 6, signed [−v, v]. Always positive; 6 or 1 when nothing
    /// but zeros was seen. Bit-widths outside 2 to 16 are taken for the nearest of these, percentiles likewise.
    pub fn range(&self, bits: u8, method: ActivationMethod) -> f32 {
        let samples = self.samples();
        let bits = bits.clamp(2, 16);
        let steps = steps(bits, self.signed).unwrap_or(1);
        match (method.rule().threshold(&samples, bits, steps), self.signed) {
            (0.0, true) => SIGNED_RANGE_OF_ZEROS,
            (0.0, false) => RELU6_RANGE,
            (range, true) => range.max(SMALLEST_RESULT),
            (range, false) => range.clamp(SMALLEST_RESULT, RELU6_RANGE),
        }
    }

    /// The threshold for a grid with so many steps above zero, wherever it lies (there is no ceiling at 6); 0 when
    /// nothing but zeros was seen.
    pub fn threshold(&self, bits: u8, steps: u32, method: ActivationMethod) -> f32 {
        method.rule().threshold(&self.samples(), bits.clamp(2, 16), steps.max(1))
    }

    /// Squared error of quantizing with this range, relative to the values' own squares, as far as the bins tell.
    pub fn distortion(&self, bits: u8, range: f32) -> f64 {
        let samples = self.samples();
        let error = SquaredError::new(&samples);
        let steps = steps(bits.clamp(2, 16), self.signed).unwrap_or(1);
        let power = error.power();
        if power > 0.0 { error.of(range.max(SMALLEST_RESULT), steps) / power } else { 0.0 }
    }

    /// Number of values counted, without those that were not finite.
    pub fn total(&self) -> u64 {
        self.zeros + self.counts.iter().sum::<u64>()
    }

    /// Number of values that were not finite (or beyond 2^100) and were left out.
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// Makes the range the smallest power of two above `magnitude`, if it is not that large yet.
    fn grow_above(&mut self, magnitude: f32) {
        self.largest = self.largest.max(magnitude);
        let mut doublings = 0;
        while self.range <= magnitude && self.range < LARGEST_RANGE {
            self.range *= 2.0;
            doublings += 1;
        }
        if doublings > 0 {
            self.halve_resolution(doublings);
        }
    }

    fn halve_resolution(&mut self, doublings: u32) {
        let mut coarse = vec![0; BINS];
        for (bin, count) in self.counts.iter().enumerate() {
            coarse[bin.checked_shr(doublings).unwrap_or(0)] += count;
        }
        self.counts = coarse;
    }

    /// Full bins at their middles; the last one at the largest magnitude, which is known exactly.
    fn samples(&self) -> Samples {
        let full = || (0..BINS).filter(|&bin| self.counts[bin] > 0);
        let width = self.range / BINS as f32;
        let mut values: Vec<f32> = full().map(|bin| (bin as f32 + 0.5) * width).collect();
        values.last_mut().into_iter().for_each(|last| *last = self.largest);
        Samples { values, counts: full().map(|bin| self.counts[bin]).collect(), zeros: self.zeros }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal, stream};
    use proptest::prelude::*;

    fn gaussian(count: usize) -> Vec<f32> {
        let mut rng = stream(9, Purpose::Images, [0; 3]);
        (0..count).map(|_| normal(&mut rng)).collect()
    }

    fn observed(signed: bool, parts: &[&[f32]]) -> ActivationHistogram {
        let mut histogram = ActivationHistogram::new(signed);
        parts.iter().for_each(|part| histogram.observe(part));
        histogram
    }

    #[test]
    fn ranges_of_known_values() {
        use ActivationMethod::MinMax;
        assert_eq!(observed(true, &[&[1.0, -3.5, 2.0]]).range(8, MinMax), 3.5);
        assert_eq!(observed(false, &[&[1.0, -3.5, 2.0]]).range(8, MinMax), 2.0);
        assert_eq!(observed(false, &[&[1.0], &[7.5]]).range(8, MinMax), RELU6_RANGE);
        assert_eq!(observed(false, &[&[0.0; 9]]).range(4, MinMax), RELU6_RANGE);
        assert_eq!(ActivationHistogram::new(true).range(4, ActivationMethod::Kl), SIGNED_RANGE_OF_ZEROS);
    }

    #[test]
    fn values_that_are_not_finite_are_counted_apart() {
        let histogram = observed(true, &[&[f32::NAN, f32::INFINITY, -1e38, 0.5, 0.0]]);
        assert_eq!((histogram.not_finite(), histogram.total()), (3, 2));
        assert_eq!(histogram.range(8, ActivationMethod::MinMax), 0.5);
    }

    #[test]
    fn histogram_errors_are_close_to_the_exact_ones() {
        let values = gaussian(50_000);
        let histogram = observed(true, &[&values]);
        let exact = Samples::of(values.into_iter());
        let error = SquaredError::new(&exact);
        for bits in [2, 4, 6, 8] {
            let range = histogram.range(bits, ActivationMethod::Mse);
            let steps = steps(bits, true).unwrap();
            let best = error.of(super::super::mse::threshold(&exact, steps), steps);
            assert!(error.of(range, steps) < 1.01 * best, "{bits} bits");
            let told = histogram.distortion(bits, range) * error.power();
            assert!((told / error.of(range, steps) - 1.0).abs() < 0.02, "{bits} bits");
        }
    }

    proptest! {
        #[test]
        fn order_and_splitting_change_nothing(mut values in prop::collection::vec(prop_oneof![-1e-3f32..1e-3, -2.0f32..2.0, Just(0.0), -1e9f32..1e9], 1..60), cut in 0usize..60, signed: bool) {
            let whole = observed(signed, &[&values]);
            let cut = cut.min(values.len());
            let mut merged = observed(signed, &[&values[cut..]]);
            merged.merge(&observed(signed, &[&values[..cut]]));
            prop_assert_eq!(&merged, &whole);
            values.reverse();
            let one_by_one: Vec<&[f32]> = values.chunks(1).collect();
            prop_assert_eq!(&observed(signed, &one_by_one), &whole);
        }
    }
}
