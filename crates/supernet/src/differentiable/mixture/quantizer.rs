//! Weight quantizers of a search: cheap enough for every step.
//!
//! Threshold of a channel: `min(max |w|, f_b · rms)`, f_b the half width, in standard deviations, of the uniform grid
//! with 2^b − 1 levels that quantizes a Gaussian with the least squared error (J. Max, "Quantizing for minimum
//! distortion", 1960, found numerically for odd numbers of levels).

/// f_b for 2 to 8 bits.
const HALF_WIDTHS: [f32; 7] = [1.224, 1.952, 2.474, 2.899, 3.270, 3.607, 3.920];
/// Thresholds stay above this.
const SMALLEST_THRESHOLD: f32 = 1e-8;

/// Thresholds per column of a row-major matrix, for one width.
pub fn thresholds(matrix: &[f32], columns: usize, bits: u8) -> Vec<f32> {
    let (mut largest, mut squares) = (vec![0.0f32; columns], vec![0.0f32; columns]);
    for row in matrix.chunks_exact(columns) {
        for ((largest, square), w) in largest.iter_mut().zip(&mut squares).zip(row) {
            *largest = largest.max(w.abs());
            *square += w * w;
        }
    }
    let rows = (matrix.len() / columns.max(1)).max(1) as f32;
    let factor = HALF_WIDTHS[usize::from(bits.clamp(2, 8) - 2)];
    let each = |(largest, square): (f32, f32)| largest.min(factor * (square / rows).sqrt());
    largest.into_iter().zip(squares).map(|pair| each(pair).max(SMALLEST_THRESHOLD)).collect()
}

/// The matrix at one width, appended to `to`.
pub fn quantize(matrix: &[f32], columns: usize, bits: u8, to: &mut Vec<f32>) {
    let thresholds = thresholds(matrix, columns, bits);
    let levels = ((1u32 << (bits - 1)) - 1) as f32;
    let steps: Vec<(f32, f32, f32)> = thresholds.into_iter().map(|t| (t, levels / t, t / levels)).collect();
    for row in matrix.chunks_exact(columns) {
        to.extend(
            row.iter().zip(&steps).map(|(&w, &(t, inverse, step))| round(w.clamp(-t, t) * inverse) * step),
        );
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
            let mut quantized = vec![];
            quantize(&matrix, 3, bits, &mut quantized);
            let thresholds = thresholds(&matrix, 3, bits);
            for (index, q) in quantized.iter().enumerate() {
                let step = thresholds[index % 3] / ((1u32 << (bits - 1)) - 1) as f32;
                assert!(
                    (q / step - (q / step).round()).abs() < 1e-3 && q.abs() <= thresholds[index % 3] * 1.0001
                );
            }
        }
    }
}
