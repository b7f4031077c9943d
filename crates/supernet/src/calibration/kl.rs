//! # Least Kullback–Leibler divergence
//!
//! EMS §4, eq. 5 (Wang et al., 2020; after HAQ, Wang et al., 2019): v minimises D(w ‖ w') between the original and the
//! quantized numbers. The text does not say how a distribution of many numbers is compared with one of a few; the
//! authors' release compares *cumulative* distributions, and so does this:
//!
//! - F: cumulative distribution of the magnitudes in B = √N equal bins from 0 to the largest.
//! - Q(v): straight lines through F, set to 1 from v on, at 2^(b−1) (unsigned: 2^b) knots evenly spaced from 0 to v;
//!   1 above v.
//! - D = Σ_bins (F − Q) · log(F / Q), the symmetric divergence (Jeffreys), finite wherever F and Q are positive.
//!
//! Differs from the release: at most [`MOST_BINS`] bins and [`MOST_THRESHOLDS`] thresholds, so that large tensors cost
//! no more than 10⁶ logarithms; cumulative values are kept above half a count, where the release divides by zero; an
//! unsigned tensor has as many knots as it has numbers, where the release counts b − 1 bits for it too; the threshold
//! is the upper edge of the last kept bin, and so never above the largest magnitude.

use super::samples::Samples;

/// Most bins of the histogram.
const MOST_BINS: usize = 2048;
/// Most thresholds tried.
const MOST_THRESHOLDS: usize = 256;
/// Cumulative values stay above this part of one count.
const LEAST_COUNT: f64 = 0.5;

pub(super) fn threshold(samples: &Samples, steps: u32) -> f32 {
    let distribution = cumulative(samples);
    let (bins, knots) = (distribution.len(), steps as usize + 1);
    let stride = bins.div_ceil(MOST_THRESHOLDS);
    let candidates = (knots + 1..=bins).rev().step_by(stride);
    let rated = candidates.map(|kept| (kept, divergence(&distribution, kept, knots)));
    let best = rated.reduce(|best, next| if next.1 < best.1 { next } else { best });
    best.map_or(samples.largest(), |(kept, _)| samples.largest() * (kept as f32 / bins as f32))
}

/// F: the share of magnitudes, zeros included, up to and with each bin.
fn cumulative(samples: &Samples) -> Vec<f64> {
    let total = samples.zeros + samples.counts.iter().sum::<u64>();
    let bins = ((total as f64).sqrt().ceil() as usize).clamp(1, MOST_BINS);
    let mut counts = vec![0; bins];
    for (value, count) in samples.values.iter().zip(&samples.counts) {
        counts[((value / samples.largest() * bins as f32) as usize).min(bins - 1)] += count;
    }
    let sums = counts.iter().scan(samples.zeros, |sum, count| {
        *sum += count;
        Some((*sum as f64).max(LEAST_COUNT) / total as f64)
    });
    sums.collect()
}

/// D when the first `kept` bins are below the threshold.
fn divergence(distribution: &[f64], kept: usize, knots: usize) -> f64 {
    let clipped = |bin: usize| if bin + 1 >= kept { 1.0 } else { distribution[bin] };
    let heights: Vec<f64> = (0..knots)
        .map(|knot| interpolate(knot as f64 * (kept - 1) as f64 / (knots - 1) as f64, kept, clipped))
        .collect();
    let approximation = |bin: usize| {
        let position = bin as f64 * (knots - 1) as f64 / (kept - 1) as f64;
        interpolate(position, knots, |knot| heights[knot])
    };
    let term = |(bin, &exact): (usize, &f64)| {
        let approximate = if bin < kept { approximation(bin) } else { 1.0 };
        (exact - approximate) * (exact / approximate).ln()
    };
    distribution.iter().enumerate().map(term).sum()
}

/// Value between two neighbours of an evenly spaced table of `len` entries, by a straight line.
fn interpolate(position: f64, len: usize, table: impl Fn(usize) -> f64) -> f64 {
    let left = (position as usize).min(len - 1);
    let right = (left + 1).min(len - 1);
    let share = position - left as f64;
    table(left) * (1.0 - share) + table(right) * share
}

#[cfg(test)]
mod tests {
    use super::super::mse;
    use super::*;
    use crate::random::{Purpose, normal, stream};

    fn gaussian(count: usize, outlier: f32) -> Samples {
        let mut rng = stream(5, Purpose::Images, [0; 3]);
        Samples::of((0..count).map(|_| normal(&mut rng)).chain([outlier]))
    }

    #[test]
    fn divergences_worked_out_by_hand() {
        let distribution = [0.5, 1.0, 1.0, 1.0];
        let quarter = 0.25 * (1.0f64 / 0.75).ln();
        assert!((divergence(&distribution, 3, 2) - quarter).abs() < 1e-15, "bin 1 lies at 0.75 on the line");
        assert_eq!(divergence(&distribution, 3, 3), 0.0, "three knots on three bins are exact");
        let ramp = [0.25, 0.5, 0.75, 1.0];
        assert!(divergence(&ramp, 4, 2).abs() < 1e-15, "a straight line is its own approximation");
        let clipped = 0.25 * (0.75f64).ln().abs();
        assert!((divergence(&ramp, 3, 3) - clipped).abs() < 1e-15, "all of bin 3 is clipped into bin 2");
    }

    #[test]
    fn cumulative_values_count_zeros_and_end_at_one() {
        let samples = Samples { zeros: 12, ..Samples::of([0.1, 0.9, 1.9, 4.0].into_iter()) };
        assert_eq!(cumulative(&samples), [14.0 / 16.0, 15.0 / 16.0, 15.0 / 16.0, 1.0]);
        let late = Samples::of([4.0f32; 4].into_iter());
        assert_eq!(cumulative(&late), [LEAST_COUNT / 4.0, 1.0]);
    }

    /// On Gaussian weights the threshold costs at most 15 % more squared error than the best one.
    #[test]
    fn bell_shaped_weights_are_clipped_where_it_serves_them() {
        const SLACK: f64 = 1.15;
        for outlier in [0.0, 8.0] {
            let samples = gaussian(20_000, outlier);
            let error = mse::SquaredError::new(&samples);
            for steps in [1, 3, 7] {
                let [found, best] = [threshold(&samples, steps), mse::threshold(&samples, steps)];
                let ratio = error.of(found, steps) / error.of(best, steps);
                assert!(
                    ratio < SLACK,
                    "outlier {outlier}, {steps} steps: {found} against {best}, error ×{ratio}"
                );
            }
        }
    }

    #[test]
    fn evenly_spread_and_few_numbers_are_not_clipped() {
        for count in [1, 2, 5, 16_384] {
            let samples = Samples::of((1..=count).map(|i| i as f32));
            for steps in [1, 3, 7] {
                assert_eq!(threshold(&samples, steps), samples.largest(), "{count} numbers, {steps} steps");
            }
        }
    }
}
