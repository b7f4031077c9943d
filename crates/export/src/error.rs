//! Errors of this crate: what is wrong, where, what was expected, and a way on.

use std::path::PathBuf;

/// Shorthand for this crate's results.
pub type Result<T, E = ExportError> = std::result::Result<T, E>;

/// What can go wrong between a trained model and a verified file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// The trained model is not a safetensors file.
    #[error("the trained model is not a valid safetensors file: {reason}")]
    NotSafetensors {
        /// The parser's words.
        reason: String,
    },
    /// An array of another element type.
    #[error("array `{key}` has element type {got}, expected F32")]
    ElementType {
        /// Name of the array.
        key: String,
        /// Its type.
        got: String,
    },
    /// An array that the layer needs is not there.
    #[error("layer `{layer}`: the trained model has no array `{key}`")]
    MissingArray {
        /// The layer that needs it.
        layer: String,
        /// Name of the array.
        key: String,
    },
    /// An array of another shape.
    #[error("layer `{layer}`: array `{key}` has shape {got:?}, expected {expected:?}")]
    Shape {
        /// The layer that needs it.
        layer: String,
        /// Name of the array.
        key: String,
        /// The shape the layer implies.
        expected: Vec<usize>,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A number that cannot be used.
    #[error("layer `{layer}`: `{key}[{index}]` is {got}, expected {expected}")]
    Value {
        /// The layer that needs it.
        layer: String,
        /// Name of the array.
        key: String,
        /// Position in the array.
        index: usize,
        /// The number.
        got: f32,
        /// What would be valid.
        expected: &'static str,
    },
    /// A bit-width that no integer kernel here computes.
    #[error("layer `{layer}`: {field} is {got}, expected {expected}")]
    Bits {
        /// Which layer.
        layer: String,
        /// `weight_bits` or `activation_bits`.
        field: &'static str,
        /// The width.
        got: u8,
        /// What would be valid.
        expected: &'static str,
    },
    /// A layer that does not fit where it stands in the workload.
    #[error("layer `{layer}`: {field} is {got}, expected {expected}")]
    Structure {
        /// Which layer.
        layer: String,
        /// What about it.
        field: &'static str,
        /// What the workload says.
        got: String,
        /// What would be valid.
        expected: String,
    },
    /// An int32 sum could overflow.
    #[error("layer `{layer}`: a sum of up to {bound} does not fit 32 bits")]
    Overflow {
        /// Which layer.
        layer: String,
        /// Largest magnitude the sum can reach.
        bound: u64,
    },
    /// Images or labels that do not fit the network.
    #[error("{what}: got {got}, expected {expected}")]
    Data {
        /// What is counted.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many there should be.
        expected: usize,
    },
    /// The runtime's library was not found.
    #[error("no ONNX Runtime library found (looked at {})", .searched.join(", "))]
    RuntimeMissing {
        /// Where it was looked for.
        searched: Vec<String>,
    },
    /// The runtime refused or failed.
    #[error("ONNX Runtime ({library}) failed to {action}: {reason}")]
    Runtime {
        /// Path of the library.
        library: String,
        /// What it was asked to do.
        action: &'static str,
        /// Its words.
        reason: String,
    },
    /// A program that checks exported files was not found.
    #[error("no {tool} found (tried {})", .searched.join(", "))]
    ToolMissing {
        /// What it is.
        tool: &'static str,
        /// Names that were tried.
        searched: Vec<String>,
    },
    /// A program that checks exported files failed.
    #[error("{tool} failed to {action}: {reason}")]
    Tool {
        /// The program.
        tool: String,
        /// What it was asked to do.
        action: &'static str,
        /// Its words.
        reason: String,
    },
    /// A target file that cannot be used.
    #[error("target `{target}`: {what}")]
    Target {
        /// Its name.
        target: String,
        /// What about it.
        what: String,
    },
    /// A node that cannot be quantized.
    #[error("node `{node}` ({operator}): {what}")]
    Unsupported {
        /// Its name.
        node: String,
        /// Its operator.
        operator: String,
        /// What about it.
        what: String,
    },
    /// A graph that is no network for images.
    #[error("the ONNX graph cannot be used: {what}")]
    Graph {
        /// What about it.
        what: String,
    },
    /// Named weights that are not those of the architecture.
    #[error("the weights are not those of {architecture}: {what}")]
    Weights {
        /// Which architecture.
        architecture: &'static str,
        /// What about them.
        what: String,
    },
    /// A file that is not an ONNX model.
    #[error("{} is not a valid ONNX model: {reason}", .path.display())]
    NotOnnx {
        /// Which file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
}

impl ExportError {
    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotSafetensors { .. } | Self::ElementType { .. } => {
                "the file may be truncated or from another program; run `sartor finetune --force` to write it again"
            }
            Self::MissingArray { .. } | Self::Shape { .. } => {
                "the weights and the candidate must come from the same `sartor finetune`"
            }
            Self::Value { .. } => {
                "a NaN or a zero range means that training diverged; lower the learning rate"
            }
            Self::Bits { got: 32, .. } => {
                "a full-precision candidate has no integer form; give it a quantization policy"
            }
            Self::RuntimeMissing { .. } => {
                "`pip install onnxruntime`, or set ORT_DYLIB_PATH to the path of libonnxruntime.so"
            }
            Self::ToolMissing { tool: "C compiler", .. } => {
                "install gcc or clang, or set CC to a compiler's name"
            }
            Self::ToolMissing { .. } => {
                "`pip install ai-edge-litert numpy`, or set SARTOR_PYTHON to a Python that has them"
            }
            Self::Runtime { action: "load the library", .. } => {
                "ONNX Runtime 1.24 or newer is needed; `pip install --upgrade onnxruntime`"
            }
            Self::Unsupported { operator, .. } => crate::import::hint(operator),
            Self::Weights { .. } => {
                "names of torchvision (`features.0.0.weight`) and of timm (`conv_stem.weight`) are known"
            }
            _ => return None,
        };
        Some(text.to_string())
    }
}
