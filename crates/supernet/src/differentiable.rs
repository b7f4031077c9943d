//! # Differentiable searches: architecture and bit-widths by gradient descent
//!
//! A controller holds a logit for every option of every choice ([`choices`]). A sample of it, relaxed ([`gumbel`]) or
//! hard, becomes the coefficients of a [`mixture`]: one network of the largest shape whose weights are mixed before
//! they are convolved, so that a search step costs little more than a plain one. The gradient of the weights gives the
//! gradient of the coefficients, and with the price of the expected or sampled candidate ([`cost`]) that of the logits.
//! At the end the most probable candidate that meets the limits is taken ([`mod@derive`]). The steps of every search and
//! their checkpoints are [`Search`]; a method adds where its gradients come from.
//!
//! | method | papers | file |
//! |---|---|---|
//! | `gong`: architecture and bit-widths together | Gong and others | [`gong`] |
//! | `dnas`: bit-widths of one architecture | Wu and others | [`dnas`] |
//! | `proxyless`: paths with a latency term | ProxylessNAS | [`proxyless`] |

pub mod bilevel;
pub mod choices;
pub mod cost;
pub mod derive;
pub mod dnas;
mod feed;
pub mod gong;
pub mod gumbel;
pub mod mixture;
mod outcome;
pub mod proxyless;
mod search;
mod settings;
mod state;

pub use choices::{Choices, Pinned, Precision};
pub use cost::Costs;
pub use outcome::{Counters, Observer, Outcome, Row};
pub use search::{Rule, Search};
