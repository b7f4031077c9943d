//! Verify: the exported files in the real runtimes against the integer reference executor, on the whole test split.

mod card;
mod runtimes;

use std::collections::BTreeMap;

use anyhow::Result;
use sartor_export::verify::{Arithmetic, LayerExecution};
use serde_json::{Map, Value, json};

use super::Stage;
use super::export::ExportedModels;
use super::integers;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::records::{FormatVerification, Score, Verification};
use crate::session::Session;
use crate::talk;
pub use card::runtime as card_runtime;
pub use runtimes::Runtimes;
use runtimes::latency_key;

/// What real runtimes make of the models.
#[derive(Debug)]
pub struct Verified {
    verifications: Vec<Verification>,
}

impl Verified {
    /// The object of `sartor verify --json`: the chosen model's formats, the references under `references`.
    pub fn to_json(&self, session: &Session) -> Value {
        let mut all = self.verifications.iter().map(|one| formats_json(session, one));
        let mut object = all.next().unwrap_or_default();
        let others = self.verifications.iter().skip(1).zip(all);
        let references: Map<String, Value> =
            others.map(|(one, formats)| (one.role.clone(), formats.into())).collect();
        object.insert("references".to_owned(), references.into());
        object.into()
    }
}

fn formats_json(session: &Session, verification: &Verification) -> Map<String, Value> {
    let timings = session.timings();
    let one = |(format, outcome): (&String, &FormatVerification)| {
        let time = |part: &str| timings.measured.get(&latency_key(format, &verification.id, part));
        let value = match outcome {
            FormatVerification::Skipped { reason } => json!({ "skipped": reason }),
            FormatVerification::Run {
                agreement,
                accuracy,
                reference_accuracy,
                max_difference,
                runtime,
                same,
                layers,
            } => {
                json!({
                    "agreement": agreement,
                    "accuracy": accuracy.value,
                    "reference_accuracy": reference_accuracy.unwrap_or(verification.reference.value),
                    "max_difference": max_difference,
                    "images": accuracy.images,
                    "runtime": runtime,
                    "latency_ms": time(""),
                    "latency_low_ms": time("low_"),
                    "latency_high_ms": time("high_"),
                    "predicted_latency_ms": verification.predicted_latency_ms,
                    "same": same,
                    "layers": layers,
                })
            }
        };
        (format.clone(), value)
    };
    verification.formats.iter().map(one).collect()
}

fn file(id: &str) -> String {
    format!("models/{id}/verify.json")
}

/// Verifies, or keeps what is there.
///
/// # Errors
/// A runtime that fails or disagrees; a missing one if `verify.required` is set.
pub fn run(session: &Session, files: &ExportedModels) -> Result<Verified> {
    let runtimes = Runtimes::find(session)?;
    let inputs = session.inputs().section("verify", &session.config.verify).artefacts(files.artefacts());
    let inputs = inputs.section("export", &session.config.export);
    let inputs =
        inputs.value("images", &session.dataset()?.hash).value("runtime", runtimes.describe()).build();
    session.stage(Stage::Verify, inputs, |_| {
        let scores = files.models().scores();
        let mut progress = Progress::new(Stage::Verify.title(), scores.len() as u64, 0);
        let mut outputs = Vec::new();
        for (index, score) in scores.iter().enumerate() {
            outputs.extend(verify(session, score, &runtimes)?);
            progress.at(index as u64 + 1, &score.role);
        }
        drop(progress);
        Ok(outputs)
    })?;
    let read = |score: &Score| session.folder.read_json(&file(&score.id));
    let verified =
        Verified { verifications: files.models().scores().iter().map(read).collect::<Result<_>>()? };
    verified.verifications.iter().for_each(|verification| say(session, verification));
    refuse_disagreement(&verified)?;
    Ok(verified)
}

fn verify(session: &Session, score: &Score, runtimes: &Runtimes) -> Result<Vec<String>> {
    let network = integers::network(session, score)?;
    let images = &session.dataset()?.test;
    let reference = integers::accuracy(&integers::top1(&network, images)?, images);
    let mut formats = BTreeMap::new();
    for format in session.config.formats() {
        formats.insert(format.name().to_owned(), runtimes.verify(session, score, format)?);
    }
    let (id, role) = (score.id.clone(), score.role.clone());
    let predicted_latency_ms = score.costs.get("latency_ms").copied();
    let verification = Verification { id, role, reference, predicted_latency_ms, formats };
    let names = vec![file(&score.id), format!("models/{}/model-card.md", score.id)];
    session.folder.write_json(&names[0], &verification)?;
    session.folder.write(&names[1], card::text(session, score, &verification, &network)?.as_bytes())?;
    Ok(names)
}

fn say(session: &Session, verification: &Verification) {
    for (format, outcome) in &verification.formats {
        let mut text = outcome_text(outcome);
        if matches!(outcome, FormatVerification::Run { .. }) {
            text += &latency_text(session, verification, format);
        }
        talk::stage_line(Stage::Verify.title(), &format!("{} {format}: {text}", verification.role));
    }
}

/// What a runtime made of a file, for people.
pub fn outcome_text(outcome: &FormatVerification) -> String {
    match outcome {
        FormatVerification::Skipped { reason } => format!("skipped: {reason}"),
        FormatVerification::Run { agreement, accuracy, max_difference, runtime, layers, .. } => format!(
            "top-1 {:.2} %, same as the executor on {:.2} % of {} images, worst difference {max_difference:.1} steps \
             ({runtime}; {})",
            100.0 * accuracy.value,
            100.0 * agreement,
            accuracy.images,
            executed(layers),
        ),
    }
}

/// `12 integer, 3 conversions`.
fn executed(layers: &[LayerExecution]) -> String {
    let kinds = [
        (Arithmetic::Integer, "integer"),
        (Arithmetic::Conversion, "conversions"),
        (Arithmetic::Float, "float"),
        (Arithmetic::Unknown, "unknown"),
    ];
    let count = |kind| layers.iter().filter(|layer| layer.arithmetic == kind).count();
    let counts = kinds.map(|(kind, name)| (count(kind), name));
    let shown = counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    shown.collect::<Vec<_>>().join(", ")
}

fn latency_text(session: &Session, verification: &Verification, format: &str) -> String {
    let timings = session.timings();
    let time = |part: &str| timings.measured.get(&latency_key(format, &verification.id, part)).copied();
    let (Some(median), Some(low), Some(high)) = (time(""), time("low_"), time("high_")) else {
        return String::new();
    };
    let predicted = verification.predicted_latency_ms.map(|predicted| {
        format!("; the cost table says {predicted:.3} ms on {}", session.config.hardware.accelerator)
    });
    format!(", {median:.3} ms an image [{low:.3}, {high:.3}]{}", predicted.unwrap_or_default())
}

/// A file that computes something else is not a result.
fn refuse_disagreement(verified: &Verified) -> Result<()> {
    for verification in &verified.verifications {
        for (format, outcome) in &verification.formats {
            disagreement(&verification.id, format, outcome)?;
        }
    }
    Ok(())
}

/// Refuses a file that a runtime makes another network of.
///
/// # Errors
/// When it does.
pub fn disagreement(model: &str, format: &str, outcome: &FormatVerification) -> Result<()> {
    let FormatVerification::Run { same: false, agreement, max_difference, .. } = outcome else {
        return Ok(());
    };
    let message = format!(
        "model {model} in {format} is not the network that was measured: the runtime's top-1 is the reference's on \
         {:.2} % of images, the worst difference is {max_difference} steps",
        100.0 * agreement
    );
    Err(Failure::failed(message).hint("what was seen layer by layer is kept with the model").into())
}
