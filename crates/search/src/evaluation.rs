//! # Evaluations: a candidate with its score and costs

use sartor_space::Candidate;

use crate::metric::Costs;

/// What is known about one candidate. Larger scores are better.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The candidate.
    pub candidate: Candidate,
    /// Accuracy, predicted or measured.
    pub score: f64,
    /// What it costs.
    pub costs: Costs,
}
