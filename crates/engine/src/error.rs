//! What can go wrong in the engine, with the layer or argument it went wrong in.

use thiserror::Error;

/// Every failure of this crate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// A layer points past the end of the parameter buffer.
    #[error("{layer}: {what} reaches parameter {end}, but there are only {length}")]
    ParameterRange {
        /// Name of the layer.
        layer: String,
        /// Which of its numbers.
        what: &'static str,
        /// One past the last parameter referred to.
        end: usize,
        /// Parameters there are.
        length: usize,
    },
    /// A shape does not fit its neighbour.
    #[error("{layer}: {what} is {got}, expected {expected}")]
    Shape {
        /// Name of the layer.
        layer: String,
        /// Which quantity.
        what: &'static str,
        /// What it should be.
        expected: usize,
        /// What it is.
        got: usize,
    },
    /// A combination that the engine does not compute.
    #[error("{layer}: {what} is not supported")]
    Unsupported {
        /// Name of the layer.
        layer: String,
        /// The combination, in words.
        what: &'static str,
    },
    /// An argument has the wrong number of elements.
    #[error("{what} has {got} elements, expected {expected}")]
    Length {
        /// Which argument.
        what: &'static str,
        /// Elements it should have.
        expected: usize,
        /// Elements it has.
        got: usize,
    },
    /// A number became infinite or not-a-number.
    #[error("{layer}: values are no longer finite")]
    NotFinite {
        /// Name of the first layer where it was seen.
        layer: String,
    },
    /// `backward` without a `forward_train` of the same network and batch before it.
    #[error("backward needs a forward_train of the same network just before it")]
    NoForward,
}

impl EngineError {
    /// A way on, where one is known.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::ParameterRange { .. } => "give the parameter buffer that the layer offsets were made for",
            Self::Shape { .. } => "a layer's channels and size must equal what its source produces",
            Self::Unsupported { .. } => {
                "kernels are odd, strides 1 or 2, bit-widths 2 to 16, layers form a chain"
            }
            Self::Length { .. } => "check the batch size and the image shape",
            Self::NotFinite { .. } => "lower the learning rate, or look for bad values in the images",
            Self::NoForward => "call forward_train with this network, then backward",
        };
        Some(text.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_layer() {
        let error = EngineError::NotFinite { layer: "stem".into() };
        assert!(error.to_string().starts_with("stem:"));
        assert!(error.hint().is_some());
    }
}
