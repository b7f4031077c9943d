//! How accurate a candidate is: elastic weights, progressive shrinking, quantization-aware fine-tuning.

pub mod archive;
pub mod calibration;
pub mod data;
mod data_error;
pub mod error;
pub mod evaluation;
mod extract;
pub mod finetune;
#[cfg(test)]
mod fixtures;
pub mod instantiate;
mod objective;
pub mod parameters;
pub mod progress;
pub mod quantized;
pub mod random;
pub mod sampling;
pub mod schedule;
pub mod sorting;
mod supernet;
mod teacher;
pub mod training;
mod workbench;

pub use error::{Result, SupernetError};
pub use supernet::Supernet;
pub use workbench::Part;
