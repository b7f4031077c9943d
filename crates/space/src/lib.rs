//! # What may be chosen?
//!
//! A [`SearchSpace`] is read from TOML (or a preset), checked once, and then makes, checks, encodes and lowers
//! candidates. A [`Candidate`] is a [`Subnet`] (architecture) with an optional [`QuantPolicy`] (bit-widths); it
//! lowers to a [`Workload`], the concrete layers that every other crate reads.
//!
//! ```
//! use rand::SeedableRng;
//! use sartor_space::SearchSpace;
//!
//! let space = SearchSpace::preset("apq")?;
//! assert_eq!(space.blocks().len(), 21);
//! assert_eq!(space.encoding().architecture_len(), 520);
//!
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
//! let candidate = space.random_candidate(&mut rng);
//! let workload = space.lower(&candidate);
//! assert!(workload.bitops() < workload.macs() * 64);
//! # Ok::<(), sartor_space::SpaceError>(())
//! ```
//!
//! Pure data: no files, no tensors, no hardware; random numbers are an argument.

mod candidate;
mod checks;
mod choices;
mod encoding;
mod error;
mod json;
mod lowering;
pub mod networks;
mod sampling;
mod search_space;
mod specification;
pub mod suggest;
mod workload;

pub use candidate::{Block, BlockBits, Candidate, QuantPolicy, Subnet};
pub use choices::{BitChoices, BitSlot, BlockChoices, Depth, Options, Stage};
pub use encoding::Encoding;
pub use error::SpaceError;
pub use search_space::{Head, Input, SearchSpace, Stem};
pub use workload::{Layer, LayerKind, Role, Workload};
