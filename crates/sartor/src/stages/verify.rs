//! Verify: the exported files in ONNX Runtime against the integer reference executor, on the whole test split.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use sartor_export::runtime::{self, Library};
use sartor_export::{
    Executor, ExportError, LabelledImages, QuantizedNetwork, Style, VerifyOptions, verify_onnx,
};
use sartor_supernet::data::Images;
use serde_json::{Map, Value, json};

use super::Stage;
use super::export::{ExportedModels, network, onnx_name};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::records::{FormatVerification, Score, Verification};
use crate::session::Session;
use crate::statistics::Accuracy;
use crate::talk;

/// What a real runtime makes of the models.
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
        let value = match outcome {
            FormatVerification::Skipped { reason } => json!({ "skipped": reason }),
            FormatVerification::Run { agreement, accuracy, max_difference, runtime, same } => json!({
                "agreement": agreement,
                "accuracy": accuracy.value,
                "reference_accuracy": verification.reference.value,
                "max_difference": max_difference,
                "images": accuracy.images,
                "runtime": runtime,
                "latency_ms": timings.measured.get(&latency_key(format, &verification.id)),
                "same": same,
            }),
        };
        (format.clone(), value)
    };
    verification.formats.iter().map(one).collect()
}

fn latency_key(format: &str, id: &str) -> String {
    format!("{format}_{id}_latency_ms")
}

fn file(id: &str) -> String {
    format!("models/{id}/verify.json")
}

/// Verifies, or keeps what is there.
///
/// # Errors
/// A runtime that fails or disagrees; a missing one if `verify.required` is set.
pub fn run(session: &Session, files: &ExportedModels) -> Result<Verified> {
    let library = library(session.config.verify.required)?;
    let inputs = session.inputs().section("verify", &session.config.verify).artefacts(files.artefacts());
    let inputs = inputs.value("images", &session.dataset()?.hash).value("runtime", name(&library)).build();
    session.stage(Stage::Verify, inputs, |_| {
        let scores = files.models().scores();
        let mut progress = Progress::new(Stage::Verify.title(), scores.len() as u64, 0);
        for (index, score) in scores.iter().enumerate() {
            let verification = verify(session, score, &library)?;
            session.folder.write_json(&file(&score.id), &verification)?;
            progress.at(index as u64 + 1, &score.role);
        }
        drop(progress);
        Ok(scores.iter().map(|score| file(&score.id)).collect())
    })?;
    let read = |score: &Score| session.folder.read_json(&file(&score.id));
    let verified =
        Verified { verifications: files.models().scores().iter().map(read).collect::<Result<_>>()? };
    verified.verifications.iter().for_each(say);
    refuse_disagreement(&verified)?;
    Ok(verified)
}

/// The runtime, or why there is none.
fn library(required: bool) -> Result<Result<Library, String>> {
    match runtime::find() {
        Ok(library) => Ok(Ok(library)),
        Err(error @ ExportError::RuntimeMissing { .. }) if !required => {
            let hint = error.hint().unwrap_or_default();
            Ok(Err(format!("no ONNX Runtime found; {hint}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn name(library: &Result<Library, String>) -> String {
    match library {
        Ok(library) => library.version().unwrap_or_else(|| "unknown version".to_owned()),
        Err(_) => "absent".to_owned(),
    }
}

fn verify(session: &Session, score: &Score, library: &Result<Library, String>) -> Result<Verification> {
    let network = network(session, score)?;
    let images = &session.dataset()?.test;
    let reference = reference(&network, images)?;
    let path = session.folder.path(&onnx_name(&score.id));
    let outcome = match library {
        Ok(library) => run_onnx(session, score, library, &path, &network, images)?,
        Err(reason) => FormatVerification::Skipped { reason: reason.clone() },
    };
    let formats = BTreeMap::from([("onnx".to_owned(), outcome)]);
    Ok(Verification { id: score.id.clone(), role: score.role.clone(), reference, formats })
}

/// Accuracy of the integer reference executor.
fn reference(network: &QuantizedNetwork, images: &Images) -> Result<Accuracy> {
    let top1 = Executor::new(network, Style::FloatTiesToEven).run(&images.pixels)?.top1();
    let right = top1.iter().zip(&images.labels).filter(|&(&class, &label)| class == label as usize).count();
    Ok(Accuracy { value: right as f64 / images.len().max(1) as f64, images: images.len() })
}

fn run_onnx(
    session: &Session,
    score: &Score,
    library: &Library,
    path: &Path,
    network: &QuantizedNetwork,
    images: &Images,
) -> Result<FormatVerification> {
    let started = Instant::now();
    let labelled = LabelledImages { pixels: &images.pixels, labels: &images.labels };
    let options = VerifyOptions::default();
    let seen = verify_onnx(library, path, network, labelled, options, &|| started.elapsed())?;
    session.note_measured(&latency_key("onnx", &score.id), seen.latency_ms.median)?;
    Ok(FormatVerification::Run {
        agreement: seen.agreement,
        accuracy: Accuracy { value: seen.accuracy, images: seen.images },
        max_difference: seen.max_difference,
        runtime: seen.runtime,
        same: seen.same,
    })
}

fn say(verification: &Verification) {
    for (format, outcome) in &verification.formats {
        let text = match outcome {
            FormatVerification::Run { agreement, accuracy, runtime, .. } => {
                format!(
                    "{format}: same top-1 on {:.2} % of {} images ({runtime})",
                    100.0 * agreement,
                    accuracy.images
                )
            }
            FormatVerification::Skipped { reason } => format!("{format}: skipped: {reason}"),
        };
        talk::stage_line(Stage::Verify.title(), &format!("{} {text}", verification.role));
    }
}

/// A file that computes something else is not a result.
fn refuse_disagreement(verified: &Verified) -> Result<()> {
    for verification in &verified.verifications {
        for (format, outcome) in &verification.formats {
            if let FormatVerification::Run { same: false, agreement, .. } = outcome {
                let message = format!(
                    "model {} in {format}: the runtime's top-1 is the reference's on only {:.2} % of images",
                    verification.id,
                    100.0 * agreement
                );
                return Err(Failure::failed(message)
                    .hint("the verification is kept in `verify.json`")
                    .into());
            }
        }
    }
    Ok(())
}
