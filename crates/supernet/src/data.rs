//! # Data sets
//!
//! From files to normalised batches: [`Source`] names the files, [`Dataset::load`] reads, checks and splits them,
//! [`batch`] turns images into the engine's input, [`BatchStream`] does so ahead of time on another thread.
//!
//! - The validation split is cut from the training images, the same share of every class, and depends only on the
//!   seed; test images are never mixed in.
//! - Every reader checks what a header claims before it allocates, and refuses what does not fit with a
//!   [`DataError`] that says where.
//! - Random decisions depend on (seed, epoch, batch), never on what was drawn before, so any batch can be made again.

mod augmentation;
mod batches;
mod bytes;
mod cifar;
mod dataset;
mod idx;
mod image_folder;
mod images;
mod normalization;
mod picture;
mod source;
mod split;
mod stream;

pub use crate::data_error::DataError;
pub use augmentation::Augmentation;
pub use batches::{batch, epoch_order};
pub use dataset::{Dataset, Limits};
pub use images::Images;
pub use normalization::Normalization;
pub use source::Source;
pub use split::{Split, balanced_subset};
pub(crate) use stream::Ahead;
pub use stream::{Batch, BatchPlan, BatchStream, batch_at};
