//! # How accurate is it?
//!
//! Elastic weights, progressive shrinking, quantization-aware fine-tuning: everything that turns images into the
//! accuracy of a candidate.
//!
//! 1. [`data`] reads images and cuts them into training, validation and test.
//! 2. [`training::Trainer`] trains the elastic weights of a space ([`Supernet`], laid out by [`parameters`]) along a
//!    [`schedule`]; it stops and resumes at any step.
//! 3. [`evaluation::Evaluator`] and [`sampling::Sampler`] measure subnets with inherited weights, and candidates with
//!    bit-widths after [`calibration`] and a short fine-tuning.
//! 4. [`finetune::Finetuner`] trains the winner; [`finetune::FinetunedModel`] is what is exported.
//!
//! [`instantiate`] makes engine networks of workloads as views on a buffer; only fine-tuning copies weights out.
//! Random decisions come from [`random`] streams named by seed and place, so that the same seed gives the same bytes
//! at any thread count and after any interruption.

pub mod archive;
pub mod calibration;
pub mod data;
mod data_error;
pub mod differentiable;
pub mod error;
pub mod evaluation;
mod extract;
pub mod finetune;
#[cfg(test)]
mod fixtures;
pub mod float_network;
pub mod graph_tuning;
pub mod inherited;
pub mod instantiate;
pub mod memory;
mod objective;
pub mod parameters;
pub mod post_training;
pub mod progress;
pub mod quantized;
pub mod random;
pub mod sampling;
pub mod schedule;
pub mod sorting;
mod supernet;
mod teacher;
pub mod training;
mod work;
mod workbench;

pub use error::{Result, SupernetError};
pub use supernet::Supernet;
pub use work::Work;
pub use workbench::Part;
