//! # Bilevel: the controller's gradient through one step of the weights
//!
//! Gong and others, equations 4 to 6, after DARTS: the best weights for a configuration are approximated by one step of
//! gradient descent on the training loss, `w' = w − ε ∇_w L_trn(w, θ)`, and the controller descends
//!
//! ```text
//! ∇_θ L_val(w', θ) = ∂_θ L_val(w', θ) − ε ∂²_{θw} L_trn(w, θ) · v,      v = ∂_w L_val(w', θ)
//! ∂²_{θw} L_trn · v ≈ (∂_θ L_trn(w + δv) − ∂_θ L_trn(w − δv)) / 2δ,     δ = 0.01 / ‖v‖
//! ```
//!
//! The training gradient is the one that the weights' own step takes, so a controller's step costs three passes instead of
//! one. *First order* takes ε = 0: `∂_θ L_val(w, θ)`. With quantized weights the
//! differences are those of the straight-through gradients.

use crate::error::Result;

/// Numerator of δ (Liu, Simonyan and Yang, "DARTS: Differentiable architecture search", section 2.3).
const DIFFERENCE: f64 = 0.01;

/// Which images a loss is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those that train the weights.
    Training,
    /// Those held out for the controller.
    HeldOut,
}

/// Which gradients are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// Of the weights.
    Weights,
    /// Of the controller.
    Controller,
    /// Of both.
    Both,
}

/// A loss and its gradients; one that was not asked for is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gradients {
    /// The loss.
    pub loss: f64,
    /// With respect to the weights.
    pub weights: Vec<f32>,
    /// With respect to the controller.
    pub controller: Vec<f32>,
}

/// The two losses of a bilevel problem; the same images and noise until the caller moves on.
pub trait Losses {
    /// The loss of one side and its gradients.
    ///
    /// # Errors
    /// Whatever computing it fails with.
    fn at(&mut self, side: Side, weights: &[f32], controller: &[f32], of: Of) -> Result<Gradients>;
}

/// The first-order gradient of the controller, with the held-out loss.
///
/// # Errors
/// What the losses fail with.
pub fn first_order(losses: &mut dyn Losses, weights: &[f32], controller: &[f32]) -> Result<(f64, Vec<f32>)> {
    let held = losses.at(Side::HeldOut, weights, controller, Of::Controller)?;
    Ok((held.loss, held.controller))
}

/// The gradient of the controller through one step of size `rate` along `training`, the gradient of the weights on the
/// training side, with the held-out loss after that step.
///
/// # Errors
/// What the losses fail with.
pub fn second_order(
    losses: &mut dyn Losses,
    weights: &[f32],
    controller: &[f32],
    (training, rate): (&[f32], f64),
) -> Result<(f64, Vec<f32>)> {
    let stepped = moved(weights, training, -rate);
    let held = losses.at(Side::HeldOut, &stepped, controller, Of::Both)?;
    let norm = held.weights.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return Ok((held.loss, held.controller));
    }
    let delta = DIFFERENCE / norm;
    let mut beside =
        |by| losses.at(Side::Training, &moved(weights, &held.weights, by), controller, Of::Controller);
    let (ahead, behind) = (beside(delta)?, beside(-delta)?);
    let differences = ahead.controller.iter().zip(&behind.controller);
    let curvature = differences.map(|(a, b)| f64::from(a - b) / (2.0 * delta));
    let gradient = held.controller.iter().zip(curvature).map(|(&g, c)| (f64::from(g) - rate * c) as f32);
    Ok((held.loss, gradient.collect()))
}

fn moved(weights: &[f32], direction: &[f32], by: f64) -> Vec<f32> {
    weights.iter().zip(direction).map(|(&w, &d)| (f64::from(w) + by * f64::from(d)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 2e-3;

    /// L_trn = Σ (wᵢ − aᵢ·s(θ))² / 2 + θ₀ w₀ w₁,   L_val = Σ (wᵢ − bᵢ)² θᵢ² / 2 + w₀ θ₁, with s(θ) = θ₀ + θ₁².
    struct Toy;

    const A: [f64; 2] = [1.0, -0.7];
    const B: [f64; 2] = [0.4, 0.9];

    impl Losses for Toy {
        fn at(&mut self, side: Side, weights: &[f32], controller: &[f32], _: Of) -> Result<Gradients> {
            let (w, t) = ([0, 1].map(|i| f64::from(weights[i])), [0, 1].map(|i| f64::from(controller[i])));
            let narrow = |v: [f64; 2]| v.iter().map(|&v| v as f32).collect();
            let s = t[0] + t[1] * t[1];
            let (loss, of_weights, of_controller) = match side {
                Side::Training => {
                    let e = [0, 1].map(|i| w[i] - A[i] * s);
                    let slope = -(e[0] * A[0] + e[1] * A[1]);
                    let loss = (e[0] * e[0] + e[1] * e[1]) / 2.0 + t[0] * w[0] * w[1];
                    let of_weights = [e[0] + t[0] * w[1], e[1] + t[0] * w[0]];
                    (loss, of_weights, [slope + w[0] * w[1], slope * 2.0 * t[1]])
                }
                Side::HeldOut => {
                    let e = [0, 1].map(|i| w[i] - B[i]);
                    let square = |i: usize| (e[i] * t[i]).powi(2) / 2.0;
                    let of_weights = [e[0] * t[0] * t[0] + t[1], e[1] * t[1] * t[1]];
                    let of_controller = [e[0] * e[0] * t[0], e[1] * e[1] * t[1] + w[0]];
                    (square(0) + square(1) + w[0] * t[1], of_weights, of_controller)
                }
            };
            Ok(Gradients { loss, weights: narrow(of_weights), controller: narrow(of_controller) })
        }
    }

    const WEIGHTS: [f32; 2] = [0.3, -1.1];
    const CONTROLLER: [f32; 2] = [0.8, 0.6];
    const RATE: f64 = 0.3;

    fn numeric(value: impl Fn(&[f32]) -> f64, index: usize) -> f64 {
        let at = |by: f32| {
            let mut controller = CONTROLLER;
            controller[index] += by;
            value(&controller)
        };
        (at(1e-2) - at(-1e-2)) / 2e-2
    }

    #[test]
    fn first_order_is_the_finite_difference_at_the_weights() {
        let (_, gradient) = first_order(&mut Toy, &WEIGHTS, &CONTROLLER).unwrap();
        let value = |controller: &[f32]| Toy.at(Side::HeldOut, &WEIGHTS, controller, Of::Both).unwrap().loss;
        for (i, got) in gradient.iter().enumerate() {
            assert!((numeric(value, i) - f64::from(*got)).abs() < TOLERANCE, "{i}");
        }
    }

    #[test]
    fn second_order_is_the_finite_difference_through_the_step() {
        let training = Toy.at(Side::Training, &WEIGHTS, &CONTROLLER, Of::Weights).unwrap().weights;
        let (loss, gradient) = second_order(&mut Toy, &WEIGHTS, &CONTROLLER, (&training, RATE)).unwrap();
        let value = |controller: &[f32]| {
            let step = Toy.at(Side::Training, &WEIGHTS, controller, Of::Both).unwrap();
            Toy.at(Side::HeldOut, &moved(&WEIGHTS, &step.weights, -RATE), controller, Of::Both).unwrap().loss
        };
        assert!((loss - value(&CONTROLLER)).abs() < 1e-6);
        let (_, first) = first_order(&mut Toy, &WEIGHTS, &CONTROLLER).unwrap();
        for i in 0..2 {
            let numeric = numeric(value, i);
            assert!((numeric - f64::from(gradient[i])).abs() < TOLERANCE, "{i}: {numeric} {}", gradient[i]);
            assert!((numeric - f64::from(first[i])).abs() > 50.0 * TOLERANCE, "first order must differ");
        }
    }
}
