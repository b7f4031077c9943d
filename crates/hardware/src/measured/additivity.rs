//! # How far a sum of layers is from the whole network
//!
//! A table prices a network as the sum of its layers. On a real machine the layers share caches and the runtime adds
//! work between them, so the sum is an estimate; its relative error over some networks belongs to the table.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::summary::quantile;
use crate::HardwareError;

/// A table whose median error is larger than this should not be searched against without a warning.
pub const ADDITIVITY_LIMIT: f64 = 0.10;

/// Relative errors of sums of layers against whole networks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Additivity {
    /// Networks measured as a whole.
    pub networks: usize,
    /// Median of |sum − whole| / whole.
    pub median: f64,
    /// The largest.
    pub worst: f64,
    /// Mean of (sum − whole) / whole: negative if sums are too small.
    pub bias: f64,
}

impl Additivity {
    /// From pairs of (whole network, sum of its layers), in one unit.
    ///
    /// # Errors
    /// [`HardwareError::TooFew`] without a network.
    pub fn of(pairs: &[(f64, f64)]) -> Result<Self, HardwareError> {
        if pairs.is_empty() {
            return Err(HardwareError::TooFew { what: "the additivity error", needed: 1, got: 0 });
        }
        let signed: Vec<f64> = pairs.iter().map(|(whole, sum)| (sum - whole) / whole).collect();
        let mut errors: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        errors.sort_by(f64::total_cmp);
        Ok(Self {
            networks: pairs.len(),
            median: quantile(&errors, 0.5),
            worst: errors[errors.len() - 1],
            bias: signed.iter().sum::<f64>() / signed.len() as f64,
        })
    }

    /// Whether a search against the table deserves a warning.
    pub fn is_poor(&self) -> bool {
        self.median > ADDITIVITY_LIMIT
    }
}

/// As tables record it.
impl fmt::Display for Additivity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { networks, median, worst, bias } = self;
        write!(formatter, "networks {networks}, median {median:.4}, worst {worst:.4}, bias {bias:.4}")
    }
}

impl FromStr for Additivity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |part: &str, name: &str| -> Option<f64> {
            part.trim().strip_prefix(name)?.trim().parse().ok().filter(|number: &f64| number.is_finite())
        };
        let parts: Vec<&str> = text.split(',').collect();
        let [networks, median, worst, bias] = parts[..] else { return Err(()) };
        let networks = number(networks, "networks").ok_or(())? as usize;
        let (median, worst) = (number(median, "median").ok_or(())?, number(worst, "worst").ok_or(())?);
        Ok(Self { networks, median, worst, bias: number(bias, "bias").ok_or(())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_to_the_whole() {
        let error = Additivity::of(&[(10.0, 9.0), (10.0, 10.5), (10.0, 10.0)]).unwrap();
        assert_eq!((error.networks, error.median, error.worst), (3, 0.05, 0.1));
        assert!((error.bias + 0.05 / 3.0).abs() < 1e-12);
        assert!(!error.is_poor());
        assert!(Additivity::of(&[(10.0, 8.0)]).unwrap().is_poor());
        assert!(Additivity::of(&[]).is_err());
    }

    #[test]
    fn survives_its_own_text() {
        let error = Additivity { networks: 20, median: 0.0412, worst: 0.25, bias: -0.03 };
        assert_eq!(error.to_string().parse(), Ok(error));
        for text in ["", "networks x, median 1, worst 1, bias 1", "median 0.1"] {
            assert_eq!(text.parse::<Additivity>(), Err(()), "{text}");
        }
    }
}
