//! # Tables that are measured
//!
//! What a clock gave, made into rows: robust summaries of repeated runs ([`summarize`]), rows between measured widths
//! ([`Lines`]), what a user's command printed ([`read_output`]), and how far sums of layers are from whole networks
//! ([`Additivity`]). Nothing here runs or times anything.

mod additivity;
mod lines;
mod output;
mod summary;

pub use additivity::{ADDITIVITY_LIMIT, Additivity};
pub use lines::{HeldOut, Lines};
pub use output::{Measurement, read_output};
pub use summary::{Summary, summarize};
