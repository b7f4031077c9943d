//! # DNAS: bit-widths of one architecture by gradient
//!
//! Wu, Wang, Zhang, Tian, Vajda and Keutzer, "Mixed precision quantization of convnets via differentiable neural
//! architecture search": every layer chooses its width by a Gumbel-softmax over quantized copies of its weights and
//! inputs, temperature 5 · e^(−0.045 · period), which is 0.956 a period; weights and controller take turns on two parts
//! of the training images.
//!
//! It is [`gong`](super::gong) with the architecture pinned, and starts from trained weights where there are any.
//! Differs from the paper: the penalty is λ [E cost − c]₊ as in Gong and others instead of a product with
//! β (log cost)^γ, so that both meet the same budget; the groups of layers that share a width are the space's.

use sartor_space::Subnet;

use super::choices::{Pinned, Precision};
use super::gong::{CostGradient, Settings};

/// What is pinned: everything but the widths.
pub fn pinned(subnet: Subnet) -> Pinned {
    Pinned { subnet: Some(subnet), precision: Precision::Searched, operations: false }
}

/// Settings for a search on trained weights: a shorter and gentler one.
pub fn settings() -> Settings {
    Settings {
        epochs: 20,
        learning_rate: 0.02,
        warm_up: 0.0,
        cost_gradient: CostGradient::Expected,
        ..Settings::default()
    }
}
