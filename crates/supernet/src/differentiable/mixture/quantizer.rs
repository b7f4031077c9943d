//! Weight quantizers of a search: cheap enough for every step.
//!
//! Threshold of a channel: `min(max |w|, f_b · rms)`, f_b the half width, in standard deviations, of the uniform grid
//! with 2^b − 1 levels that quantizes a Gaussian with the least squared error (J. Max, "Quantizing for minimum
//! distortion", 1960, found numerically for odd numbers of levels).

/// f_b for 2 to 8 bits.
const HALF_WIDTHS: [f32; 7] = [1.224, 1.952, 2.474, 2.899, 3.270, 3.607, 3.920];
/// Thresholds stay above this.
const SMALLEST_THRESHOLD: f32 = 1e-8;

/// What the thresholds of every width are made of: per column of a row-major matrix the largest magnitude and the root
/// mean square.
pub struct Spread {
    largest: Vec<f32>,
    deviations: Vec<f32>,
}

impl Spread {
    /// Of a matrix.
    pub fn of(matrix: &[f32], columns: usize) -> Self {
        let (mut largest, mut squares) = (vec![0.0f32; columns], vec![0.0f32; columns]);
        for row in matrix.chunks_exact(columns) {
            for ((largest, square), w) in largest.iter_mut().zip(&mut squares).zip(row) {
                *largest = largest.max(w.abs());
                *square += w * w;
            }
        }
        let rows = (matrix.len() / columns.max(1)).max(1) as f32;
        Self { largest, deviations: squares.into_iter().map(|square| (square / rows).sqrt()).collect() }
    }

    /// Thresholds per column, for one width.
    pub fn thresholds(&self, bits: u8) -> Vec<f32> {
        let factor = HALF_WIDTHS[usize::from(bits.clamp(2, 8) - 2)];
        let each =
            |(largest, deviation): (&f32, &f32)| largest.min(factor * deviation).max(SMALLEST_THRESHOLD);
        self.largest.iter().zip(&self.deviations).map(each).collect()
    }
}

/// The matrix at one width, into as many numbers.
pub fn quantize(matrix: &[f32], spread: &Spread, bits: u8, to: &mut [f32]) {
    let (thresholds, levels) = (spread.thresholds(bits), ((1u32 << (bits - 1)) - 1) as f32);
    let inverses: Vec<f32> = thresholds.iter().map(|t| levels / t).collect();
    let steps: Vec<f32> = thresholds.iter().map(|t| t / levels).collect();
    let columns = thresholds.len();
    for (row, to) in matrix.chunks_exact(columns).zip(to.chunks_exact_mut(columns)) {
        let grid = thresholds.iter().zip(&inverses).zip(&steps);
        for ((to, w), ((t, inverse), step)) in to.iter_mut().zip(row).zip(grid) {
            *to = round(w.max(-t).min(*t) * inverse) * step;
        }
    }
}

/// Nearest integer, ties to even, of a number well below 2^22: adding 1.5 · 2^23 leaves no room for a fraction.
#[inline]
fn round(value: f32) -> f32 {
    const NO_FRACTION: f32 = 12_582_912.0;
    (value + NO_FRACTION) - NO_FRACTION
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Squared error of a Gaussian on the grid [-t, t], by the midpoint rule.
    fn distortion(bits: u8, t: f64) -> f64 {
        let step = t / f64::from((1u32 << (bits - 1)) - 1);
        let density = |x: f64| (-x * x / 2.0).exp();
        let each = |i: i32| {
            let x = (f64::from(i) + 0.5) * 1e-3;
            density(x) * (x - (x.clamp(-t, t) / step).round() * step).powi(2)
        };
        (0..8000).map(each).sum()
    }

    #[test]
    fn half_widths_are_the_best_for_a_gaussian() {
        for bits in 2..=8u8 {
            let t = f64::from(HALF_WIDTHS[usize::from(bits - 2)]);
            let here = distortion(bits, t);
            for other in [0.97 * t, 1.03 * t] {
                assert!(here <= distortion(bits, other), "{bits} bits: {t} against {other}");
            }
        }
    }

    #[test]
    fn quantized_weights_have_their_levels() {
        let matrix: Vec<f32> = (0..60).map(|i| (i as f32 * 1.37).sin()).collect();
        for bits in [2u8, 4, 8] {
            let (spread, mut quantized) = (Spread::of(&matrix, 3), vec![0.0; 60]);
            quantize(&matrix, &spread, bits, &mut quantized);
            let thresholds = spread.thresholds(bits);
            for (index, q) in quantized.iter().enumerate() {
                let step = thresholds[index % 3] / ((1u32 << (bits - 1)) - 1) as f32;
                assert!(
                    (q / step - (q / step).round()).abs() < 1e-3 && q.abs() <= thresholds[index % 3] * 1.0001
                );
            }
        }
    }
}
