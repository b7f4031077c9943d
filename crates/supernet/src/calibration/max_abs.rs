//! # Largest magnitude
//!
//! v = max|x|: nothing is clipped. The papers' choice from 5 bits on (with min(6, max) for activations after ReLU6).

use super::samples::Samples;

pub(super) fn threshold(samples: &Samples) -> f32 {
    samples.largest()
}
