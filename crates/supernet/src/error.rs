//! What can go wrong while weights are trained, stored or measured, with the key, layer or step it went wrong at.

use sartor_engine::EngineError;
use sartor_space::SpaceError;
use thiserror::Error;

use crate::calibration::CalibrationError;
use crate::data::DataError;

/// Every failure of this crate.
#[derive(Debug, Error)]
pub enum SupernetError {
    /// A file of arrays cannot be read at all.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// Which kind of file.
        what: &'static str,
        /// What the reader saw.
        reason: String,
    },
    /// An array is missing.
    #[error("array `{key}` is missing")]
    MissingArray {
        /// Name of the array.
        key: String,
    },
    /// An array has another shape or element type than expected.
    #[error("array `{key}` is {got}, expected {expected}")]
    ArrayShape {
        /// Name of the array.
        key: String,
        /// What it should be, e.g. `f32[16, 96]`.
        expected: String,
        /// What it is.
        got: String,
    },
    /// An array holds an infinity or a not-a-number.
    #[error("array `{key}` holds values that are not finite")]
    ArrayNotFinite {
        /// Name of the array.
        key: String,
    },
    /// A metadata entry is missing or has another value than expected.
    #[error("metadata `{key}` is {got}, expected {expected}")]
    Metadata {
        /// Name of the entry.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// The parameter layout holds no such layer.
    #[error("layer `{layer}` has no weights in this layout")]
    MissingLayer {
        /// Name of the layer.
        layer: String,
    },
    /// A layer wants more than its stored weights hold.
    #[error("layer `{layer}`: {what} {got} does not fit the stored weights ({stored})")]
    LayerShape {
        /// Name of the layer.
        layer: String,
        /// Which quantity.
        what: &'static str,
        /// What the layer wants.
        got: usize,
        /// What is stored.
        stored: usize,
    },
    /// A candidate lowers to layers in an order that is not a chain of blocks and a classifier.
    #[error("layer `{layer}`: {what}")]
    Workload {
        /// Name of the layer.
        layer: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A memory limit that not even one image at a time meets.
    #[error("training one image at a time takes {needed} bytes, the limit is {limit}")]
    Memory {
        /// Bytes allowed.
        limit: usize,
        /// Bytes for one image at a time.
        needed: usize,
    },
    /// A training setting makes no sense.
    #[error("setting `{setting}` is {got}, expected {expected}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        got: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// No candidate meets the limits of a search by gradient.
    #[error("no candidate with a cost from {low} to {high} meets the limits")]
    NothingAllowed {
        /// Least cost allowed.
        low: f64,
        /// Highest cost tried.
        high: f64,
    },
    /// A candidate without a quantization policy where one is needed.
    #[error("the candidate has no quantization policy")]
    NoPolicy,
    /// A split without images where some are needed.
    #[error("the {split} split has no images")]
    EmptySplit {
        /// Which split.
        split: &'static str,
    },
    /// The loss is no longer finite, or has exploded.
    #[error("training diverged in phase `{phase}` at step {step}: loss {loss}")]
    Diverged {
        /// Name of the phase.
        phase: String,
        /// Step within the phase, from 0.
        step: usize,
        /// The loss seen.
        loss: f64,
    },
    /// A layer produced values that are not finite.
    #[error("training diverged in phase `{phase}` at step {step}: layer `{layer}` is no longer finite")]
    NotFinite {
        /// Name of the phase.
        phase: String,
        /// Step within the phase, from 0.
        step: usize,
        /// First layer where it was seen.
        layer: String,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The search space refused.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// The data set refused.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A threshold or range cannot be found.
    #[error(transparent)]
    Calibration(#[from] CalibrationError),
}

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, SupernetError>;

impl SupernetError {
    /// A way on, where one is known.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Corrupt { .. } | Self::MissingArray { .. } | Self::ArrayShape { .. } => {
                "the file is damaged or from another version; make it again with --force"
            }
            Self::ArrayNotFinite { .. } => {
                "the training that wrote this file diverged; train again more gently"
            }
            Self::Metadata { .. } => "the file belongs to another search space, data set or schedule",
            Self::MissingLayer { .. } | Self::LayerShape { .. } | Self::Workload { .. } => {
                "the candidate and the weights must come from the same search space"
            }
            Self::Setting { .. } => "correct the setting in the configuration",
            Self::Memory { .. } => "raise the limit, or choose a space with smaller networks or images",
            Self::NothingAllowed { .. } => "loosen the budget, or search a space with cheaper networks",
            Self::NoPolicy => "give the candidate bit-widths, or use a search space with [bits]",
            Self::EmptySplit { .. } => "give the split at least one image",
            Self::Diverged { .. } | Self::NotFinite { .. } => {
                "lower the learning rate or lengthen the warm-up"
            }
            Self::Engine(error) => return error.hint(),
            Self::Space(error) => return error.hint(),
            Self::Data(error) => return error.hint(),
            Self::Calibration(error) => return error.hint(),
        };
        Some(text.to_string())
    }

    /// Puts the phase and step into an engine failure that says that numbers are no longer finite.
    pub(crate) fn at_step(error: EngineError, phase: &str, step: usize) -> Self {
        match error {
            EngineError::NotFinite { layer } => Self::NotFinite { phase: phase.to_string(), step, layer },
            other => Self::Engine(other),
        }
    }
}
