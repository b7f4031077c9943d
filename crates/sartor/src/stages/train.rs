//! Train the supernet: progressive shrinking, a checkpoint after every epoch and now and then within long ones.

use anyhow::{Context, Result};
use sartor_supernet::evaluation::Evaluator;
use sartor_supernet::training::Trainer;
use sartor_supernet::{Part, Supernet};

use super::Stage;
use crate::curves::{self, Curve, Pace};
use crate::progress::Progress;
use crate::records::{Splits, SupernetMetrics};
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::statistics::Accuracy;
use crate::talk;

const PLACE: &str = "supernet";
const WEIGHTS: &str = "supernet/weights.safetensors";
/// Artefact of the metrics.
pub const METRICS: &str = "supernet/metrics.json";
const STATE: &str = "trainer.safetensors";
const CURVE: &str = "curve.csv";
const TEACHER: &str = "teacher.json";

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

/// A training under way.
struct Training<'a> {
    trainer: Trainer<'a>,
    curve: Curve,
    /// The largest network's score when its phase ended.
    teacher: Option<Accuracy>,
}

fn train(session: &Session, checkpoint: &Checkpoint) -> Result<Vec<String>> {
    let mut training = resume(session, checkpoint)?;
    let (total, done) = (training.trainer.total_work(), training.trainer.work_done());
    let mut progress = Progress::new(Stage::Train.title(), total as u64, done as u64);
    let mut pace = Pace::start();
    while !training.trainer.is_done() {
        let report = training.trainer.step()?;
        training.curve.push(&report);
        progress.at(training.trainer.work_done() as u64, &report.line());
        if report.ends_phase && training.teacher.is_none() {
            training.teacher = Some(largest(session, &training.trainer.supernet())?);
        }
        if pace.is_due(&report) || report.ends_phase {
            training.save(session, checkpoint)?;
        }
    }
    drop(progress);
    finish(session, training)
}

impl Training<'_> {
    /// The state comes last: whatever lies beside it then reaches at least as far.
    fn save(&self, session: &Session, checkpoint: &Checkpoint) -> Result<()> {
        checkpoint.write(CURVE, &self.curve.to_csv()?)?;
        checkpoint.write(TEACHER, &serde_json::to_vec(&self.teacher)?)?;
        checkpoint.write(STATE, &self.trainer.to_bytes())?;
        self.curve.write_events(&session.folder, PLACE)?;
        Ok(())
    }
}

/// A training at its last checkpoint, or a fresh one.
fn resume<'a>(session: &'a Session, checkpoint: &Checkpoint) -> Result<Training<'a>> {
    let (space, dataset) = (&session.config.space, session.dataset()?);
    let (settings, seed) = (session.config.supernet.clone(), session.seed(Stage::Train));
    if let (Some(state), Some(teacher)) = (checkpoint.read(STATE)?, checkpoint.read(TEACHER)?) {
        let trainer = Trainer::from_bytes(&state, space, dataset, settings.clone(), seed)?;
        if let Some(curve) = Curve::resume(checkpoint, CURVE, trainer.steps_done())? {
            let teacher = serde_json::from_slice(&teacher).context("cannot understand the checkpoint")?;
            let done = format!("resumed after {} of {} steps", trainer.steps_done(), trainer.total_steps());
            talk::stage_line(Stage::Train.title(), &done);
            return Ok(Training { trainer, curve, teacher });
        }
    }
    let trainer = Trainer::new(space, dataset, settings, seed)?;
    Ok(Training { trainer, curve: Curve::default(), teacher: None })
}

fn evaluator(session: &Session) -> Result<Evaluator<'_>> {
    let images = session.config.supernet.recalibration_images;
    Ok(Evaluator::new(&session.config.space, session.dataset()?, images, session.seed(Stage::Train))?)
}

fn largest(session: &Session, supernet: &Supernet) -> Result<Accuracy> {
    Ok(evaluator(session)?.subnet(supernet, &session.config.space.largest(), Part::Validation)?.into())
}

fn finish(session: &Session, training: Training<'_>) -> Result<Vec<String>> {
    let (space, supernet) = (&session.config.space, &training.trainer.supernet());
    let mut evaluator = evaluator(session)?;
    let mut score =
        |subnet| -> Result<Accuracy> { Ok(evaluator.subnet(supernet, subnet, Part::Validation)?.into()) };
    let inherited = [
        ("largest subnet, inherited weights".to_owned(), score(&space.largest())?),
        ("smallest subnet, inherited weights".to_owned(), score(&space.smallest())?),
    ];
    let teacher = training.teacher.context("training ended without a teacher")?;
    let metrics = SupernetMetrics {
        images: splits(session)?,
        teacher,
        inherited: inherited.into(),
        epochs: training.curve.epochs(),
    };
    session.folder.write(WEIGHTS, &supernet.to_bytes(space))?;
    session.folder.write_json(METRICS, &metrics)?;
    talk::stage_line(Stage::Train.title(), &format!("largest network {teacher} of validation"));
    training.curve.write(&session.folder, PLACE)?;
    let [table, events] = curves::names(PLACE);
    Ok(vec![WEIGHTS.to_owned(), METRICS.to_owned(), table, events])
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
