//! # How do we choose?
//!
//! A [`Problem`] (space, prices, [`Budget`]) is checked once into a [`Domain`], which knows what every candidate
//! costs, proves infeasible budgets and draws feasible candidates. A [`Strategy`] proposes candidates (ask) and
//! learns from their evaluations (tell); the [`Runner`] is the one loop around it, with limits, observers and
//! checkpoints. Where a score comes from is not this crate's business: it is a function given to
//! [`Runner::run`].

pub mod amc;
mod boltzmann;
mod bound;
mod budget;
mod checkpoint;
pub mod ddpg;
mod domain;
mod enumerate;
pub mod episodes;
mod error;
mod evaluation;
pub mod haq;
pub mod ladder;
mod metric;
mod pareto;
mod remembered;
mod runner;
pub mod strategies;
mod strategy;
mod table;

pub use bound::Gain;
pub use budget::{Budget, Violation};
pub use checkpoint::Checkpoint;
pub use domain::{Domain, Problem, WholeCosts};
pub use enumerate::enumerate;
pub use error::SearchError;
pub use evaluation::Evaluation;
pub use metric::{CHIPS, Costs, METRICS, Metric};
pub use pareto::{ParetoFront, crowding, dominates, objectives, ranks};
pub use remembered::Remembered;
pub use runner::{Control, Limits, ObserverMode, Outcome, Progress, Runner, State, StopReason};
pub use strategy::{Memory, Strategy};
pub use table::{AdditiveCosts, Filter};
