//! # Least squared error
//!
//! The threshold whose grid changes the numbers least: min over v of Σ (x − x'(v))². Looked for on a geometric grid
//! of fractions of the largest magnitude (8 an octave, down to 1/256), then between the neighbours of the best. The
//! error of a threshold takes three running totals (counts, sums, squares) over sorted magnitudes, so it costs as many
//! steps as the grid has numbers: Σ (x − kΔ)² = Σx² − 2kΔ Σx + k²Δ² n within the cell of number k.

use super::samples::{Samples, cells, running};

const FRACTIONS_PER_OCTAVE: i32 = 8;
const OCTAVES: i32 = 8;
/// Thresholds tried on either side of the best fraction.
const REFINEMENTS: i32 = 8;

pub(super) fn threshold(samples: &Samples, steps: u32) -> f32 {
    let error = SquaredError::new(samples);
    let fraction = |exponent: f64| {
        (samples.largest() as f64 * 2f64.powf(exponent / f64::from(FRACTIONS_PER_OCTAVE))) as f32
    };
    let coarse =
        best((0..=FRACTIONS_PER_OCTAVE * OCTAVES).map(|i| -f64::from(i)), |e| error.of(fraction(e), steps));
    let around = (-REFINEMENTS..=REFINEMENTS).map(|i| coarse - f64::from(i) / f64::from(REFINEMENTS));
    let fine = best(around.filter(|&exponent| exponent <= 0.0), |e| error.of(fraction(e), steps));
    fraction(fine)
}

/// The first exponent of least error; exponents come in falling order, so ties go to the larger threshold.
fn best(exponents: impl Iterator<Item = f64>, error: impl Fn(f64) -> f64) -> f64 {
    let rated = exponents.map(|exponent| (exponent, error(exponent)));
    rated.reduce(|best, next| if next.1 < best.1 { next } else { best }).map_or(0.0, |(exponent, _)| exponent)
}

/// Squared error of quantizing magnitudes, for any threshold.
pub(super) struct SquaredError<'a> {
    values: &'a [f32],
    counts: Vec<f64>,
    sums: Vec<f64>,
    squares: Vec<f64>,
}

impl<'a> SquaredError<'a> {
    pub(super) fn new(samples: &'a Samples) -> Self {
        SquaredError {
            values: &samples.values,
            counts: running(samples, |_, count| count),
            sums: running(samples, |value, count| value * count),
            squares: running(samples, |value, count| value * value * count),
        }
    }

    /// Σ (x − x')² with this threshold at this many steps above zero.
    pub(super) fn of(&self, threshold: f32, steps: u32) -> f64 {
        let scale = f64::from(threshold) / f64::from(steps);
        let cell_error = |(level, cell): (u32, std::ops::Range<usize>)| {
            let total = |sums: &[f64]| sums[cell.end] - sums[cell.start];
            let number = f64::from(level) * scale;
            total(&self.squares) - 2.0 * number * total(&self.sums) + number * number * total(&self.counts)
        };
        cells(self.values, scale, steps).map(cell_error).sum::<f64>().max(0.0)
    }

    /// Σ x².
    pub(super) fn power(&self) -> f64 {
        self.squares.last().copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::{Grid, fake_quantize};
    use super::*;
    use crate::random::{Purpose, normal, stream};

    /// Totals are f64 differences, the direct sum is of f32 products.
    const TOLERANCE: f64 = 1e-4;

    fn gaussian(count: usize) -> Samples {
        let mut rng = stream(3, Purpose::Images, [0; 3]);
        Samples::of((0..count).map(|_| normal(&mut rng)))
    }

    #[test]
    fn the_error_equals_quantizing_each_value() {
        let samples = gaussian(5000);
        for (threshold, bits) in [(1.0, 2), (2.5, 4), (4.0, 8)] {
            let grid = Grid::symmetric(threshold, bits).unwrap();
            let direct: f64 =
                samples.values.iter().map(|&x| f64::from(x - fake_quantize(x, &grid)).powi(2)).sum();
            let fast = SquaredError::new(&samples).of(threshold, grid.high as u32);
            assert!((fast / direct - 1.0).abs() < TOLERANCE, "{bits} bits: {fast} {direct}");
        }
    }

    /// Max (1960), table I and later tables for uniform quantizers of a unit Gaussian: with 3 numbers the step is
    /// 1.224, with 15 it is 0.353 or so; a sample of 200,000 comes within 4 %.
    #[test]
    fn gaussian_thresholds_are_the_textbook_ones() {
        let samples = gaussian(200_000);
        for (steps, expected) in [(1, 1.224), (7, 7.0 * 0.353)] {
            let got = f64::from(threshold(&samples, steps));
            assert!((got / expected - 1.0).abs() < 0.04, "{steps} steps: {got}, expected {expected}");
        }
    }

    #[test]
    fn no_threshold_of_a_fine_scan_is_clearly_better() {
        let samples = gaussian(3000);
        let error = SquaredError::new(&samples);
        for steps in [1, 7, 31, 127] {
            let found = error.of(threshold(&samples, steps), steps);
            let scan = (1..=1000).map(|i| error.of(samples.largest() * i as f32 / 1000.0, steps));
            let least = scan.fold(f64::INFINITY, f64::min);
            assert!(found < least * 1.01, "{steps} steps: {found} against {least}");
        }
    }
}
