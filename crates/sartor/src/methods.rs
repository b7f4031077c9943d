//! # Methods: every search system of the papers, on one space, one supernet, one chip
//!
//! A method gets a [`Bench`]: the trained supernet, the prices, the limits, and ways to ask how accurate a candidate
//! is. It gives a [`Proposal`]: candidates within the limits, the preferred one first. What follows is the same for
//! all: the first few are measured after the same short fine-tune, the best is fine-tuned, exported and verified.
//!
//! To add one: a file here (glue) with the algorithm in its own crate, a line in [`METHODS`], a table in
//! `config/methods.rs` if it has settings, and a section in `docs/method.md`. `tests` runs over the list.

mod agents;
mod amc;
mod bench;
mod chamnet;
mod dnas;
mod gong;
mod gradient;
mod haq;
mod meter;
mod proxyless;
mod scratch;
mod sequential;
mod spos;
mod uniform;

use anyhow::Result;
use sartor_space::suggest::nearest;

use crate::failure::Failure;
use crate::records::Generation;
use crate::stages::search::hunt::Wanted;

pub use bench::Bench;
pub use gradient::{LANDING, Landing};
pub use meter::{Meter, Tried};

/// The method that every run has unless it says otherwise.
pub const DEFAULT: &str = "apq";

/// A search system.
#[derive(Debug)]
pub struct Method {
    /// Its name in configuration files and on the command line.
    pub name: &'static str,
    /// What it does, for people.
    pub title: &'static str,
    /// Where it is from.
    pub paper: &'static str,
    /// How it finds candidates.
    pub way: Way,
}

/// How a method finds candidates.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// The papers' joint search: both predictors, rounds of searching and measuring.
    Joint,
    /// It proposes; `samples` says whether it needs the full-precision accuracies first.
    Proposing {
        /// Whether full-precision accuracies are sampled for it.
        samples: bool,
        /// What it proposes.
        propose: fn(&Bench<'_>) -> Result<Proposal>,
    },
    /// It proposes from the mixed-precision accuracies, which are sampled for it.
    FromQuantized(fn(&Bench<'_>) -> Result<Proposal>),
}

/// What a method proposes.
#[derive(Debug)]
pub struct Proposal {
    /// Candidates within the limits that are worth measuring, the preferred one first, each once.
    pub ranked: Vec<Wanted>,
    /// Candidates (policies, networks, samples) that it looked at.
    pub evaluated: u64,
    /// Why it stopped.
    pub stop_reason: String,
    /// Generation by generation, or episode by episode.
    pub history: Vec<Generation>,
}

/// All methods, the papers' own first.
pub const METHODS: &[Method] = &[
    Method {
        name: DEFAULT,
        title: "joint search of architecture, widths and bits with a transferred predictor",
        paper: "EMS/APQ",
        way: Way::Joint,
    },
    Method {
        name: "apq-scratch",
        title: "joint search with a predictor fitted on mixed precision alone",
        paper: "EMS/APQ, table 2, without transfer",
        way: Way::FromQuantized(scratch::propose),
    },
    Method {
        name: "spos",
        title: "evolution scored by the supernet itself",
        paper: "Single Path One-Shot (Guo and others, 2019)",
        way: Way::Proposing { samples: false, propose: spos::propose },
    },
    Method {
        name: "chamnet",
        title: "evolution with a Gaussian process, full precision; deployed at 8 bits",
        paper: "ChamNet (Dai and others, 2019)",
        way: Way::Proposing { samples: true, propose: chamnet::propose },
    },
    Method {
        name: "amc",
        title: "channel pruning of a fixed network by reinforcement learning",
        paper: "AMC (He and others, 2018)",
        way: Way::Proposing { samples: false, propose: amc::propose },
    },
    Method {
        name: "haq",
        title: "bit-widths of a fixed network by reinforcement learning",
        paper: "HAQ (Wang and others, 2019)",
        way: Way::Proposing { samples: false, propose: haq::propose },
    },
    Method {
        name: "sequential",
        title: "architecture, then channels, then bits",
        paper: "EMS/APQ, table 2",
        way: Way::Proposing { samples: false, propose: sequential::propose },
    },
    Method {
        name: "uniform",
        title: "fixed networks at one width everywhere",
        paper: "MobileNetV2 (Sandler and others, 2018)",
        way: Way::Proposing { samples: false, propose: uniform::propose },
    },
    Method {
        name: "gong",
        title: "architecture and bits together by gradient descent",
        paper: "Mixed Precision NAS (Gong and others, 2019)",
        way: Way::Proposing { samples: false, propose: gong::propose },
    },
    Method {
        name: "dnas",
        title: "bits of a fixed architecture by gradient descent",
        paper: "DNAS (Wu and others, 2018)",
        way: Way::Proposing { samples: false, propose: dnas::propose },
    },
    Method {
        name: "proxyless",
        title: "architecture by gradient descent on single paths; deployed at 8 bits",
        paper: "ProxylessNAS (Cai and others, 2019)",
        way: Way::Proposing { samples: false, propose: proxyless::propose },
    },
];

/// Names of all methods.
pub fn names() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|method| method.name)
}

/// The method of a name.
///
/// # Errors
/// An unknown name, with the nearest one.
pub fn named(name: &str) -> Result<&'static Method, Failure> {
    METHODS.iter().find(|method| method.name == name).ok_or_else(|| {
        let hint = match nearest(name, names()) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("methods: {}", names().collect::<Vec<_>>().join(", ")),
        };
        Failure::bad_input(format!("unknown method `{name}`")).hint(hint)
    })
}
