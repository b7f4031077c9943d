//! Export: every fine-tuned model in every wanted format, with its policy beside it.

use anyhow::Result;
use sartor_export::{Policy, onnx};

use super::Stage;
use super::finetune::Models;
use super::integers::network;
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

/// Name of a model's ONNX file.
pub fn onnx_name(id: &str) -> String {
    format!("models/{id}/model.onnx")
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
        talk::stage_line(Stage::Export.title(), &format!("{} models as ONNX", models.scores().len()));
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
    let names = vec![onnx_name(&score.id), format!("models/{}/policy.json", score.id)];
    let network = network(session, score)?;
    let candidate = score.candidate.to_string();
    let metadata = [("sartor.id", score.id.as_str()), ("sartor.candidate", &candidate)];
    session.folder.write(&names[0], &onnx::to_bytes(&network, onnx::Batch::Symbolic, &metadata))?;
    session.folder.write_json(&names[1], &Policy::new(&network, score.candidate.clone()))?;
    Ok(names)
}
