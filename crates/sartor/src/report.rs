//! # Report: one self-contained page about a run
//!
//! A section is one file and one line in [`SECTIONS`]; it takes the [`Facts`] and gives HTML, or nothing when its
//! stage has not run. No network, no scripts; light and dark by the reader's setting.

mod accuracies;
mod baselines;
mod cost_table;
mod facts;
mod front;
mod headline;
mod measured;
mod methods;
mod network;
mod page;
mod pareto;
mod predictors;
mod progress;
pub mod svg;
mod times;
mod training;
mod verification;
mod warned;

pub use baselines::page as compare_page;
pub use facts::Facts;
pub use front::front_page;
pub use headline::{amount, plain_name};

/// One part of the report.
struct Section {
    title: &'static str,
    write: fn(&Facts) -> Option<String>,
}

/// The sections, in the order of the page.
const SECTIONS: &[Section] = &[
    Section { title: "Result", write: headline::write },
    Section { title: "Warnings", write: warned::write },
    Section { title: "Accuracy against cost", write: pareto::write },
    Section { title: "Methods side by side", write: methods::write },
    Section { title: "The chosen network, block by block", write: network::write },
    Section { title: "Accuracies by split", write: accuracies::write },
    Section { title: "Verification in a real runtime", write: verification::write },
    Section { title: "Predicted against measured", write: measured::write },
    Section { title: "Quality of the predictors", write: predictors::write },
    Section { title: "Joint search beside baselines", write: baselines::write },
    Section { title: "Search", write: progress::write },
    Section { title: "Cost table", write: cost_table::write },
    Section { title: "Supernet training", write: training::write },
    Section { title: "Time per stage", write: times::write },
];

/// The whole page.
pub fn page(facts: &Facts) -> String {
    let sections = SECTIONS.iter().filter_map(|section| Some((section.title, (section.write)(facts)?)));
    page::assemble(&format!("Sartor: {}", facts.name), sections)
}
