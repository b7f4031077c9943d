//! Export: every fine-tuned model in every wanted format, with its policy beside it.

use anyhow::Result;
use sartor_export::{Format, Policy, Settings};

use super::Stage;
use super::finetune::Models;
use super::integers;
use crate::records::Score;
use crate::run_folder::artefact::Artefact;
use crate::session::Session;
use crate::talk;

/// Exported models in the run folder.
#[derive(Debug)]
pub struct ExportedModels {
    artefacts: Vec<Artefact>,
    models: Models,
}

impl ExportedModels {
    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// The models they were made from.
    pub fn models(&self) -> &Models {
        &self.models
    }
}

/// Place of an exported file or of its folder.
pub fn place(id: &str, format: Format) -> String {
    format!("models/{id}/{}", format.place())
}

/// Exports, or keeps what is there.
///
/// # Errors
/// A model that has no integer form, or an unwritable folder.
pub fn run(session: &Session, models: Models) -> Result<ExportedModels> {
    let inputs =
        session.inputs().section("export", &session.config.export).artefacts(models.artefacts()).build();
    let artefacts = session.stage(Stage::Export, inputs, |_| {
        let mut outputs = Vec::new();
        for score in models.scores() {
            outputs.extend(export(session, score)?);
        }
        let formats = session.config.export.formats.join(", ");
        talk::stage_line(Stage::Export.title(), &format!("{} models as {formats}", models.scores().len()));
        Ok(outputs)
    })?;
    Ok(ExportedModels { artefacts, models })
}

/// Models that an earlier process exported.
///
/// # Errors
/// When there are none.
pub fn finished(session: &Session, models: Models) -> Result<ExportedModels> {
    Ok(ExportedModels { artefacts: session.finished(Stage::Export)?, models })
}

fn export(session: &Session, score: &Score) -> Result<Vec<String>> {
    let (network, logits) = integers::exported(session, score)?;
    let candidate = score.candidate.to_string();
    let metadata = [("sartor.id", score.id.as_str()), ("sartor.candidate", &candidate)];
    let settings = Settings { logits: &logits, metadata: &metadata };
    let folder = format!("models/{}", score.id);
    let mut names = vec![format!("{folder}/policy.json")];
    session.folder.write_json(&names[0], &Policy::new(&network, score.candidate.clone()))?;
    for format in session.config.formats() {
        for file in format.write(&network, settings) {
            let name = format!("{folder}/{}", file.name);
            session.folder.write(&name, &file.bytes)?;
            names.push(name);
        }
    }
    Ok(names)
}
