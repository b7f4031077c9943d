//! What can go wrong with pairs and predictors.

use sartor_space::SpaceError;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictorError {
    /// The pairs file is not a table.
    #[error("line {line}: {message}")]
    Table {
        /// Line of the file, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A column is missing.
    #[error("line 1: column `{column}` is missing, the columns are: {}", found.join(", "))]
    MissingColumn {
        /// What was looked for.
        column: String,
        /// What there is.
        found: Vec<String>,
    },
    /// A candidate that is not in the space.
    #[error("line {line}: the candidate is not in the space")]
    OutsideSpace {
        /// Line of the file, from 1.
        line: u64,
        /// Why.
        #[source]
        source: SpaceError,
    },
    /// An accuracy that is no share.
    #[error("line {line}: accuracy is `{got}`, expected a number from 0 to 1")]
    BadAccuracy {
        /// Line of the file, from 1.
        line: u64,
        /// What was read.
        got: String,
    },
    /// One candidate with two accuracies.
    #[error(
        "lines {first} and {second}: the same candidate has accuracy {first_accuracy} and {second_accuracy}"
    )]
    Disagreement {
        /// Line of the first.
        first: u64,
        /// Line of the second.
        second: u64,
        /// Accuracy of the first.
        first_accuracy: f64,
        /// Accuracy of the second.
        second_accuracy: f64,
    },
    /// Not enough pairs to fit.
    #[error("{got} different pairs, at least {needed} are needed")]
    TooFewPairs {
        /// How many there are.
        got: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Nothing to learn.
    #[error("all {pairs} pairs have the same accuracy {accuracy}")]
    ConstantAccuracy {
        /// Number of pairs.
        pairs: usize,
        /// The accuracy.
        accuracy: f64,
    },
    /// Training went out of bounds.
    #[error("training diverged: the loss is {loss} in epoch {epoch}")]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The loss.
        loss: f64,
    },
    /// A setting outside its domain.
    #[error("{setting} is {value}, expected {expected}")]
    BadSetting {
        /// Which setting.
        setting: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        expected: &'static str,
    },
    /// A predictor of another space.
    #[error("the predictor was fitted on space {expected_name} ({expected}), not on {got_name} ({got})")]
    OtherSpace {
        /// Name in the file.
        expected_name: String,
        /// Hash in the file.
        expected: String,
        /// Name of the space in use.
        got_name: String,
        /// Hash of the space in use.
        got: String,
    },
    /// A file that is no predictor.
    #[error("not a predictor file: {message}")]
    BadFile {
        /// What is wrong.
        message: String,
    },
    /// A predictor file of another version.
    #[error("predictor format version {got}, this program reads {expected}")]
    OtherVersion {
        /// Version in the file.
        got: String,
        /// Version of this program.
        expected: u32,
    },
    /// A transfer from something that cannot be transferred from.
    #[error("cannot transfer from {from}: {message}")]
    NoTransfer {
        /// Kind of the source.
        from: String,
        /// Why not.
        message: String,
    },
    /// A name that does not exist.
    #[error("unknown {what} `{name}`, expected one of {}", known.join(", "))]
    UnknownName {
        /// What was named.
        what: &'static str,
        /// What was given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A matrix that cannot be factorised even with jitter.
    #[error("the {size} × {size} system of the {model} is singular")]
    Singular {
        /// Which model.
        model: &'static str,
        /// Rows of the matrix.
        size: usize,
    },
    /// A matrix product with sizes that do not fit.
    #[error(transparent)]
    Engine(#[from] sartor_engine::EngineError),
}

impl PredictorError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::MissingColumn { .. } => {
                "a pairs file has column `candidate` (JSON) or columns block_0, block_1, …, and column `accuracy`".into()
            }
            Self::OutsideSpace { source, .. } => return source.hint(),
            Self::BadAccuracy { .. } => "write accuracies as shares (0.913), not as percentages".into(),
            Self::Disagreement { .. } => "keep one of the two lines, or their mean".into(),
            Self::TooFewPairs { got, needed } => format!("sample at least {} more", needed - got),
            Self::ConstantAccuracy { .. } => "check how the accuracies were measured".into(),
            Self::OtherSpace { .. } => "fit the predictor again on this space".into(),
            Self::OtherVersion { .. } | Self::BadFile { .. } => "fit the predictor again".into(),
            Self::Diverged { .. } => "lower the learning rate".into(),
            _ => return None,
        };
        Some(hint)
    }
}
