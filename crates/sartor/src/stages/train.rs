//! Train the supernet: progressive shrinking, a checkpoint after every epoch.

use anyhow::{Context, Result};
use sartor_supernet::evaluation::Evaluator;
use sartor_supernet::progress::StepReport;
use sartor_supernet::training::Trainer;
use sartor_supernet::{Part, Supernet};

use super::Stage;
use crate::progress::Progress;
use crate::records::{Epoch, Splits, SupernetMetrics};
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::statistics::Accuracy;
use crate::talk;

const WEIGHTS: &str = "supernet/weights.safetensors";
/// Artefact of the metrics.
pub const METRICS: &str = "supernet/metrics.json";
const STATE: &str = "trainer.safetensors";
const NOTES: &str = "notes.json";

/// A trained supernet in the run folder.
#[derive(Debug)]
pub struct TrainedSupernet {
    artefacts: Vec<Artefact>,
}

impl TrainedSupernet {
    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// Its weights.
    ///
    /// # Errors
    /// A file that is not the supernet of this space.
    pub fn weights(&self, session: &Session) -> Result<Supernet> {
        let path = session.folder.path(WEIGHTS);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let weights = Supernet::from_bytes(&bytes, &session.config.space);
        weights.with_context(|| format!("cannot use `{}`", path.display()))
    }
}

/// Trains, or keeps what is there.
///
/// # Errors
/// Bad images, divergence, an unwritable folder.
pub fn run(session: &Session) -> Result<TrainedSupernet> {
    let inputs =
        session.inputs().section("data", &session.config.data).section("supernet", &session.config.supernet);
    let inputs = inputs.value("images", &session.dataset()?.hash).build();
    let artefacts = session.stage(Stage::Train, inputs, |checkpoint| train(session, checkpoint))?;
    Ok(TrainedSupernet { artefacts })
}

/// The supernet that an earlier process trained.
///
/// # Errors
/// When there is none.
pub fn finished(session: &Session) -> Result<TrainedSupernet> {
    Ok(TrainedSupernet { artefacts: session.finished(Stage::Train)? })
}

/// What is noted beside the trainer's state.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Notes {
    epochs: Vec<Epoch>,
    teacher: Option<Accuracy>,
}

fn train(session: &Session, checkpoint: &Checkpoint) -> Result<Vec<String>> {
    let (mut trainer, mut notes) = resume(session, checkpoint)?;
    let mut progress = Progress::new(Stage::Train.title(), trainer.total_steps() as u64, 0);
    while !trainer.is_done() {
        let (report, loss) = epoch(&mut trainer, &mut progress)?;
        let number = (report.step + 1) / trainer.steps_per_epoch();
        notes.epochs.push(Epoch { phase: report.phase.clone(), epoch: number, loss });
        if report.ends_phase && notes.teacher.is_none() {
            notes.teacher = Some(largest(session, &trainer.supernet())?);
        }
        checkpoint.write(NOTES, &serde_json::to_vec(&notes)?)?;
        checkpoint.write(STATE, &trainer.to_bytes())?;
    }
    drop(progress);
    finish(session, &trainer.supernet(), notes)
}

/// A trainer at its last checkpoint, or a fresh one.
fn resume<'a>(session: &'a Session, checkpoint: &Checkpoint) -> Result<(Trainer<'a>, Notes)> {
    let (space, dataset) = (&session.config.space, session.dataset()?);
    let (settings, seed) = (session.config.supernet.clone(), session.seed(Stage::Train));
    let (Some(state), Some(notes)) = (checkpoint.read(STATE)?, checkpoint.read(NOTES)?) else {
        return Ok((Trainer::new(space, dataset, settings, seed)?, Notes::default()));
    };
    let trainer = Trainer::from_bytes(&state, space, dataset, settings, seed)?;
    let mut notes: Notes =
        serde_json::from_slice(&notes).context("cannot understand the training checkpoint")?;
    notes.epochs.truncate(epochs_done(session, &trainer));
    talk::stage_line(Stage::Train.title(), &format!("resumed after {} epochs", notes.epochs.len()));
    Ok((trainer, notes))
}

/// Epochs behind a trainer's position.
fn epochs_done(session: &Session, trainer: &Trainer<'_>) -> usize {
    let position = trainer.position();
    let phases = &session.config.supernet.phases;
    let whole: usize = phases.iter().take(position.phase).map(|phase| phase.epochs).sum();
    whole + position.step / trainer.steps_per_epoch()
}

/// One epoch; gives its last step and its mean loss.
fn epoch(trainer: &mut Trainer<'_>, progress: &mut Progress) -> Result<(StepReport, f64)> {
    let (mut sum, mut steps, mut last) = (0.0, 0u32, None);
    trainer.epoch(&mut |report: &StepReport| {
        sum += report.loss;
        steps += 1;
        let text = format!(
            "{}  loss {:.3}  {:.0} % of the batch",
            report.phase,
            report.loss,
            100.0 * report.accuracy
        );
        progress.at(report.overall as u64 + 1, &text);
        last = Some(report.clone());
    })?;
    Ok((last.context("an epoch without steps")?, sum / f64::from(steps.max(1))))
}

fn evaluator(session: &Session) -> Result<Evaluator<'_>> {
    let images = session.config.supernet.recalibration_images;
    Ok(Evaluator::new(&session.config.space, session.dataset()?, images, session.seed(Stage::Train))?)
}

fn largest(session: &Session, supernet: &Supernet) -> Result<Accuracy> {
    Ok(evaluator(session)?.subnet(supernet, &session.config.space.largest(), Part::Validation)?.into())
}

fn finish(session: &Session, supernet: &Supernet, notes: Notes) -> Result<Vec<String>> {
    let space = &session.config.space;
    let mut evaluator = evaluator(session)?;
    let mut score =
        |subnet| -> Result<Accuracy> { Ok(evaluator.subnet(supernet, subnet, Part::Validation)?.into()) };
    let inherited = [
        ("largest subnet, inherited weights".to_owned(), score(&space.largest())?),
        ("smallest subnet, inherited weights".to_owned(), score(&space.smallest())?),
    ];
    let teacher = notes.teacher.context("training ended without a teacher")?;
    let metrics = SupernetMetrics {
        images: splits(session)?,
        teacher,
        inherited: inherited.into(),
        epochs: notes.epochs,
    };
    session.folder.write(WEIGHTS, &supernet.to_bytes(space))?;
    session.folder.write_json(METRICS, &metrics)?;
    talk::stage_line(Stage::Train.title(), &format!("largest network {teacher} of validation"));
    Ok(vec![WEIGHTS.to_owned(), METRICS.to_owned()])
}

fn splits(session: &Session) -> Result<Splits> {
    let dataset = session.dataset()?;
    Ok(Splits {
        train: dataset.train.len(),
        validation: dataset.validation.len(),
        test: dataset.test.len(),
        split_seed: session.config.data.split_seed,
    })
}
