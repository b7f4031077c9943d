//! # How accurate will it be?
//!
//! [`Pairs`] of candidates and measured accuracies are fitted into a [`Predictor`] ([`Predictor::fit`]); a
//! full-precision predictor is transferred to mixed precision with few pairs ([`Predictor::fit_from`]); a
//! [`RankingReport`] says how well it orders candidates it has not seen.

mod additive;
mod curves;
mod description;
mod ensemble;
mod error;
mod gaussian_process;
mod interval;
mod linear_algebra;
mod metrics;
mod mlp;
mod pairs;
mod predictor;
mod process;
mod sharing;
mod store;
mod transfer;

pub use additive::Additive;
pub use curves::{CurvePoint, choose_next, learning_curve};
pub use ensemble::Prediction;
pub use error::PredictorError;
pub use interval::{Interval, bootstrap};
pub use metrics::{
    RankingReport, SpreadCalibration, kendall_tau, mean_absolute_error, pairwise_accuracy, spearman,
};
pub use mlp::HeadPlacement;
pub use mlp::train::MlpSettings;
pub use pairs::{FEWEST_PAIRS, Pairs};
pub use predictor::{FitSettings, Precision, Predictor};
pub use process::Method;
pub use store::FORMAT_VERSION;
pub use transfer::{Freeze, TransferSettings};
