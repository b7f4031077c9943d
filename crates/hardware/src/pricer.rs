//! x
/// x
pub struct CandidatePricer;
/// x
pub struct Metric;
