//! The stages, one file each. A stage takes what the one before it returns, leaves its artefacts in the run folder,
//! and is skipped when its inputs have not changed.

pub mod contest;
pub mod export;
pub mod finetune;
pub mod fit;
pub mod images;
pub mod integers;
pub mod profile;
pub mod quality;
pub mod report;
pub mod sample;
pub mod search;
pub mod train;
pub mod transfer;
pub mod verify;

/// The stages in the order of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Elastic weights by progressive shrinking.
    Train,
    /// Full-precision pairs.
    SampleFullPrecision,
    /// Full-precision predictor.
    Fit,
    /// Mixed-precision pairs.
    SampleMixedPrecision,
    /// Mixed-precision predictor.
    Transfer,
    /// Cost table.
    Profile,
    /// Search under the budget.
    Search,
    /// Quantization-aware training of the chosen candidates.
    Finetune,
    /// Deployable formats.
    Export,
    /// Check in a real runtime.
    Verify,
    /// The page about it all.
    Report,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 11] = [
        Stage::Train,
        Stage::SampleFullPrecision,
        Stage::Fit,
        Stage::SampleMixedPrecision,
        Stage::Transfer,
        Stage::Profile,
        Stage::Search,
        Stage::Finetune,
        Stage::Export,
        Stage::Verify,
        Stage::Report,
    ];

    /// Name in stamps and timings.
    pub fn key(self) -> &'static str {
        match self {
            Stage::Train => "train",
            Stage::SampleFullPrecision => "sample-fp",
            Stage::Fit => "fit",
            Stage::SampleMixedPrecision => "sample-mp",
            Stage::Transfer => "transfer",
            Stage::Profile => "profile",
            Stage::Search => "search",
            Stage::Finetune => "finetune",
            Stage::Export => "export",
            Stage::Verify => "verify",
            Stage::Report => "report",
        }
    }

    /// Name in talk and in the report.
    pub fn title(self) -> &'static str {
        match self {
            Stage::Train => "train supernet",
            Stage::SampleFullPrecision => "sample accuracies",
            Stage::Fit => "fit predictor",
            Stage::SampleMixedPrecision => "sample quantized",
            Stage::Transfer => "transfer predictor",
            Stage::Profile => "price the hardware",
            Stage::Search => "search",
            Stage::Finetune => "fine-tune",
            Stage::Export => "export",
            Stage::Verify => "verify",
            Stage::Report => "report",
        }
    }

    /// The command that runs it alone.
    pub fn command(self) -> &'static str {
        match self {
            Stage::SampleFullPrecision => "sartor sample",
            Stage::SampleMixedPrecision => "sartor sample --quantized",
            Stage::Train => "sartor train",
            Stage::Fit => "sartor fit",
            Stage::Transfer => "sartor transfer",
            Stage::Profile => "sartor profile",
            Stage::Search => "sartor search",
            Stage::Finetune => "sartor finetune",
            Stage::Export => "sartor export",
            Stage::Verify => "sartor verify",
            Stage::Report => "sartor report",
        }
    }
}
