//! The lists of methods, and how a method is told to look.

use super::samples::Samples;
use super::{CalibrationError, kl, max_abs, mse, percentile};

/// The papers look for the KL threshold below this bit-width and take the largest magnitude from it on.
pub const KL_BELOW_BITS: u8 = 5;

/// How a weight threshold is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WeightMethod {
    /// The largest magnitude.
    MaxAbs,
    /// Least Kullback–Leibler divergence below [`KL_BELOW_BITS`], the largest magnitude from there on.
    Kl,
    /// Least squared error.
    Mse,
    /// This percentile of the magnitudes, above 0 and at most 100.
    Percentile(f32),
}

/// How an activation range is found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ActivationMethod {
    /// The largest magnitude seen.
    MinMax,
    /// Least Kullback–Leibler divergence below [`KL_BELOW_BITS`], the largest magnitude from there on.
    Kl,
    /// Least squared error.
    Mse,
    /// This percentile of the magnitudes, above 0 and at most 100.
    Percentile(f32),
}

/// Every weight method by name; a new one is a file and a line here.
pub const WEIGHT_METHODS: [(&str, WeightMethod); 4] = [
    ("max-abs", WeightMethod::MaxAbs),
    ("kl", WeightMethod::Kl),
    ("mse", WeightMethod::Mse),
    ("percentile", WeightMethod::Percentile(99.9)),
];

/// Every activation method by name; a new one is a file and a line here.
pub const ACTIVATION_METHODS: [(&str, ActivationMethod); 4] = [
    ("min-max", ActivationMethod::MinMax),
    ("kl", ActivationMethod::Kl),
    ("mse", ActivationMethod::Mse),
    ("percentile", ActivationMethod::Percentile(99.9)),
];

impl WeightMethod {
    /// The method of this name in [`WEIGHT_METHODS`].
    pub fn named(name: &str) -> Result<Self, CalibrationError> {
        find(&WEIGHT_METHODS, name)
    }

    pub(super) fn check(self) -> Result<(), CalibrationError> {
        match self {
            Self::Percentile(percentile) if !(percentile > 0.0 && percentile <= 100.0) => {
                Err(CalibrationError::Percentile { percentile })
            }
            _ => Ok(()),
        }
    }

    /// The threshold for a grid of `bits` that has `steps` numbers above zero; 0 when all samples are.
    pub(super) fn threshold(self, samples: &Samples, bits: u8, steps: u32) -> f32 {
        match self {
            _ if samples.values.is_empty() => 0.0,
            Self::Kl if bits < KL_BELOW_BITS => kl::threshold(samples, steps),
            Self::MaxAbs | Self::Kl => max_abs::threshold(samples),
            Self::Mse => mse::threshold(samples, steps),
            Self::Percentile(percentile) => percentile::threshold(samples, percentile),
        }
    }
}

impl ActivationMethod {
    /// The method of this name in [`ACTIVATION_METHODS`].
    pub fn named(name: &str) -> Result<Self, CalibrationError> {
        find(&ACTIVATION_METHODS, name)
    }

    /// The same rule for weights.
    pub(super) fn rule(self) -> WeightMethod {
        match self {
            Self::MinMax => WeightMethod::MaxAbs,
            Self::Kl => WeightMethod::Kl,
            Self::Mse => WeightMethod::Mse,
            Self::Percentile(percentile) => WeightMethod::Percentile(percentile),
        }
    }
}

fn find<M: Copy>(list: &[(&str, M)], name: &str) -> Result<M, CalibrationError> {
    let found = list.iter().find(|(known, _)| *known == name);
    let known = || list.iter().map(|(known, _)| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    found
        .map(|(_, method)| *method)
        .ok_or_else(|| CalibrationError::UnknownMethod { name: name.into(), known: known() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_name() {
        assert_eq!(WeightMethod::named("mse"), Ok(WeightMethod::Mse));
        assert_eq!(ActivationMethod::named("min-max"), Ok(ActivationMethod::MinMax));
        let message = WeightMethod::named("entropy").unwrap_err().to_string();
        assert!(message.contains("`entropy`") && message.contains("`max-abs`, `kl`"), "{message}");
    }
}
