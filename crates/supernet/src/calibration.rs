//! # Calibration
//!
//! Where to clip: a threshold for each weight channel and a range for each activation, found from the numbers
//! themselves before any training. [`weight_thresholds`] takes a layer's weights; [`ActivationHistogram`] gathers
//! activations in bounded memory and then names a range.
//!
//! A method turns magnitudes and a number of steps into a threshold. Each is one file and one line in
//! [`WEIGHT_METHODS`] and [`ACTIVATION_METHODS`]; all of them pass the same conformance tests. Weights and
//! activations share them, because a symmetric grid of b bits has 2^(b−1) − 1 steps above zero and an unsigned one
//! 2^b − 1, and nothing else differs.

#[cfg(test)]
mod conformance;
mod error;
mod grid;
mod histogram;
mod kl;
mod max_abs;
mod methods;
mod mse;
mod percentile;
mod samples;
mod weights;

pub use error::CalibrationError;
pub use grid::{Grid, fake_quantize, quantize};
pub use histogram::{ActivationHistogram, RELU6_RANGE};
pub use methods::{ACTIVATION_METHODS, ActivationMethod, KL_BELOW_BITS, WEIGHT_METHODS, WeightMethod};
pub use weights::{weight_distortion, weight_thresholds};
