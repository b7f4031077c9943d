//! Errors of this crate.

use crate::suggest::nearest;

/// What can be wrong with a search space or a candidate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SpaceError {
    /// No preset of that name.
    #[error("unknown search space `{name}` (presets: {})", .presets.join(", "))]
    UnknownPreset {
        /// The name asked for.
        name: String,
        /// The names there are.
        presets: Vec<String>,
    },
    /// The text is not the TOML (or JSON) that was expected.
    #[error("cannot read {what}: {message}")]
    Syntax {
        /// What was being read.
        what: &'static str,
        /// The parser's words, with line and column.
        message: String,
    },
    /// A value of the space makes no network.
    #[error("impossible search space: `{key}` is {got}, expected {expected}")]
    Impossible {
        /// Where in the file.
        key: String,
        /// What stands there.
        got: String,
        /// What would be valid.
        expected: String,
    },
    /// A candidate is not in the space.
    #[error("candidate is outside space `{space}`: block {block}: {field} is {got}, expected {expected}")]
    Outside {
        /// Name of the space.
        space: String,
        /// Index of the searched block.
        block: usize,
        /// Which choice.
        field: &'static str,
        /// What the candidate has.
        got: String,
        /// What the space offers.
        expected: String,
    },
    /// A candidate has another number of blocks than the space.
    #[error("candidate has {got} blocks, space `{space}` has {expected}")]
    BlockCount {
        /// Name of the space.
        space: String,
        /// Blocks in the candidate.
        got: usize,
        /// Blocks in the space.
        expected: usize,
    },
    /// A candidate was written for another space.
    #[error("candidate belongs to space `{got}`, expected `{expected}`")]
    OtherSpace {
        /// Space named in the candidate.
        got: String,
        /// Space in use.
        expected: String,
    },
    /// The space can be predicted on but not built as a supernet.
    #[error("space `{space}` cannot be trained: block {block} may be skipped but changes the tensor's shape")]
    NotTrainable {
        /// Name of the space.
        space: String,
        /// Index of the searched block.
        block: usize,
    },
}

impl SpaceError {
    /// What to do about it, if there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownPreset { name, presets } => {
                let near = nearest(name, presets.iter().map(String::as_str));
                Some(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "give a preset's name or the path of a TOML file".into(),
                })
            }
            Self::Syntax { message, .. } => unknown_field_hint(message),
            Self::Outside { .. } => Some("`sartor space NAME` prints every block's choices".into()),
            Self::NotTrainable { .. } => Some("drop `skip` from the first block of the stage".into()),
            _ => None,
        }
    }
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`" and names the nearest.
fn unknown_field_hint(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown field `")?;
    let mut names = rest.split('`').step_by(2);
    let unknown = names.next()?;
    let valid: Vec<&str> = rest.split('`').skip(2).step_by(2).collect();
    nearest(unknown, valid).map(|near| format!("did you mean `{near}`?"))
}
