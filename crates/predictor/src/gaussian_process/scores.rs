//! Normal scores: what the process is fitted to, so that a long tail of bad networks does not set the scale.

use crate::metrics::mean_ranks;

/// Normal quantiles of the ranks.
pub(super) fn normal_scores(accuracies: &[f64]) -> Vec<f64> {
    let count = accuracies.len() as f64;
    mean_ranks(accuracies).into_iter().map(|rank| normal_quantile((rank + 0.5) / count)).collect()
}

/// Inverse of the normal distribution function, by Giles' (2012) polynomial for erf⁻¹, good to single precision, which
/// is more than ranks carry.
fn normal_quantile(share: f64) -> f64 {
    let x = 2.0 * share - 1.0;
    let w = -((1.0 - x) * (1.0 + x)).ln();
    let (w, coefficients) = if w < 5.0 { (w - 2.5, CENTRAL) } else { (w.sqrt() - 3.0, TAIL) };
    std::f64::consts::SQRT_2 * x * coefficients.iter().fold(0.0, |sum, coefficient| sum * w + coefficient)
}

const CENTRAL: [f64; 9] = [
    2.810_226_36e-8,
    3.432_739_39e-7,
    -3.523_387_7e-6,
    -4.391_506_54e-6,
    2.185_808_7e-4,
    -1.253_725_03e-3,
    -4.177_681_64e-3,
    2.466_407_27e-1,
    1.501_409_41,
];
const TAIL: [f64; 9] = [
    -2.002_142_57e-4,
    1.009_505_58e-4,
    1.349_343_22e-3,
    -3.673_428_44e-3,
    5.739_507_73e-3,
    -7.622_461_3e-3,
    9.438_870_47e-3,
    1.001_674_06,
    2.832_976_82,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (share, quantile) in [(0.5, 0.0), (0.975, 1.959_964), (0.001, -3.090_232), (0.9, 1.281_552)] {
            assert!((normal_quantile(share) - quantile).abs() < 1e-5, "{share}: {}", normal_quantile(share));
        }
    }
}
