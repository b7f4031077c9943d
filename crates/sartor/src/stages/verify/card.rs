//! The model card: everything that was measured about one model, in words.

use anyhow::Result;
use sartor_export::card::{Fact, MeasuredAccuracy, SeenRuntime};
use sartor_export::{ModelCard, QuantizedNetwork};

use crate::records::{Best, Costs, FormatVerification, Score, Verification};
use crate::report::{amount, plain_name};
use crate::session::Session;
use crate::stages::search::BEST;
use crate::statistics::Accuracy;

/// The card as Markdown; the same for the same run, so without times.
///
/// # Errors
/// Artefacts that cannot be read.
pub fn text(
    session: &Session,
    score: &Score,
    verification: &Verification,
    network: &QuantizedNetwork,
) -> Result<String> {
    let best: Best = session.folder.read_json(BEST)?;
    let card = ModelCard {
        name: format!("{} {}", score.role, score.id),
        data: data(session)?,
        splits: splits(session)?,
        accuracies: accuracies(score, verification),
        costs: amounts(&score.costs),
        budgets: amounts(&best.budget),
        runtimes: verification.formats.iter().filter_map(|(format, seen)| runtime(format, seen)).collect(),
        seed: session.config.seed,
        versions: versions(session),
    };
    Ok(card.to_markdown(network))
}

fn data(session: &Session) -> Result<String> {
    let dataset = session.dataset()?;
    Ok(format!("{} (`{}`), SHA-256 {}", dataset.name, session.config.data.path.display(), dataset.hash))
}

fn splits(session: &Session) -> Result<Vec<Fact>> {
    let dataset = session.dataset()?;
    let images = |images: usize| format!("{images} images");
    Ok(vec![
        ("train".to_owned(), images(dataset.train.len())),
        (
            "validation".to_owned(),
            format!(
                "{}, split off by seed {}",
                images(dataset.validation.len()),
                session.config.data.split_seed
            ),
        ),
        ("test".to_owned(), images(dataset.test.len())),
    ])
}

fn accuracies(score: &Score, verification: &Verification) -> Vec<MeasuredAccuracy> {
    let mut rows = vec![
        measured("fake-quantized", "validation", score.validation),
        measured("fake-quantized", "test", score.test),
    ];
    if let Some(integer) = &score.integer {
        rows.push(measured("integer executor", "validation", integer.validation));
    }
    rows.push(measured("integer executor", "test", verification.reference));
    rows
}

fn measured(what: &str, split: &str, accuracy: Accuracy) -> MeasuredAccuracy {
    let (low, high) = accuracy.interval();
    let (what, split) = (what.to_owned(), split.to_owned());
    MeasuredAccuracy { what, split, images: accuracy.images, value: accuracy.value, low, high }
}

fn amounts(costs: &Costs) -> Vec<Fact> {
    costs.iter().map(|(name, value)| (plain_name(name).to_owned(), amount(name, *value))).collect()
}

/// A runtime's line of the card; none where it did not run.
pub fn runtime(format: &str, outcome: &FormatVerification) -> Option<SeenRuntime> {
    let FormatVerification::Run { agreement, accuracy, max_difference, runtime, same, layers, .. } = outcome
    else {
        return None;
    };
    Some(SeenRuntime {
        format: format.to_owned(),
        runtime: runtime.clone(),
        same: *same,
        accuracy: accuracy.value,
        agreement: *agreement,
        images: accuracy.images,
        max_difference: *max_difference,
        layers: layers.clone(),
    })
}

fn versions(session: &Session) -> Vec<Fact> {
    let space = &session.config.space;
    vec![
        ("sartor".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("search space".to_owned(), format!("{}, SHA-256 {}", space.name(), space.hash())),
        ("accelerator".to_owned(), session.config.hardware.accelerator.clone()),
    ]
}
