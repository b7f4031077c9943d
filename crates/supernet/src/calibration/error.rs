//! What can be wrong with a calibration.

/// Why no threshold can be found.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// A bit-width without a grid.
    #[error("{bits} bits cannot be quantized to, expected 2 to 16")]
    Bits {
        /// The width asked for.
        bits: u8,
    },
    /// Weights that are not a matrix of this many columns.
    #[error("{weights} weights do not divide into {out} output channels")]
    Shape {
        /// Number of weights.
        weights: usize,
        /// Number of columns expected.
        out: usize,
    },
    /// A weight that is infinite or not a number.
    #[error("weight {index} (output channel {channel}) is {value}, not a finite number")]
    NotFinite {
        /// Position in the matrix, row by row.
        index: usize,
        /// Its column.
        channel: usize,
        /// The value.
        value: f32,
    },
    /// A threshold or range that is no positive number.
    #[error("threshold {threshold} is not a positive finite number")]
    Threshold {
        /// The value.
        threshold: f32,
    },
    /// One threshold for each output channel is needed.
    #[error("{got} thresholds for {expected} output channels")]
    ThresholdCount {
        /// Number of output channels.
        expected: usize,
        /// Number of thresholds.
        got: usize,
    },
    /// A percentile outside (0, 100].
    #[error("percentile {percentile} is not above 0 and at most 100")]
    Percentile {
        /// The value.
        percentile: f32,
    },
    /// A method that does not exist.
    #[error("no calibration method is called `{name}`; there are {known}")]
    UnknownMethod {
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
}

impl CalibrationError {
    /// What the user can do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Bits { .. } => "choose bit-widths of 2 to 16 in the search space",
            Self::NotFinite { .. } => "the weights have diverged; train with a smaller learning rate",
            Self::Percentile { .. } => "99.9 is a usual percentile",
            Self::UnknownMethod { .. } => "use one of the names listed",
            Self::Shape { .. } | Self::Threshold { .. } | Self::ThresholdCount { .. } => return None,
        };
        Some(hint.to_string())
    }
}
