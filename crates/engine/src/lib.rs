//! The CPU training and inference engine: fused convolution layers with hand-written backward passes.
//!
//! A network is a list of convolution layers and a head ([`network`]). There is no autograd: [`Executor`] walks the
//! list forwards, and backwards in reverse. Every trainable number lives in one flat `f32` buffer that the caller
//! owns, layers refer to it by offset and row stride, so that a subnet is another list over the same numbers.
//!
//! Networks that other programs trained need not be such a list: [`graph`] runs them as they are wired, unfused.

mod arena;
pub mod error;
pub mod executor;
pub mod gemm;
pub mod graph;
pub mod integer;
mod kernels;
pub mod losses;
pub mod memory;
pub mod network;
mod ops;
pub mod optimizer;
pub mod oracle;
mod plan;
pub mod pool;
pub mod roofline;
pub mod simd;
mod sums;

pub use error::EngineError;
pub use executor::{Executor, Moment};
pub use network::{
    Activation, ActivationQuantizer, Convolution, Head, KernelTransform, Layer, MAXIMUM_RIVALS, Network,
    NormStatistics, Rivals, Source, Tap, TransformStep, WeightQuantizer, WeightView,
};
