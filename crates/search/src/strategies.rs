//! # The strategies
//!
//! One file each and one line in [`by_name`]; the conformance tests in `tests/conformance.rs` run over
//! [`NAMES`].

mod breeding;
pub mod evolution;
pub mod local;
pub mod nsga;
pub mod random;
pub mod regularised;
pub mod release;

use crate::error::SearchError;
use crate::metric::Metric;
use crate::strategy::Strategy;

/// Names of all strategies.
pub const NAMES: &[&str] = &["evolution", "random", "regularised", "local", "nsga"];

/// A strategy with its default settings; `objectives` are the costs that multi-objective strategies minimise
/// beside maximising the score.
///
/// # Errors
/// [`SearchError::UnknownStrategy`].
pub fn by_name(name: &str, objectives: &[Metric]) -> Result<Box<dyn Strategy>, SearchError> {
    match name {
        "evolution" => Ok(Box::new(evolution::Evolution::new(evolution::Settings::default())?)),
        "random" => Ok(Box::new(random::Random::new(random::Settings::default())?)),
        "regularised" => Ok(Box::new(regularised::Regularised::new(regularised::Settings::default())?)),
        "local" => Ok(Box::new(local::LocalSearch::new(local::Settings::default())?)),
        "nsga" => Ok(Box::new(nsga::Nsga::new(nsga::Settings::default(), objectives)?)),
        _ => Err(SearchError::UnknownStrategy { name: name.to_string() }),
    }
}
