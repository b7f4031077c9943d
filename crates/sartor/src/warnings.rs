//! Every warning the program can give, each with a remedy.

use std::fmt;

use sartor_export::{Format, Support, Target};
use sartor_hardware::Provenance;
use sartor_hardware::measured::Additivity;
use sartor_space::{Candidate, Layer, Workload};

use crate::records::{Best, FormatVerification, PredictorMetrics};
use crate::report::Facts;

/// Pairwise accuracy at or below which a predictor is hardly better than a coin.
const WEAK_PAIRWISE: f64 = 0.65;
/// Share of random candidates below which a budget is called tight.
const TIGHT_SHARE: f64 = 0.02;
/// Fewer held-out pairs than this say little.
const FEW_HELD_OUT: f64 = 30.0;

/// Something the user should know before believing the result.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// The predictor is close to chance.
    WeakPredictor {
        /// Which predictor.
        which: &'static str,
        /// Its pairwise accuracy.
        pairwise: f64,
    },
    /// Transfer did not help.
    TransferDidNotHelp {
        /// Pairwise accuracy with transfer.
        transferred: f64,
        /// Without.
        scratch: f64,
    },
    /// Too few pairs are held out to judge the predictor.
    FewHeldOut {
        /// Which predictor.
        which: &'static str,
        /// How many.
        pairs: usize,
    },
    /// Hardly any candidate meets the budget.
    TightBudget {
        /// Share of random candidates that do.
        share: f64,
    },
    /// A cost is not known from the chip but extrapolated.
    ExtrapolatedCost,
    /// Sums of layers are far from whole networks on the measured hardware.
    PoorAdditivity {
        /// Median relative error.
        median: f64,
        /// The worst.
        worst: f64,
    },
    /// No uniform candidate of this width meets the budget.
    NoReference {
        /// Which width.
        bits: u8,
        /// Why.
        reason: String,
    },
    /// A uniform reference was more accurate.
    ReferenceWins {
        /// Which one.
        role: String,
    },
    /// No real runtime has seen the model.
    NotVerified {
        /// Why.
        reason: String,
    },
    /// Some layers' widths are not a target's own.
    Emulated {
        /// Which target.
        target: String,
        /// How many layers run in wider containers, or not at all.
        layers: usize,
        /// Of how many.
        of: usize,
        /// The first of them, with its widths.
        first: String,
    },
    /// A real runtime disagrees with the reference.
    Disagreement {
        /// Which format.
        format: String,
        /// Share of images with the same top-1.
        agreement: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeakPredictor { which, pairwise } => {
                write!(
                    formatter,
                    "the {which} predictor's pairwise accuracy {pairwise:.2} is close to chance"
                )
            }
            Self::TransferDidNotHelp { transferred, scratch } => write!(
                formatter,
                "transfer did not help: pairwise accuracy {transferred:.3}, from scratch {scratch:.3}"
            ),
            Self::FewHeldOut { which, pairs } => {
                write!(formatter, "only {pairs} held-out pairs judge the {which} predictor")
            }
            Self::TightBudget { share } => {
                write!(
                    formatter,
                    "the budget is tight: only {:.1} % of random candidates meet it",
                    100.0 * share
                )
            }
            Self::ExtrapolatedCost => {
                write!(formatter, "the chosen network's costs include extrapolated rows")
            }
            Self::PoorAdditivity { median, worst } => write!(
                formatter,
                "the cost table's sums of layers are {:.1} % from whole networks (median; worst {:.1} %)",
                100.0 * median,
                100.0 * worst
            ),
            Self::NoReference { bits, reason } => {
                write!(formatter, "there is no uniform {bits}-bit reference: {reason}")
            }
            Self::ReferenceWins { role } => {
                write!(formatter, "the {role} reference is more accurate on test than the searched network")
            }
            Self::NotVerified { reason } => {
                write!(formatter, "no real runtime has checked the models: {reason}")
            }
            Self::Emulated { target, layers, of, first } => write!(
                formatter,
                "on {target} {layers} of {of} layers run in wider containers than their widths, {first} the first"
            ),
            Self::Disagreement { format, agreement } => write!(
                formatter,
                "{format}: the runtime's top-1 is the reference's on only {:.2} % of images",
                100.0 * agreement
            ),
        }
    }
}

impl Warning {
    /// What can be done about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::WeakPredictor { .. } => "collect more pairs: raise `samples.full_precision` and `samples.mixed_precision`",
            Self::TransferDidNotHelp { .. } => {
                "with many mixed-precision pairs that is no surprise; with few, raise `samples.full_precision`"
            }
            Self::FewHeldOut { .. } => "raise the number of samples or `predictor.holdout`",
            Self::TightBudget { .. } => "relax `search.budget`, or choose a space with smaller networks",
            Self::ExtrapolatedCost => "measure these layers on the chip, or leave the width out of the space's bits",
            Self::PoorAdditivity { .. } => {
                "leave a margin in the budget, or measure again on a quiet machine: `sartor profile check TABLE`"
            }
            Self::NoReference { .. } => "relax `search.budget`, or drop the width from `search.references`",
            Self::ReferenceWins { .. } => "raise `search.measure` or the number of samples; use the reference if it is good enough",
            Self::NotVerified { .. } => "`pip install onnxruntime`, or point ORT_DYLIB_PATH at libonnxruntime.so",
            Self::Emulated { .. } => {
                "they ship and compute the same, but are not faster for it; `--target` with a target file of `containers = false` leaves such widths out"
            }
            Self::Disagreement { .. } => "report it: the runtime and the integer reference must agree",
        }
        .to_owned()
    }

    /// All that a run's facts call for.
    pub fn all_of(facts: &Facts) -> Vec<Self> {
        let mut warnings = Vec::new();
        warnings.extend(
            facts.full_precision.iter().flat_map(|metrics| Self::of_predictor("full-precision", metrics)),
        );
        warnings.extend(
            facts.mixed_precision.iter().flat_map(|metrics| Self::of_predictor("mixed-precision", metrics)),
        );
        warnings.extend(facts.best.iter().flat_map(Self::of_search));
        warnings.extend(facts.cost_table.iter().flat_map(Self::of_table));
        warnings.extend(Self::of_scores(facts));
        warnings.extend(Self::of_verification(facts));
        warnings.extend(Self::of_targets(facts));
        warnings
    }

    /// Layers of the winner that the formats' targets do not run at their own widths, if no target was named.
    fn of_targets(facts: &Facts) -> Vec<Self> {
        let (Some(winner), None) = (facts.scores.first(), &facts.target) else { return vec![] };
        let Ok(candidate) = Candidate::from_json(&winner.candidate.to_string(), &facts.space) else {
            return vec![];
        };
        let workload = facts.space.lower(&candidate);
        let formats =
            facts.verifications.first().into_iter().flat_map(|verification| verification.formats.keys());
        let targets = formats.filter_map(|format| Target::of_format(Format::from_name(format)?));
        let mut warnings: Vec<Self> =
            targets.filter_map(|target| Self::of_target(&target, &workload)).collect();
        warnings.dedup();
        warnings
    }

    /// Layers that a target does not run at their own widths.
    pub fn of_target(target: &Target, workload: &Workload) -> Option<Self> {
        let native = |layer: &&Layer| {
            let support = target.support(layer.kind(), layer.weight_bits, layer.activation_bits);
            support != Some(Support::Native)
        };
        let emulated: Vec<&Layer> = workload.layers.iter().filter(native).collect();
        let first = emulated.first()?;
        Some(Self::Emulated {
            target: target.name.clone(),
            layers: emulated.len(),
            of: workload.layers.len(),
            first: format!(
                "`{}` ({}-bit weights, {}-bit activations)",
                first.name, first.weight_bits, first.activation_bits
            ),
        })
    }

    /// What a predictor's metrics call for.
    pub fn of_predictor(which: &'static str, metrics: &PredictorMetrics) -> Vec<Self> {
        let mut warnings = Vec::new();
        let pairwise = metrics.quality.pairwise_accuracy.value;
        if pairwise <= WEAK_PAIRWISE {
            warnings.push(Self::WeakPredictor { which, pairwise });
        }
        let held_out = metrics.pairs as f64 * metrics.holdout;
        if held_out < FEW_HELD_OUT {
            warnings.push(Self::FewHeldOut { which, pairs: held_out as usize });
        }
        if let Some(scratch) = metrics.scratch.map(|scratch| scratch.pairwise_accuracy.value)
            && scratch > pairwise
        {
            warnings.push(Self::TransferDidNotHelp { transferred: pairwise, scratch });
        }
        warnings
    }

    /// What a search's outcome calls for.
    pub fn of_search(best: &Best) -> Vec<Self> {
        let tight =
            (best.feasible_share < TIGHT_SHARE).then_some(Self::TightBudget { share: best.feasible_share });
        tight.into_iter().chain(best.extrapolated.then_some(Self::ExtrapolatedCost)).collect()
    }

    /// What a cost table's provenance calls for.
    pub fn of_table(provenance: &Provenance) -> Vec<Self> {
        let poor = provenance.additivity.filter(Additivity::is_poor);
        poor.map(|Additivity { median, worst, .. }| Self::PoorAdditivity { median, worst })
            .into_iter()
            .collect()
    }

    fn of_scores(facts: &Facts) -> Option<Self> {
        let (winner, references) = facts.scores.split_first()?;
        let better = references.iter().find(|reference| reference.test.value > winner.test.value)?;
        Some(Self::ReferenceWins { role: better.role.clone() })
    }

    fn of_verification(facts: &Facts) -> Vec<Self> {
        let outcomes = facts.verifications.iter().flat_map(|verification| &verification.formats);
        let mut warnings: Vec<Self> =
            outcomes.filter_map(|(format, outcome)| Self::of_format(format, outcome)).collect();
        warnings.dedup();
        warnings
    }

    fn of_format(format: &str, outcome: &FormatVerification) -> Option<Self> {
        match outcome {
            FormatVerification::Skipped { reason } => Some(Self::NotVerified { reason: reason.clone() }),
            FormatVerification::Run { same: false, agreement, .. } => {
                Some(Self::Disagreement { format: format.to_owned(), agreement: *agreement })
            }
            FormatVerification::Run { .. } => None,
        }
    }
}
