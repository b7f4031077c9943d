//! # Optimisers
//!
//! Pure functions over flat slices: no state but the slices given.
//!
//! SGD (as in Sutskever et al., 2013, in the form without dampening):
//! `g ← g + decay · w` where decay applies, `v ← momentum · v + g`, `w ← w - rate · (g + momentum · v)` with Nesterov,
//! `w ← w - rate · v` without.
//!
//! Adam (Kingma & Ba, 2015, algorithm 1), decay added to the gradient:
//! `m ← β₁m + (1-β₁)g`, `s ← β₂s + (1-β₂)g²`, `w ← w - rate · m̂ / (√ŝ + ε)` with the usual bias corrections.

use crate::error::EngineError;

/// Stochastic gradient descent with momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Momentum, 0 for none.
    pub momentum: f32,
    /// Whether to look ahead.
    pub nesterov: bool,
    /// Weight decay, where the mask allows it.
    pub weight_decay: f32,
}

impl Sgd {
    /// One step. All slices have one entry per parameter; `decay_mask[i]` says whether weight i decays.
    ///
    /// # Errors
    /// Lengths that differ.
    pub fn step(
        &self,
        values: &mut [f32],
        gradients: &[f32],
        velocity: &mut [f32],
        learning_rate: f32,
        decay_mask: &[bool],
    ) -> Result<(), EngineError> {
        check_lengths(values.len(), [gradients.len(), velocity.len(), decay_mask.len()])?;
        let look_ahead = if self.nesterov { self.momentum } else { 0.0 };
        let plain = if self.nesterov { 1.0 } else { 0.0 };
        let kept = if self.nesterov { look_ahead } else { 1.0 };
        for (((w, &g), v), &decays) in values.iter_mut().zip(gradients).zip(velocity).zip(decay_mask) {
            let g = g + if decays { self.weight_decay * *w } else { 0.0 };
            *v = self.momentum * *v + g;
            *w -= learning_rate * (plain * g + kept * *v);
        }
        Ok(())
    }
}

/// Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Weight decay, where the mask allows it.
    pub weight_decay: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

impl Adam {
    /// One step; `time` counts steps from 1. Slices as in [`Sgd::step`].
    ///
    /// # Errors
    /// Lengths that differ.
    #[allow(clippy::too_many_arguments)]
    pub fn step(
        &self,
        values: &mut [f32],
        gradients: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        time: u64,
        learning_rate: f32,
        decay_mask: &[bool],
    ) -> Result<(), EngineError> {
        check_lengths(values.len(), [gradients.len(), first.len(), second.len()])?;
        check_lengths(values.len(), [decay_mask.len(); 3])?;
        let correction = |beta: f32| 1.0 - f64::from(beta).powf(time.max(1) as f64);
        let rate = (f64::from(learning_rate) / correction(self.beta1)) as f32;
        let root = correction(self.beta2).sqrt() as f32;
        for i in 0..values.len() {
            let g = gradients[i] + if decay_mask[i] { self.weight_decay * values[i] } else { 0.0 };
            first[i] = self.beta1 * first[i] + (1.0 - self.beta1) * g;
            second[i] = self.beta2 * second[i] + (1.0 - self.beta2) * g * g;
            values[i] -= rate * first[i] / (second[i].sqrt() / root + self.epsilon);
        }
        Ok(())
    }
}

/// Cosine schedule: `base · (1 + cos(π · step / steps)) / 2`; zero from `steps` on.
pub fn cosine(base: f64, step: u64, steps: u64) -> f64 {
    if step >= steps {
        return 0.0;
    }
    0.5 * base * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

fn check_lengths(expected: usize, lengths: [usize; 3]) -> Result<(), EngineError> {
    match lengths.into_iter().find(|&length| length != expected) {
        None => Ok(()),
        Some(got) => Err(EngineError::Length { what: "optimiser state", expected, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f32 = 1e-6;

    #[test]
    fn sgd_follows_its_equations() {
        // Two steps from w = 1 with g = 1, then g = 2, rate 0.1, momentum 0.9, worked by hand.
        struct Case {
            nesterov: bool,
            decay: f32,
            expected: [f32; 2],
        }
        let cases = [
            Case { nesterov: false, decay: 0.0, expected: [0.9, 0.61] },
            Case { nesterov: true, decay: 0.0, expected: [0.81, 0.349] },
            Case { nesterov: false, decay: 0.5, expected: [0.85, 0.4725] },
        ];
        for case in cases {
            let sgd = Sgd { momentum: 0.9, nesterov: case.nesterov, weight_decay: case.decay };
            let (mut w, mut v) = ([1.0], [0.0]);
            for (g, expected) in [1.0, 2.0].into_iter().zip(case.expected) {
                sgd.step(&mut w, &[g], &mut v, 0.1, &[true]).unwrap();
                assert!((w[0] - expected).abs() < TOLERANCE, "{} {}", w[0], expected);
            }
        }
    }

    #[test]
    fn masked_weights_do_not_decay() {
        let sgd = Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.5 };
        let mut w = [1.0, 1.0];
        sgd.step(&mut w, &[0.0, 0.0], &mut [0.0, 0.0], 1.0, &[true, false]).unwrap();
        assert_eq!(w, [0.5, 1.0]);
    }

    #[test]
    fn first_adam_step_is_the_rate() {
        let (mut w, mut m, mut s) = ([1.0f32, 1.0], [0.0; 2], [0.0; 2]);
        Adam::default().step(&mut w, &[3.0, -0.01], &mut m, &mut s, 1, 0.1, &[false; 2]).unwrap();
        assert!((w[0] - 0.9).abs() < TOLERANCE && (w[1] - 1.1).abs() < TOLERANCE);
    }

    #[test]
    fn lengths_are_checked() {
        let sgd = Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
        assert!(sgd.step(&mut [0.0; 2], &[0.0; 2], &mut [0.0; 1], 0.1, &[true; 2]).is_err());
        let adam = Adam::default();
        assert!(adam.step(&mut [0.0], &[0.0], &mut [0.0], &mut [0.0], 1, 0.1, &[]).is_err());
    }

    #[test]
    fn cosine_falls_from_base_to_zero() {
        let table = [(0, 2.0), (5, 1.0), (10, 0.0), (11, 0.0)];
        table.iter().for_each(|&(step, expected)| assert!((cosine(2.0, step, 10) - expected).abs() < 1e-12));
        assert_eq!(cosine(1.0, 0, 0), 0.0);
    }
}
