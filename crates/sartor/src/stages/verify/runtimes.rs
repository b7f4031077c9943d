//! The real runtimes, one per format, each looked for when verification starts.

use std::time::Instant;

use anyhow::Result;
use sartor_export::runtime::{self, Library};
use sartor_export::{
    ExportError, LabelledImages, QuantizedNetwork, Verification, VerifyOptions, verify_onnx,
};

use crate::records::{FormatVerification, Score};
use crate::session::Session;
use crate::stages::export::onnx_name;
use crate::statistics::Accuracy;

/// What was found, or why it was not.
#[derive(Debug)]
pub struct Runtimes {
    onnx: Result<Library, String>,
}

/// Name of a measured latency; `part` is empty for the median, else `low_` or `high_`.
pub fn latency_key(format: &str, id: &str, part: &str) -> String {
    format!("{format}_{id}_latency_{part}ms")
}

impl Runtimes {
    /// Looks for them.
    ///
    /// # Errors
    /// A missing one if `verify.required` is set.
    pub fn find(session: &Session) -> Result<Self> {
        Ok(Self { onnx: onnx_library(session.config.verify.required)? })
    }

    /// Versions, for the stage's inputs.
    pub fn describe(&self) -> String {
        match &self.onnx {
            Ok(library) => library.version().unwrap_or_else(|| "unknown version".to_owned()),
            Err(_) => "absent".to_owned(),
        }
    }

    /// One file in its runtime, over the whole test split.
    ///
    /// # Errors
    /// A runtime that fails.
    pub fn verify(
        &self,
        session: &Session,
        score: &Score,
        format: &str,
        network: &QuantizedNetwork,
    ) -> Result<FormatVerification> {
        let seen = match &self.onnx {
            Err(reason) => return Ok(FormatVerification::Skipped { reason: reason.clone() }),
            Ok(library) => run_onnx(session, score, library, network)?,
        };
        note_latency(session, format, &score.id, &seen)?;
        Ok(record(seen))
    }
}

fn onnx_library(required: bool) -> Result<Result<Library, String>> {
    match runtime::find() {
        Ok(library) => Ok(Ok(library)),
        Err(error @ ExportError::RuntimeMissing { .. }) if !required => {
            let hint = error.hint().unwrap_or_default();
            Ok(Err(format!("no ONNX Runtime found; {hint}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn run_onnx(
    session: &Session,
    score: &Score,
    library: &Library,
    network: &QuantizedNetwork,
) -> Result<Verification> {
    let (started, images) = (Instant::now(), &session.dataset()?.test);
    let path = session.folder.path(&onnx_name(&score.id));
    let labelled = LabelledImages { pixels: &images.pixels, labels: &images.labels };
    let options = VerifyOptions::default();
    Ok(verify_onnx(library, &path, network, labelled, options, &|| started.elapsed())?)
}

fn note_latency(session: &Session, format: &str, id: &str, seen: &Verification) -> Result<()> {
    let times =
        [("", seen.latency_ms.median), ("low_", seen.latency_ms.low), ("high_", seen.latency_ms.high)];
    times.iter().try_for_each(|(part, time)| session.note_measured(&latency_key(format, id, part), *time))
}

fn record(seen: Verification) -> FormatVerification {
    FormatVerification::Run {
        agreement: seen.agreement,
        accuracy: Accuracy { value: seen.accuracy, images: seen.images },
        reference_accuracy: Some(seen.reference_accuracy),
        max_difference: seen.max_difference,
        runtime: seen.runtime,
        same: seen.same,
        layers: seen.layers,
    }
}
