//! # Many runs, one number
//!
//! The median of what is left after runs further than three scaled median absolute deviations from the median are
//! dropped: a run that another process interrupted says nothing about the layer. The spread is the interquartile range
//! of what is left, relative to the median.

use serde::Serialize;

/// Deviations from the median beyond which a run is dropped.
const DEVIATIONS: f64 = 3.0;
/// Makes the median absolute deviation of a normal distribution its standard deviation.
const NORMAL: f64 = 1.4826;

/// Repeated runs in short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Median of the runs kept.
    pub median: f64,
    /// Interquartile range over median.
    pub spread: f64,
    /// Runs kept.
    pub kept: usize,
    /// Runs dropped.
    pub dropped: usize,
}

/// Summarizes repeated runs; `None` without any, or if one is no positive number.
pub fn summarize(runs: &[f64]) -> Option<Summary> {
    if runs.is_empty() || runs.iter().any(|run| !(run.is_finite() && *run > 0.0)) {
        return None;
    }
    let middle = quantile(&sorted(runs.iter().copied()), 0.5);
    let deviation = quantile(&sorted(runs.iter().map(|run| (run - middle).abs())), 0.5) * NORMAL;
    let near = |run: &f64| deviation == 0.0 || (run - middle).abs() <= DEVIATIONS * deviation;
    let kept = sorted(runs.iter().copied().filter(near));
    let median = quantile(&kept, 0.5);
    let spread = (quantile(&kept, 0.75) - quantile(&kept, 0.25)) / median;
    Some(Summary { median, spread, kept: kept.len(), dropped: runs.len() - kept.len() })
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Linear between order statistics; `values` is sorted and not empty.
pub(super) fn quantile(values: &[f64], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    values[low] + (values[high] - values[low]) * (place - low as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_runs_are_dropped() {
        let mut runs = vec![1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01];
        let calm = summarize(&runs).unwrap();
        runs.extend([9.0, 40.0]);
        let disturbed = summarize(&runs).unwrap();
        assert_eq!((calm.median, disturbed.median), (1.0, 1.0));
        assert_eq!((disturbed.kept, disturbed.dropped), (7, 2));
        assert!(disturbed.spread < 0.03, "{disturbed:?}");
    }

    #[test]
    fn equal_runs_have_no_spread_and_rubbish_has_no_summary() {
        assert_eq!(summarize(&[2.0; 5]).unwrap().spread, 0.0);
        for runs in [&[][..], &[1.0, f64::NAN], &[0.0], &[-1.0]] {
            assert_eq!(summarize(runs), None, "{runs:?}");
        }
    }
}
