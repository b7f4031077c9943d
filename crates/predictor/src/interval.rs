//! # 95 % intervals
//!
//! Two kinds: over seeds (Student's t on the mean of a few repeated runs) and over the held-out candidates
//! (percentile bootstrap, Efron 1979). Bootstrap resamples draw from their own random stream each, so the
//! result does not depend on the number of threads.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

/// Resamples of a small held-out set; a large one gets fewer, its interval being narrow anyway.
const RESAMPLES_SMALL: u64 = 1000;
const RESAMPLES_LARGE: u64 = 200;
const LARGE: usize = 2000;

/// Two-sided 97.5 % points of Student's t for 1, 2, … degrees of freedom.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];
const NORMAL: f64 = 1.96;

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Interval {
    /// Mean of repeated runs with Student's interval; one run alone gives an interval of no width. `None` for
    /// no runs.
    pub fn over_seeds(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = (squares / (count - 1.0).max(1.0) / count).sqrt();
        let quantile = STUDENT.get(values.len().saturating_sub(2)).copied().unwrap_or(NORMAL);
        let half = quantile * error;
        (!values.is_empty()).then_some(Self { value: mean, low: mean - half, high: mean + half })
    }
}

/// Percentile bootstrap of a metric of (predicted, truth), resampling candidates.
pub fn bootstrap(
    predicted: &[f64],
    truth: &[f64],
    seed: u64,
    metric: impl Fn(&[f64], &[f64]) -> f64 + Sync,
) -> Interval {
    let resamples = if truth.len() > LARGE { RESAMPLES_LARGE } else { RESAMPLES_SMALL };
    let draw = |stream| {
        let (guess, value) = resample(predicted, truth, seed, stream);
        metric(&guess, &value)
    };
    let mut values: Vec<f64> = (0..resamples).into_par_iter().map(draw).collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
    Interval { value: metric(predicted, truth), low: at(0.025), high: at(0.975) }
}

fn resample(predicted: &[f64], truth: &[f64], seed: u64, stream: u64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let length = predicted.len().min(truth.len());
    (0..length).map(|_| rng.random_range(0..length)).map(|index| (predicted[index], truth[index])).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn student_interval_of_known_values() {
        let interval = Interval::over_seeds(&[1.0, 2.0, 3.0]).expect("three runs");
        let half = 4.303 * (1.0f64 / 3.0).sqrt();
        assert_eq!(interval.value, 2.0);
        assert!((interval.high - 2.0 - half).abs() < 1e-12);
        assert_eq!(Interval::over_seeds(&[0.7]).map(|i| (i.low, i.high)), Some((0.7, 0.7)));
        assert_eq!(Interval::over_seeds(&[]), None);
    }

    #[test]
    fn bootstrap_of_a_mean_has_the_width_of_theory() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let mean = |guess: &[f64], _: &[f64]| guess.iter().sum::<f64>() / guess.len() as f64;
        let interval = bootstrap(&values, &values, 1, mean);
        let theory = 2.0 * 1.96 * (33.25f64 / 400.0).sqrt();
        assert!(((interval.high - interval.low) / theory - 1.0).abs() < 0.15, "{interval:?} {theory}");
        assert_eq!(interval, bootstrap(&values, &values, 1, mean));
    }
}
