//! Export and verification of what was reached.

use anyhow::Result;
use sartor_export::card::MeasuredAccuracy;
use sartor_export::{Executor, Format, LabelledImages, ModelCard, Policy, QuantizedNetwork, Settings, Style};
use serde_json::{Map, Value, json};

use super::choice::Choice;
use super::outcome::Outcome;
use super::source::{Source, write};
use crate::cli::QuantizeArguments;
use crate::failure::Failure;
use crate::records::FormatVerification;
use crate::report::{amount, plain_name};
use crate::stages::verify::{Runtimes, card_runtime, disagreement, outcome_text};
use crate::statistics::Accuracy;
use crate::talk;

/// Writes every format, its policy and its card, and runs what can be run.
///
/// # Errors
/// An unknown format, an unwritable folder, a runtime that fails or disagrees.
pub fn ship(
    (arguments, formats): (&QuantizeArguments, &[Format]),
    source: &Source,
    outcome: &Outcome,
    choice: &Choice,
    seed: u64,
) -> Result<Value> {
    let network = &outcome.network;
    let validation = &source.dataset.validation;
    let logits = Executor::new(network, Style::FloatTiesToEven).run(&validation.pixels)?.int8_quantizer();
    let settings = Settings { logits: &logits, metadata: &[("sartor.model", &source.name)] };
    let widths = json!({ "model": source.name, "widths": choice.best.widths });
    put(arguments, "policy.json", serde_json::to_string_pretty(&Policy::new(network, widths))?.as_bytes())?;
    if let Some(weights) = outcome.weights() {
        put(arguments, "weights.safetensors", weights)?;
    }
    for file in formats.iter().flat_map(|format| format.write(network, settings)) {
        put(arguments, &file.name, &file.bytes)?;
    }
    let runtimes = Runtimes::look_for(formats, false)?;
    let test = &source.dataset.test;
    let images = LabelledImages { pixels: &test.pixels, labels: &test.labels };
    let mut seen = Vec::new();
    for &format in formats {
        let verified =
            runtimes.run(format, &arguments.out.join(format.place()), (network, &logits), images)?;
        talk::stage_line("verify", &format!("{}: {}", format.name(), outcome_text(&verified)));
        seen.push((format.name().to_owned(), verified));
    }
    put(arguments, "model-card.md", card(arguments, source, (outcome, choice), &seen, seed).as_bytes())?;
    seen.iter().try_for_each(|(format, outcome)| disagreement(&source.name, format, outcome))?;
    let verified: Map<String, Value> = seen
        .into_iter()
        .map(|(format, outcome)| Ok((format, serde_json::to_value(outcome)?)))
        .collect::<Result<_>>()?;
    Ok(json!({ "verify": verified }))
}

/// The formats that are wanted.
///
/// # Errors
/// A name that there is not.
pub fn formats(arguments: &QuantizeArguments) -> Result<Vec<Format>> {
    arguments.formats.iter().map(|name| format(name)).collect()
}

fn format(name: &str) -> Result<Format> {
    Format::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Format::ALL.into_iter().map(Format::name).collect();
        Failure::bad_input(format!("there is no format `{name}`"))
            .hint(format!("formats: {}", known.join(", ")))
            .into()
    })
}

fn put(arguments: &QuantizeArguments, name: &str, bytes: &[u8]) -> Result<()> {
    write(&arguments.out.join(name), bytes)
}

fn card(
    arguments: &QuantizeArguments,
    source: &Source,
    (outcome, choice): (&Outcome, &Choice),
    seen: &[(String, FormatVerification)],
    seed: u64,
) -> String {
    let dataset = &source.dataset;
    let split = |name: &str, images: usize| (name.to_owned(), format!("{images} images"));
    let facts = |costs: &crate::records::Costs| {
        costs.iter().map(|(name, value)| (plain_name(name).to_owned(), amount(name, *value))).collect()
    };
    let network: &QuantizedNetwork = &outcome.network;
    ModelCard {
        name: format!("{}, quantized", source.name),
        data: format!("{}, SHA-256 {}", dataset.name, dataset.hash),
        splits: vec![
            split("train", dataset.train.len()),
            split("validation", dataset.validation.len()),
            split("test", dataset.test.len()),
        ],
        accuracies: vec![
            measured("float", "validation", source.validation),
            measured("float", "test", source.test),
            measured("8 bits in integers", "test", outcome.uniform),
            measured("in integers", "validation", outcome.validation),
            measured("in integers", "test", outcome.test),
        ],
        costs: facts(&choice.best.costs),
        budgets: facts(&choice.budget),
        runtimes: seen.iter().filter_map(|(format, outcome)| card_runtime(format, outcome)).collect(),
        seed,
        versions: vec![
            ("sartor".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("accelerator".to_owned(), arguments.hardware.clone()),
        ],
    }
    .to_markdown(network)
}

fn measured(what: &str, split: &str, accuracy: Accuracy) -> MeasuredAccuracy {
    let (low, high) = accuracy.interval();
    let (what, split) = (what.to_owned(), split.to_owned());
    MeasuredAccuracy { what, split, images: accuracy.images, value: accuracy.value, low, high }
}
