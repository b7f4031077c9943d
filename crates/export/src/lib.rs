//! How it ships: the quantized graph, the integer reference executor, ONNX and verification.
//!
//! ```text
//! TrainedModel + Workload ── build ──▶ QuantizedNetwork ──┬──▶ Executor        what the network computes
//!   (safetensors)  (space)             (integer graph)    ├──▶ onnx, tflite, c files
//!                                                         ├──▶ policy, card    what to tell about it
//!                                                         └──▶ verify_onnx     the file in ONNX Runtime = Executor?
//! ```
//!
//! Never trains, prints or reads the clock; where time is measured, the clock is an argument.
#![deny(missing_docs)]

mod background;
pub mod c;
pub mod card;
mod error;
pub mod executor;
#[cfg(test)]
mod fixtures;
pub mod fold;
mod format;
pub mod graph;
pub mod import;
mod lower;
pub mod onnx;
pub mod policy;
pub mod requantize;
pub mod runtime;
#[cfg(test)]
mod samples;
mod snap;
pub mod target;
pub mod tflite;
mod trained;
pub mod verify;

pub use card::ModelCard;
pub use error::{ExportError, Result};
pub use executor::{Executor, Outputs};
pub use format::{File, Format, Settings};
pub use graph::QuantizedNetwork;
pub use policy::Policy;
pub use requantize::Style;
pub use target::{Support, Target};
pub use trained::{NamedArray, TrainedModel};
pub use verify::{LabelledImages, Verification, VerifyOptions, verify_onnx};
