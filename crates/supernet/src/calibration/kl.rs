//! # Least Kullback–Leibler divergence
//!
//! EMS §4, eq. 5 (Wang et al., 2020; after HAQ, Wang et al., 2019): v minimises D(w ‖ w') between the histograms of
//! the original and the quantized numbers. The text does not say how a histogram of few distinct numbers is compared
//! with one of many; the usual reading (entropy calibration of 8-bit inference) is used here:
//!
//! - P: the histogram up to v, what lies above counted in its last bin.
//! - Q: the same bins without what lies above; each number of the grid spreads its mass evenly over the bins that are
//!   rounded to it and are not empty.
//!
//! Then N·D = Σ p ln p − Σ_cells P_cell ln(Q_cell / bins_cell) + N ln(N_kept / N), with p, P, Q as counts. Running
//! totals of p and p ln p make a threshold cost as many steps as the grid has numbers.
//!
//! Differs from common releases: the cells are those of the real rounding (not equal slices), exact zeros are left
//! out, and the number of bins falls with the number of values, for a histogram of one value a bin shows no shape.

use super::samples::{Samples, cells, running};

/// Most bins of the histogram.
const MOST_BINS: usize = 2048;
/// Fewest bins of the histogram.
const FEWEST_BINS: usize = 64;
/// Values wanted per bin.
const VALUES_PER_BIN: u64 = 8;
/// Most thresholds tried.
const MOST_THRESHOLDS: usize = 512;

pub(super) fn threshold(samples: &Samples, steps: u32) -> f32 {
    let count: u64 = samples.counts.iter().sum();
    let bins = ((count / VALUES_PER_BIN) as usize).clamp(FEWEST_BINS, MOST_BINS);
    let binned = samples.binned(bins);
    let divergence = Divergence::new(&binned);
    let last = binned.values.len().saturating_sub(1);
    let stride = binned.values.len().div_ceil(MOST_THRESHOLDS).max(1);
    let first = (steps as usize + 1).min(last);
    let candidates = (0..=(last - first) / stride).map(|i| last - i * stride);
    let rated = candidates.map(|end| (end, divergence.of(end, steps)));
    let best = rated.reduce(|best, next| if next.1 < best.1 { next } else { best });
    best.map_or(samples.largest(), |(end, _)| divergence.edge(end))
}

/// The divergence for any threshold.
struct Divergence<'a> {
    samples: &'a Samples,
    counts: Vec<f64>,
    entropies: Vec<f64>,
}

impl<'a> Divergence<'a> {
    fn new(samples: &'a Samples) -> Self {
        let counts = running(samples, |_, count| count);
        Divergence { samples, counts, entropies: running(samples, |_, count| count * count.ln()) }
    }

    /// The threshold that keeps the bins up to and with `end`.
    fn edge(&self, end: usize) -> f32 {
        let values = &self.samples.values;
        values.get(end + 1).map_or(self.samples.largest(), |next| f32::midpoint(values[end], *next))
    }

    /// N·D when the bins up to and with `end` are kept.
    fn of(&self, end: usize, steps: u32) -> f64 {
        let values = &self.samples.values[..=end];
        let (kept, total) = (self.counts[end + 1], self.counts[self.samples.values.len()]);
        let above = total - kept;
        let last = self.samples.counts[end] as f64 + above;
        let scale = f64::from(self.edge(end)) / f64::from(steps);
        let spread = cells(values, scale, steps).map(|(_, cell)| {
            let mass = self.counts[cell.end] - self.counts[cell.start];
            let tail = if cell.end == end + 1 { above } else { 0.0 };
            (mass + tail) * (mass / cell.len() as f64).ln()
        });
        self.entropies[end] + last * last.ln() - spread.sum::<f64>() + total * (kept / total).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal, stream};

    /// The definition, written out over histograms.
    fn direct(samples: &Samples, end: usize, threshold: f32, steps: u32) -> f64 {
        let mut p: Vec<f64> = samples.counts[..=end].iter().map(|&count| count as f64).collect();
        let q_bins = p.clone();
        p[end] += samples.counts[end + 1..].iter().sum::<u64>() as f64;
        let level = |value: f32| ((value / threshold * steps as f32).round_ties_even() as u32).min(steps);
        let levels: Vec<u32> = samples.values[..=end].iter().map(|&value| level(value)).collect();
        let q: Vec<f64> = levels
            .iter()
            .map(|level| {
                let cell: Vec<usize> = (0..=end).filter(|&i| levels[i] == *level).collect();
                cell.iter().map(|&i| q_bins[i]).sum::<f64>() / cell.len() as f64
            })
            .collect();
        let (p_total, q_total) = (p.iter().sum::<f64>(), q.iter().sum::<f64>());
        p_total * p.iter().zip(&q).map(|(p, q)| p / p_total * (p / p_total * q_total / q).ln()).sum::<f64>()
    }

    fn gaussian(count: usize, outlier: f32) -> Samples {
        let mut rng = stream(5, Purpose::Images, [0; 3]);
        Samples::of((0..count).map(|_| normal(&mut rng)).chain([outlier]))
    }

    #[test]
    fn the_fast_form_equals_the_definition() {
        let samples = gaussian(20_000, 9.0).binned(300);
        let divergence = Divergence::new(&samples);
        for steps in [1, 7, 15] {
            for end in [20, 77, 150, samples.values.len() - 1] {
                let (fast, slow) =
                    (divergence.of(end, steps), direct(&samples, end, divergence.edge(end), steps));
                assert!(
                    (fast - slow).abs() < 1e-6 * slow.abs().max(1.0),
                    "{steps} steps, {end}: {fast} {slow}"
                );
            }
        }
    }

    #[test]
    fn a_lone_outlier_is_clipped_at_few_bits() {
        let samples = gaussian(20_000, 40.0);
        for steps in [1, 3, 7] {
            let found = threshold(&samples, steps);
            assert!((0.5..8.0).contains(&found), "{steps} steps: {found}");
        }
    }

    #[test]
    fn evenly_spread_numbers_are_not_clipped() {
        let samples = Samples::of((1..=16_384).map(|i| i as f32));
        for steps in [1, 3, 7] {
            let found = threshold(&samples, steps);
            assert!(found > 0.95 * samples.largest(), "{steps} steps: {found}");
        }
    }
}
