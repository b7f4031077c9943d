//! # What can go wrong

use thiserror::Error;

use sartor_space::suggest::nearest;

/// Every error of the crate; [`hint`](Self::hint) says what to do about it.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum HardwareError {
    /// No specification of that name ships with the program.
    #[error("unknown hardware `{name}`")]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// No cost model of that name.
    #[error("unknown cost model `{name}`")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// The specification is no TOML.
    #[error("the hardware specification is not valid TOML: {message}")]
    SpecSyntax {
        /// The parser's words.
        message: String,
    },
    /// A key nobody reads.
    #[error("unknown key `{key}` in the hardware specification")]
    UnknownKey {
        /// Full path of the key.
        key: String,
        /// The valid key that was probably meant.
        nearest: Option<String>,
        /// All keys of the section.
        valid: Vec<String>,
    },
    /// A key that must be there.
    #[error("the hardware specification lacks `{key}` ({expected})")]
    MissingKey {
        /// Full path of the key.
        key: String,
        /// What it should hold.
        expected: String,
    },
    /// A value of the wrong type or outside its range.
    #[error("`{key}` must be {expected}, got {got}")]
    ImpossibleValue {
        /// Full path of the key.
        key: String,
        /// What it should hold.
        expected: String,
        /// What it holds.
        got: String,
    },
    /// A specification was given to a model it does not describe.
    #[error("`{accelerator}` does not describe a chip for the model {model}")]
    WrongParameters {
        /// Name of the specification.
        accelerator: String,
        /// Name of the model.
        model: &'static str,
    },
    /// The chip cannot multiply operands of these widths.
    #[error(
        "layer `{layer}` has {weight_bits}-bit weights and {activation_bits}-bit activations; `{accelerator}` \
         runs 1 to {widest} bits"
    )]
    UnsupportedBits {
        /// Name of the layer.
        layer: String,
        /// Name of the specification.
        accelerator: String,
        /// Bits of a weight.
        weight_bits: u8,
        /// Bits of an activation.
        activation_bits: u8,
        /// Widest operand of the chip.
        widest: u8,
    },
    /// A layer that is no layer.
    #[error("layer {layer} is impossible: {reason}")]
    ImpossibleLayer {
        /// Its row key.
        layer: String,
        /// What is wrong.
        reason: String,
    },
    /// Not even the smallest tile fits in the buffers.
    #[error("the smallest tile of layer {layer} does not fit in the buffers of `{accelerator}`")]
    TileDoesNotFit {
        /// Its row key.
        layer: String,
        /// Name of the specification.
        accelerator: String,
    },
    /// The table has no row for layers that are needed.
    #[error("the cost table lacks {count} row(s) that are needed, first {}", first.join("; "))]
    MissingRows {
        /// How many.
        count: usize,
        /// The first few.
        first: Vec<String>,
        /// The command that makes them.
        command: String,
    },
    /// A price that is no price.
    #[error("line {line}: {column} is {got}; it must be a finite number of at least 0")]
    BadCost {
        /// Line of the file, from 1.
        line: usize,
        /// Name of the column.
        column: String,
        /// What stands there.
        got: String,
    },
    /// Two rows for one layer.
    #[error("line {line}: a second row for layer {layer}, first priced on line {first_line}")]
    DuplicateRow {
        /// Line of the second row.
        line: usize,
        /// Line of the first row.
        first_line: usize,
        /// The row key.
        layer: String,
    },
    /// The header is not the contract's.
    #[error("line {line}: expected the columns `{expected}`, got `{got}`")]
    WrongHeader {
        /// Line of the file, from 1.
        line: usize,
        /// The contract's columns.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// The table was made in other units.
    #[error("line {line}: the table is in `{got}`; expected `{expected}`")]
    WrongUnits {
        /// Line of the file, from 1.
        line: usize,
        /// What this program reads.
        expected: &'static str,
        /// What the file says.
        got: String,
    },
    /// A cell that cannot be read.
    #[error("line {line}: {column} must be {expected}, got `{got}`")]
    BadCell {
        /// Line of the file, from 1.
        line: usize,
        /// Name of the column.
        column: String,
        /// What should stand there.
        expected: String,
        /// What stands there.
        got: String,
    },
    /// A foreign file that is not what its format says.
    #[error("cannot read the {format}: {message}")]
    BadImport {
        /// Name of the format.
        format: &'static str,
        /// What is wrong and where.
        message: String,
    },
    /// A measuring command printed no measurement.
    #[error("expected {expected}, got `{got}`")]
    UnreadableOutput {
        /// What should have been printed.
        expected: &'static str,
        /// What was.
        got: String,
    },
    /// A candidate from another space, or without a policy.
    #[error("block {block}: {reason}")]
    OutsideSpace {
        /// Index of the searched block.
        block: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Too few measurements for what was asked.
    #[error("{what}: needs at least {needed}, got {got}")]
    TooFew {
        /// What was to be computed.
        what: &'static str,
        /// How many are needed.
        needed: usize,
        /// How many there are.
        got: usize,
    },
}

impl HardwareError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownPreset { name, known } => {
                Some(format!("{}; or give the path of a specification", suggest(name, known)))
            }
            Self::UnknownModel { name, known } => Some(suggest(name, known)),
            Self::UnknownKey { nearest: Some(nearest), .. } => Some(format!("did you mean `{nearest}`?")),
            Self::UnknownKey { valid, .. } => Some(format!("valid keys here: {}", valid.join(", "))),
            Self::MissingKey { .. } => Some("docs/adding-hardware.md lists every key".into()),
            Self::UnsupportedBits { weight_bits: 32, .. } => {
                Some("full precision has no price on this chip: give a quantization policy, for example `--bits 8`".into())
            }
            Self::UnsupportedBits { .. } => Some("choose widths the chip runs".into()),
            Self::TileDoesNotFit { .. } => Some("enlarge the buffers or shrink the array in the specification".into()),
            Self::MissingRows { command, .. } => Some(format!("make them with `{command}`")),
            Self::BadCost { .. } => Some("measure the layer again, or remove the row".into()),
            Self::DuplicateRow { .. } => Some("keep one of the two rows".into()),
            Self::WrongUnits { .. } => Some("convert the table, or make it again with `sartor profile`".into()),
            Self::UnreadableOutput { .. } => {
                Some("let the command end with one line such as `1.25` or `1.25 ms 0.4 mJ`".into())
            }
            Self::OutsideSpace { .. } => Some("check the candidate against its space first".into()),
            _ => None,
        }
    }
}

fn suggest(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}
