//! How accurate a candidate is: elastic weights, progressive shrinking, quantization-aware fine-tuning.

pub mod calibration;
pub mod data;
