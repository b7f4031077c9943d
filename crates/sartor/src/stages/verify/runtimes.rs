//! The real runtimes, looked for when verification starts: ONNX Runtime, LiteRT, a C compiler.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use sartor_export::c::{Compiler, verify_c};
use sartor_export::graph::Quantizer;
use sartor_export::runtime::{self, Library};
use sartor_export::tflite::{Interpreter, verify_tflite};
use sartor_export::{
    ExportError, Format, LabelledImages, QuantizedNetwork, Verification, VerifyOptions, verify_onnx,
};

use crate::records::{FormatVerification, Score};
use crate::session::Session;
use crate::stages::{export, integers};
use crate::statistics::Accuracy;

/// What was found, or why it was not.
#[derive(Debug)]
pub struct Runtimes {
    onnx: Found<Library>,
    interpreter: Found<Interpreter>,
    compiler: Found<Compiler>,
}

type Found<T> = Result<T, String>;

/// Name of a measured latency; `part` is empty for the median, else `low_` or `high_`.
pub fn latency_key(format: &str, id: &str, part: &str) -> String {
    format!("{format}_{id}_latency_{part}ms")
}

impl Runtimes {
    /// Looks for those that the wanted formats need.
    ///
    /// # Errors
    /// A missing one if `verify.required` is set.
    pub fn find(session: &Session) -> Result<Self> {
        let formats: Vec<Format> = session.config.formats().collect();
        Self::look_for(&formats, session.config.verify.required)
    }

    /// Looks for those that these formats need.
    ///
    /// # Errors
    /// A missing one if it is `required`.
    pub fn look_for(formats: &[Format], required: bool) -> Result<Self> {
        let wanted = |needing: &[Format]| needing.iter().any(|format| formats.contains(format));
        Ok(Self {
            onnx: look(wanted(&[Format::Onnx, Format::OnnxCompact]), runtime::find, required)?,
            interpreter: look(wanted(&[Format::Tflite, Format::TfliteCompact]), Interpreter::find, required)?,
            compiler: look(wanted(&[Format::C]), Compiler::find, required)?,
        })
    }

    /// Versions, for the stage's inputs.
    pub fn describe(&self) -> String {
        let onnx =
            self.onnx.as_ref().map(|library| library.version().unwrap_or_else(|| "unknown".to_owned()));
        let interpreter = self.interpreter.as_ref().map(|interpreter| interpreter.version.clone());
        let compiler = self.compiler.as_ref().map(|compiler| compiler.version.clone());
        [onnx, interpreter, compiler]
            .map(|version| version.unwrap_or_else(|_| "absent".to_owned()))
            .join("; ")
    }

    /// One file in its runtime, over the whole test split.
    ///
    /// # Errors
    /// A runtime that fails.
    pub fn verify(&self, session: &Session, score: &Score, format: Format) -> Result<FormatVerification> {
        let images = &session.dataset()?.test;
        let labels = integers::exported_labels(session, images);
        let images = LabelledImages { pixels: &images.pixels, labels: &labels };
        let (network, logits) = integers::exported(session, score)?;
        let path = session.folder.path(&export::place(&score.id, format));
        let seen = self.seen(format, &path, (&network, &logits), images)?;
        if let Ok(seen) = &seen {
            note_latency(session, format.name(), &score.id, seen)?;
        }
        Ok(seen.map_or_else(|reason| FormatVerification::Skipped { reason }, record))
    }

    /// One file of a network with these int8 logits in its runtime.
    ///
    /// # Errors
    /// A runtime that fails.
    pub fn run(
        &self,
        format: Format,
        path: &Path,
        exported: (&QuantizedNetwork, &Quantizer),
        images: LabelledImages<'_>,
    ) -> Result<FormatVerification> {
        let seen = self.seen(format, path, exported, images)?;
        Ok(seen.map_or_else(|reason| FormatVerification::Skipped { reason }, record))
    }

    fn seen(
        &self,
        format: Format,
        path: &Path,
        (network, logits): (&QuantizedNetwork, &Quantizer),
        images: LabelledImages<'_>,
    ) -> Result<Found<Verification>> {
        let network = &format.network(network);
        let seen = match format {
            Format::Onnx | Format::OnnxCompact => {
                self.onnx.as_ref().map(|library| run_onnx(library, path, network, images))
            }
            Format::Tflite | Format::TfliteCompact => self.interpreter.as_ref().map(|interpreter| {
                let options = VerifyOptions::default();
                Ok(verify_tflite(interpreter, path, network, logits, images, options)?)
            }),
            Format::C => {
                self.compiler.as_ref().map(|compiler| Ok(verify_c(compiler, path, network, logits, images)?))
            }
        };
        match seen {
            Err(reason) => Ok(Err(reason.clone())),
            Ok(seen) => seen.map(Ok),
        }
    }
}

/// A runtime, or why there is none.
fn look<T>(wanted: bool, find: impl Fn() -> sartor_export::Result<T>, required: bool) -> Result<Found<T>> {
    if !wanted {
        return Ok(Err("not wanted".to_owned()));
    }
    match find() {
        Ok(runtime) => Ok(Ok(runtime)),
        Err(error @ (ExportError::RuntimeMissing { .. } | ExportError::ToolMissing { .. })) if !required => {
            Ok(Err(format!("{error}; {}", error.hint().unwrap_or_default())))
        }
        Err(error) => Err(error.into()),
    }
}

fn run_onnx(
    library: &Library,
    path: &Path,
    network: &QuantizedNetwork,
    images: LabelledImages<'_>,
) -> Result<Verification> {
    let started = Instant::now();
    Ok(verify_onnx(library, path, network, images, VerifyOptions::default(), &|| started.elapsed())?)
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
