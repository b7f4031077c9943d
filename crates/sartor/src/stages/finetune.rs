//! Fine-tune the winner and its uniform references quantization-aware; each sees the test split once, at the end.

use anyhow::Result;
use sartor_export::QuantizedNetwork;
use sartor_space::Candidate;
use sartor_supernet::evaluation::Evaluator;
use sartor_supernet::finetune::{FinetunedModel, Finetuner};
use sartor_supernet::{Part, Supernet};
use serde_json::Value;

use super::Stage;
use super::integers;
use super::search::Choice;
use super::train::TrainedSupernet;
use crate::answers;
use crate::curves::{self, Curve, Pace};
use crate::progress::Progress;
use crate::records::{Best, Costs, Measured, Score};
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::talk;

/// The largest network's own score, for comparison.
pub const LARGEST: &str = "models/largest.json";

/// Fine-tuned models in the run folder.
#[derive(Debug)]
pub struct Models {
    artefacts: Vec<Artefact>,
    scores: Vec<Score>,
}

impl Models {
    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// The models' scores, the searched one first.
    pub fn scores(&self) -> &[Score] {
        &self.scores
    }

    fn of(session: &Session, artefacts: Vec<Artefact>, best: &Best) -> Result<Self> {
        let scores = chosen(best)
            .iter()
            .map(|measured| session.folder.read_json(&score_name(&measured.id)))
            .collect::<Result<_>>()?;
        Ok(Self { artefacts, scores })
    }
}

/// Name of a model's weights.
pub fn weights_name(id: &str) -> String {
    format!("{}/weights.safetensors", place(id))
}

fn place(id: &str) -> String {
    format!("models/{id}")
}

fn score_name(id: &str) -> String {
    format!("{}/score.json", place(id))
}

/// Fine-tunes, or keeps what is there.
///
/// # Errors
/// Divergence, or an unwritable folder.
pub fn run(session: &Session, supernet: &TrainedSupernet, choice: &Choice) -> Result<Models> {
    let inputs =
        session.inputs().section("finetune", &session.config.finetune).artefacts(supernet.artefacts());
    let scratch = session.config.method.from_scratch.then_some(("method.from_scratch", true));
    let inputs = inputs.values(session.other_seed()).values(scratch).artefacts(choice.artefacts()).build();
    let best = choice.best(session)?;
    let artefacts = session.stage(Stage::Finetune, inputs, |checkpoint| {
        let weights = supernet.weights(session)?;
        let mut outputs = vec![score_largest(session, &weights)?];
        let weights = match session.config.method.from_scratch {
            true => Supernet::new(&session.config.space, session.seed(Stage::Finetune)),
            false => weights,
        };
        for measured in chosen(&best) {
            outputs.extend(tune(session, &weights, measured, checkpoint)?);
        }
        Ok(outputs)
    })?;
    Models::of(session, artefacts, &best)
}

/// Models that an earlier process fine-tuned.
///
/// # Errors
/// When there are none.
pub fn finished(session: &Session, choice: &Choice) -> Result<Models> {
    Models::of(session, session.finished(Stage::Finetune)?, &choice.best(session)?)
}

/// The winner and the references, each network once.
fn chosen(best: &Best) -> Vec<&Measured> {
    let mut chosen: Vec<&Measured> = vec![&best.best];
    for reference in &best.references {
        if chosen.iter().all(|other| other.id != reference.id) {
            chosen.push(reference);
        }
    }
    chosen
}

fn tune(
    session: &Session,
    weights: &Supernet,
    measured: &Measured,
    checkpoint: &Checkpoint,
) -> Result<Vec<String>> {
    let id = measured.id.as_str();
    let [table, events] = curves::names(&place(id));
    let outputs = vec![weights_name(id), score_name(id), answers::name(id), table, events];
    let done = format!("{id}.done");
    if checkpoint.read(&done)?.is_some() {
        return Ok(outputs);
    }
    let (model, curve) = train(session, weights, measured, checkpoint)?;
    curve.write(&session.folder, &place(id))?;
    let (model, network) = integers::settle(&session.config.space, &model)?;
    session.folder.write(&outputs[0], &model.to_bytes(&session.config.space))?;
    let (score, classes) = score(session, (&model, &network), measured)?;
    answers::write(&session.folder, id, &classes, &session.dataset()?.test.labels)?;
    session.folder.write_json(&outputs[1], &score)?;
    checkpoint.write(&done, b"")?;
    let integer =
        score.integer.map(|integer| format!("; in integers {}", integer.line())).unwrap_or_default();
    let text = format!("{} {id}: {} of test{integer}", score.role, score.test);
    talk::stage_line(Stage::Finetune.title(), &text);
    Ok(outputs)
}

fn train(
    session: &Session,
    weights: &Supernet,
    measured: &Measured,
    checkpoint: &Checkpoint,
) -> Result<(FinetunedModel, Curve)> {
    let (state, table) = (format!("{}.safetensors", measured.id), format!("{}.csv", measured.id));
    let (mut tuner, mut curve) = resume(session, weights, measured, checkpoint, &state, &table)?;
    let title = format!("fine-tune {}", measured.role);
    let mut progress = Progress::new(&title, tuner.total_steps() as u64, tuner.position() as u64);
    let mut pace = Pace::start();
    while !tuner.is_done() {
        let report = tuner.step()?;
        curve.push(&report);
        progress.at(tuner.position() as u64, &report.line());
        if pace.is_due(&report) {
            checkpoint.write(&table, &curve.to_csv()?)?;
            checkpoint.write(&state, &tuner.to_bytes())?;
            curve.write_events(&session.folder, &place(&measured.id))?;
        }
    }
    Ok((tuner.finish()?, curve))
}

/// A fine-tuning at its last checkpoint, or a fresh one.
fn resume<'a>(
    session: &'a Session,
    weights: &Supernet,
    measured: &Measured,
    checkpoint: &Checkpoint,
    state: &str,
    table: &str,
) -> Result<(Finetuner<'a>, Curve)> {
    let (space, dataset) = (&session.config.space, session.dataset()?);
    let candidate = Candidate::from_json(&measured.candidate.to_string(), space)?;
    let (mut settings, seed) = (session.config.finetune.clone(), session.seed(Stage::Finetune));
    if session.config.method.from_scratch {
        // Fresh weights teach nothing.
        settings.distillation = 0.0;
    }
    if let Some(state) = checkpoint.read(state)? {
        let tuner =
            Finetuner::from_bytes(&state, space, dataset, weights, &candidate, settings.clone(), seed)?;
        if let Some(curve) = Curve::resume(checkpoint, table, tuner.position())? {
            return Ok((tuner, curve));
        }
    }
    let tuner = Finetuner::new(space, dataset, weights, &candidate, settings, seed)?;
    Ok((tuner, Curve::default()))
}

fn score(
    session: &Session,
    (model, network): (&FinetunedModel, &QuantizedNetwork),
    measured: &Measured,
) -> Result<(Score, Vec<usize>)> {
    let accuracy =
        |part| model.accuracy(&session.config.space, session.dataset()?, part).map_err(anyhow::Error::from);
    let (integer, classes) = integers::score(session, model, network)?;
    let score = Score {
        id: measured.id.clone(),
        role: measured.role.clone(),
        candidate: measured.candidate.clone(),
        costs: measured.costs.clone(),
        validation: accuracy(Part::Validation)?.into(),
        test: accuracy(Part::Test)?.into(),
        integer: Some(integer),
    };
    Ok((score, classes))
}

/// The largest network as it was before it had to share its weights, in full precision: what was cut from.
fn score_largest(session: &Session, weights: &Supernet) -> Result<String> {
    let space = &session.config.space;
    let images = session.config.supernet.recalibration_images;
    let mut evaluator = Evaluator::new(space, session.dataset()?, images, session.seed(Stage::Finetune))?;
    let teacher = weights.as_teacher();
    let mut accuracy = |part| evaluator.subnet(&teacher, &space.largest(), part).map_err(anyhow::Error::from);
    let candidate = Candidate { subnet: space.largest(), policy: None };
    let score = Score {
        id: candidate.id(),
        role: "largest network, full precision".to_owned(),
        candidate: serde_json::from_str::<Value>(&candidate.to_json(space))?,
        costs: Costs::new(),
        validation: accuracy(Part::Validation)?.into(),
        test: accuracy(Part::Test)?.into(),
        integer: None,
    };
    session.folder.write_json(LARGEST, &score)?;
    Ok(LARGEST.to_owned())
}
