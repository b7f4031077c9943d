//! # `model-card.md`: what a model is and how it was measured
//!
//! A pure function from facts to text: data and splits, accuracies with intervals, costs and budgets, layers with
//! their bits, what the runtime said, seed and versions.

use std::fmt::Write;

use crate::graph::{Operation, QuantizedNetwork};
use crate::verify::{Arithmetic, LayerExecution};

/// A labelled fact, such as `("latency", "0.31 ms")`.
pub type Fact = (String, String);

/// An accuracy with what it was measured on.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredAccuracy {
    /// What was measured, such as `fake-quantized` or `integer executor`.
    pub what: String,
    /// Which split.
    pub split: String,
    /// How many images.
    pub images: usize,
    /// Top-1, 0 to 1.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
}

/// What a real runtime made of one file; without times, so that equal runs give equal cards.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenRuntime {
    /// The file's format.
    pub format: String,
    /// Name and version of the runtime.
    pub runtime: String,
    /// Whether it computes the network that was measured.
    pub same: bool,
    /// Top-1, 0 to 1.
    pub accuracy: f64,
    /// Share of images with the executor's top-1.
    pub agreement: f64,
    /// How many images.
    pub images: usize,
    /// Largest difference of an output, in steps.
    pub max_difference: f64,
    /// What is executed for every layer.
    pub layers: Vec<LayerExecution>,
}

/// The facts of a card.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelCard {
    /// Title.
    pub name: String,
    /// Data set and its licence.
    pub data: String,
    /// Splits and their sizes.
    pub splits: Vec<Fact>,
    /// Measured accuracies.
    pub accuracies: Vec<MeasuredAccuracy>,
    /// Costs as the cost model prices them.
    pub costs: Vec<Fact>,
    /// Budgets the search had to meet.
    pub budgets: Vec<Fact>,
    /// What real runtimes said.
    pub runtimes: Vec<SeenRuntime>,
    /// Seed of the run.
    pub seed: u64,
    /// Programs and their versions.
    pub versions: Vec<Fact>,
}

impl ModelCard {
    /// The card as Markdown.
    pub fn to_markdown(&self, network: &QuantizedNetwork) -> String {
        let mut text = format!("# {}\n\n{}\n", self.name, input_line(network));
        section(&mut text, "Data", &self.data_lines());
        section(&mut text, "Accuracy", &self.accuracy_lines());
        section(&mut text, "Costs", &facts(&self.costs));
        section(&mut text, "Budgets", &facts(&self.budgets));
        section(&mut text, "Runtime", &self.runtime_lines());
        section(&mut text, "Layers", &layer_lines(network));
        section(&mut text, "Made with", &self.made_with());
        text
    }

    fn data_lines(&self) -> Vec<String> {
        let data = Some(self.data.clone()).filter(|data| !data.is_empty());
        data.into_iter().chain([String::new()]).chain(facts(&self.splits)).collect()
    }

    fn accuracy_lines(&self) -> Vec<String> {
        if self.accuracies.is_empty() {
            return vec![];
        }
        let row = |one: &MeasuredAccuracy| {
            let [value, low, high] = [one.value, one.low, one.high].map(|part| 100.0 * part);
            format!("| {} | {} | {} | {value:.2} % | {low:.2}–{high:.2} % |", one.what, one.split, one.images)
        };
        let head = ["| measured | split | images | top-1 | 95 % interval |", "|---|---|---|---|---|"];
        head.map(String::from).into_iter().chain(self.accuracies.iter().map(row)).collect()
    }

    fn runtime_lines(&self) -> Vec<String> {
        if self.runtimes.is_empty() {
            return vec!["Not verified in a runtime.".into()];
        }
        self.runtimes.iter().map(runtime_line).collect()
    }

    fn made_with(&self) -> Vec<String> {
        std::iter::once(format!("- seed: {}", self.seed)).chain(facts(&self.versions)).collect()
    }
}

fn runtime_line(seen: &SeenRuntime) -> String {
    let count = |kind: Arithmetic| seen.layers.iter().filter(|layer| layer.arithmetic == kind).count();
    let same = if seen.same { "the same network" } else { "NOT the same network" };
    format!(
        "- {} in {}: {same}; top-1 {:.2} % and agreement {:.3} % on {} images, largest difference of a logit {:.3} \
         steps; executed as {} integer operations, {} conversions, {} float, {} unknown",
        seen.format,
        seen.runtime,
        100.0 * seen.accuracy,
        100.0 * seen.agreement,
        seen.images,
        seen.max_difference,
        count(Arithmetic::Integer),
        count(Arithmetic::Conversion),
        count(Arithmetic::Float),
        count(Arithmetic::Unknown)
    )
}

fn input_line(network: &QuantizedNetwork) -> String {
    let image = network.image();
    format!(
        "Integer network: uint8 images of {size}×{size}×{channels}, {classes} classes.",
        size = image.size,
        channels = image.channels,
        classes = network.classes()
    )
}

fn facts(facts: &[Fact]) -> Vec<String> {
    facts.iter().map(|(label, value)| format!("- {label}: {value}")).collect()
}

/// Nothing is written for an empty section.
fn section(text: &mut String, title: &str, lines: &[String]) {
    if lines.iter().all(String::is_empty) {
        return;
    }
    let body = lines.join("\n");
    // Writing to a string cannot fail.
    let _ = write!(text, "\n## {title}\n\n{}\n", body.trim());
}

fn layer_lines(network: &QuantizedNetwork) -> Vec<String> {
    let head = ["| layer | kernel | output | weight bits | input bits |", "|---|---|---|---|---|"];
    let convolution = |operation: &Operation| {
        let Operation::Convolution(layer) = operation else { return None };
        let (input, output) = (&network.tensors[layer.input], &network.tensors[layer.output]);
        let (bits, input_bits) = (layer.weights.bits, input.quantizer.bits);
        let shape = format!("{}×{}²", output.channels, output.size);
        Some(format!("| {} | {k}×{k} | {shape} | {bits} | {input_bits} |", layer.name, k = layer.kernel))
    };
    let classifier = &network.classifier;
    let last = format!("| {} | | {} | {} | 8 |", classifier.name, network.classes(), classifier.weights.bits);
    let rows = network.operations.iter().filter_map(convolution);
    head.map(String::from).into_iter().chain(rows).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn network() -> QuantizedNetwork {
        let workload = samples::uniform_workload(6);
        QuantizedNetwork::build(&samples::model(&workload, 1), &workload).unwrap()
    }

    fn seen() -> SeenRuntime {
        SeenRuntime {
            format: "onnx".into(),
            runtime: "ONNX Runtime 1.31.1".into(),
            same: true,
            accuracy: 0.9,
            agreement: 1.0,
            images: 1000,
            max_difference: 0.0,
            layers: vec![],
        }
    }

    #[test]
    fn a_card_says_what_was_measured_on_what() {
        let fact = |label: &str, value: &str| (label.to_string(), value.to_string());
        let card = ModelCard {
            name: "abc".into(),
            data: "Fashion-MNIST (MIT)".into(),
            splits: vec![fact("test", "1,000 images")],
            accuracies: vec![MeasuredAccuracy {
                what: "integer executor".into(),
                split: "test".into(),
                images: 1000,
                value: 0.9,
                low: 0.88,
                high: 0.917,
            }],
            runtimes: vec![seen()],
            seed: 7,
            ..Default::default()
        };
        let text = card.to_markdown(&network());
        for line in [
            "# abc",
            "Integer network: uint8 images of 14×14×3, 7 classes.",
            "- test: 1,000 images",
            "| integer executor | test | 1000 | 90.00 % | 88.00–91.70 % |",
            "- onnx in ONNX Runtime 1.31.1: the same network; top-1 90.00 % and agreement 100.000 % on 1000 images, \
             largest difference of a logit 0.000 steps; executed as 0 integer operations, 0 conversions, 0 float, 0 unknown",
            "| stem | 3×3 | 8×7² | 8 | 8 |",
            "| stage0.block0.expand | 1×1 | 48×7² | 6 | 6 |",
            "| classifier | | 7 | 8 | 8 |",
            "- seed: 7",
        ] {
            assert!(text.lines().any(|got| got == line), "no line `{line}` in\n{text}");
        }
        assert!(!text.contains("## Costs"), "empty sections are left out");
    }

    #[test]
    fn an_unverified_model_says_so() {
        assert!(ModelCard::default().to_markdown(&network()).contains("Not verified in a runtime."));
    }
}
