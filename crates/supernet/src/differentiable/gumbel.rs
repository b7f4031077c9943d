//! # Gumbel-softmax: relaxed samples of categorical choices
//!
//! Jang and others, "Categorical reparameterization with Gumbel-softmax", as Gong and others use it (section III-C; their
//! slides: `dᵢ = exp((gᵢ + log vᵢ)/τ) / Σⱼ exp((gⱼ + log vⱼ)/τ)`, gᵢ Gumbel(0, 1), τ the temperature). With the noise
//! held, y is a function of the logits: `∂y/∂θ = (diag(y) − y yᵀ)/τ`. The largest entry of y is an exact sample of
//! softmax(θ).
//!
//! Temperatures follow FBNet: 5, times 0.956 after every period.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::choices::Choice;

/// Standard Gumbel noise for every option.
pub fn noise(options: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let one = |rng: &mut ChaCha8Rng| -(-(1.0 - rng.random::<f64>()).ln().min(-f64::MIN_POSITIVE)).ln() as f32;
    (0..options).map(|_| one(rng)).collect()
}

/// Softmax of each choice's logits.
pub fn probabilities(choices: &[Choice], logits: &[f32]) -> Vec<f32> {
    relaxed(choices, logits, &vec![0.0; logits.len()], 1.0)
}

/// y: softmax of (logits + noise) / temperature within each choice.
pub fn relaxed(choices: &[Choice], logits: &[f32], noise: &[f32], temperature: f64) -> Vec<f32> {
    let mut y = vec![0.0; logits.len()];
    for choice in choices {
        let score = |i: usize| f64::from(logits[i] + noise[i]) / temperature;
        let highest = choice.range.clone().map(score).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = choice.range.clone().map(|i| (score(i) - highest).exp()).sum();
        choice.range.clone().for_each(|i| y[i] = ((score(i) - highest).exp() / total) as f32);
    }
    y
}

/// From the gradient of y to that of the logits.
pub fn backward(choices: &[Choice], y: &[f32], gradient: &[f32], temperature: f64) -> Vec<f32> {
    let mut logits = vec![0.0; y.len()];
    for choice in choices {
        let product = |i: usize| f64::from(y[i]) * f64::from(gradient[i]);
        let mean: f64 = choice.range.clone().map(product).sum();
        for i in choice.range.clone() {
            logits[i] = (f64::from(y[i]) * (f64::from(gradient[i]) - mean) / temperature) as f32;
        }
    }
    logits
}

/// The option of each choice with the largest logit plus noise: a sample, or without noise the most probable one.
pub fn hard(choices: &[Choice], logits: &[f32], noise: &[f32]) -> Vec<usize> {
    let score = |i: usize| logits[i] + noise.get(i).copied().unwrap_or(0.0);
    let best = |choice: &Choice| choice.range.clone().rev().max_by(|&a, &b| score(a).total_cmp(&score(b)));
    choices.iter().map(|choice| best(choice).map_or(0, |i| i - choice.range.start)).collect()
}

/// Mean entropy of the choices, 1 where nothing is decided and 0 where all is.
pub fn entropy(choices: &[Choice], logits: &[f32]) -> f64 {
    let p = probabilities(choices, logits);
    let one = |choice: &Choice| -> f64 {
        let terms = p[choice.range.clone()].iter().map(|&p| f64::from(p)).filter(|&p| p > 0.0);
        -terms.map(|p| p * p.ln()).sum::<f64>() / (choice.range.len() as f64).ln()
    };
    choices.iter().map(one).sum::<f64>() / choices.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    const TOLERANCE: f64 = 2e-3;

    fn choices() -> Vec<Choice> {
        let one = |range| Choice { name: String::new(), range, block: None };
        vec![one(0..3), one(3..5)]
    }

    #[test]
    fn relaxed_samples_are_distributions_and_harden_with_temperature() {
        let logits = [0.3, -0.5, 1.0, 0.2, 0.1];
        let noise = noise(5, &mut stream(1, Purpose::Controller, [0; 3]));
        let softness = |temperature| {
            let y = relaxed(&choices(), &logits, &noise, temperature);
            assert!((y[..3].iter().sum::<f32>() - 1.0).abs() < 1e-6);
            y[..3].iter().copied().fold(0.0, f32::max)
        };
        assert!(softness(5.0) < softness(1.0) && softness(1.0) < softness(0.05) && softness(0.05) > 0.99);
    }

    #[test]
    fn gradients_are_finite_differences() {
        let (logits, temperature) = ([0.3f32, -0.5, 1.0, 0.2, 0.1], 0.7);
        let noise = noise(5, &mut stream(2, Purpose::Controller, [0; 3]));
        let upstream = [0.4f32, -1.0, 2.0, 0.3, 1.7];
        let value = |logits: &[f32]| -> f64 {
            let y = relaxed(&choices(), logits, &noise, temperature);
            y.iter().zip(&upstream).map(|(y, u)| f64::from(y * u)).sum()
        };
        let y = relaxed(&choices(), &logits, &noise, temperature);
        let gradient = backward(&choices(), &y, &upstream, temperature);
        for i in 0..5 {
            let moved = |by: f32| {
                let mut logits = logits;
                logits[i] += by;
                value(&logits)
            };
            let numeric = (moved(5e-3) - moved(-5e-3)) / 1e-2;
            assert!((numeric - f64::from(gradient[i])).abs() < TOLERANCE, "{i}: {numeric} {}", gradient[i]);
        }
    }

    #[test]
    fn hard_samples_follow_the_softmax() {
        let logits = [0.3, -0.5, 1.0, 0.2, 0.1];
        let p = probabilities(&choices(), &logits);
        let mut rng = stream(3, Purpose::Controller, [0; 3]);
        let draws = 20_000;
        let mut counts = [0.0f32; 5];
        for _ in 0..draws {
            let chosen = hard(&choices(), &logits, &noise(5, &mut rng));
            (counts[chosen[0]], counts[3 + chosen[1]]) =
                (counts[chosen[0]] + 1.0, counts[3 + chosen[1]] + 1.0);
        }
        // Four standard errors of a share among 20,000.
        p.iter().zip(counts).for_each(|(p, count)| assert!((p - count / draws as f32).abs() < 0.0142));
    }

    #[test]
    fn entropy_goes_from_one_to_zero() {
        assert!((entropy(&choices(), &[0.0; 5]) - 1.0).abs() < 1e-6);
        assert!(entropy(&choices(), &[40.0, 0.0, 0.0, 40.0, 0.0]) < 1e-9);
    }
}
