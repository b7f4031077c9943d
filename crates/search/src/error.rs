//! What can go wrong in a search.

use crate::metric::Metric;

/// Error of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// A metric name that does not exist.
    #[error("unknown metric `{name}`")]
    UnknownMetric {
        /// What was given.
        name: String,
    },
    /// A limit that is zero, negative or not a number.
    #[error("the limit on {metric} is {limit}, expected a positive finite number")]
    BadLimit {
        /// What was limited.
        metric: Metric,
        /// What was given.
        limit: f64,
    },
    /// Two limits on one metric.
    #[error("{metric} is limited twice, to {first} and to {second}")]
    TwoLimits {
        /// What was limited.
        metric: Metric,
        /// First limit.
        first: f64,
        /// Second limit.
        second: f64,
    },
    /// No candidate of the space can meet one limit. Proven: the cheapest candidate was computed exactly.
    #[error("no candidate meets {metric} ≤ {limit}: the cheapest one needs {cheapest}")]
    Infeasible {
        /// The limit that binds.
        metric: Metric,
        /// The limit asked for.
        limit: f64,
        /// The smallest value any candidate reaches.
        cheapest: f64,
    },
    /// Each limit can be met alone, but not all together. Proven by a Lagrangian bound.
    #[error(
        "no candidate meets all limits at once; meeting the others, {metric} ≤ {limit} cannot be reached, at least {bound} is needed"
    )]
    InfeasibleTogether {
        /// The limit that could be loosened.
        metric: Metric,
        /// The limit asked for.
        limit: f64,
        /// A lower bound on this metric under the other limits.
        bound: f64,
    },
    /// The filter leaves nothing to choose from.
    #[error("block {block} has no choice left")]
    NoChoice {
        /// The searched block.
        block: usize,
    },
    /// Nothing feasible was found, and nothing is proven.
    #[error(
        "no candidate within the budget was found in {tries} tries; the closest had {metric} = {closest}, the limit is {limit}"
    )]
    NothingFound {
        /// How many candidates were tried.
        tries: u64,
        /// The limit that the closest candidate exceeded most.
        metric: Metric,
        /// That limit.
        limit: f64,
        /// What the closest candidate costs.
        closest: f64,
    },
    /// A limit on something that is not priced.
    #[error("{metric} is limited but not priced")]
    NotPriced {
        /// The metric without a price.
        metric: Metric,
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
    /// The evaluation returned something else than one result per candidate.
    #[error("{expected} candidates were given to be evaluated, {got} results came back")]
    WrongCount {
        /// Candidates given.
        expected: usize,
        /// Results returned.
        got: usize,
    },
    /// A score that is not a number.
    #[error("candidate {index} of the batch was scored {score}")]
    BadScore {
        /// Position in the batch.
        index: usize,
        /// The score.
        score: f64,
    },
    /// A checkpoint of another strategy, space or budget.
    #[error("the checkpoint was written for {expected}, this search is {got}")]
    ForeignCheckpoint {
        /// What the checkpoint says.
        expected: String,
        /// What was asked to resume.
        got: String,
    },
    /// A checkpoint that cannot be read.
    #[error("the checkpoint is damaged: {message}")]
    BrokenCheckpoint {
        /// What is wrong.
        message: String,
    },
    /// The space is too large to enumerate.
    #[error("the space holds {candidates:.3e} candidates, more than the {limit} that may be enumerated")]
    TooLarge {
        /// Number of candidates.
        candidates: f64,
        /// The largest number allowed.
        limit: usize,
    },
    /// A strategy of that name does not exist.
    #[error("unknown strategy `{name}`")]
    UnknownStrategy {
        /// What was given.
        name: String,
    },
    /// Whatever the evaluation closure failed with.
    #[error("a candidate could not be evaluated: {message}")]
    Evaluation {
        /// The cause, in words.
        message: String,
    },
}

impl SearchError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::UnknownMetric { .. } => {
                format!("known metrics: {}", Metric::ALL.map(Metric::name).join(", "))
            }
            Self::Infeasible { metric, cheapest, .. } => format!("set {metric} to at least {cheapest}"),
            Self::InfeasibleTogether { metric, bound, .. } => {
                format!("raise {metric} to at least {bound}, or loosen the other limits")
            }
            Self::NothingFound { metric, closest, .. } => format!("try {metric} = {closest}"),
            Self::TwoLimits { metric, .. } => format!("keep one of the two limits on {metric}"),
            Self::NotPriced { metric } => {
                format!("choose a hardware that prices {metric}, or drop the limit")
            }
            Self::TooLarge { .. } => "use a search strategy instead of enumeration".to_string(),
            Self::UnknownStrategy { .. } => {
                format!("known strategies: {}", crate::strategies::NAMES.join(", "))
            }
            _ => return None,
        };
        Some(hint)
    }

    /// Whether the budget cannot be met (exit code 3 of the command line).
    pub fn is_infeasible(&self) -> bool {
        matches!(self, Self::Infeasible { .. } | Self::InfeasibleTogether { .. } | Self::NothingFound { .. })
    }
}
