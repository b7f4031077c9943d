//! # Training curves
//!
//! Loss, accuracy and learning rate of every optimiser step, as CSV (`curves.csv`) and as a TensorBoard event file
//! beside it (`tensorboard --logdir RUN`). Both are the same bytes whenever the training is: an event's wall time is
//! its step's number.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sartor_supernet::progress::StepReport;
use serde::{Deserialize, Serialize};

use crate::records::Epoch;
use crate::run_folder::RunFolder;
use crate::run_folder::checkpoint::Checkpoint;

mod event_file;

/// Time between two checkpoints within an epoch.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(20);

/// One optimiser step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Step within the whole training, from 0.
    pub step: usize,
    /// Name of the phase.
    pub phase: String,
    /// Mean over the batch and the step's subnets.
    pub loss: f64,
    /// On the augmented batch, 0 to 1.
    pub accuracy: f64,
    /// Of the step.
    pub learning_rate: f64,
    /// Whether an epoch ends here.
    pub ends_epoch: bool,
}

/// The steps of one training so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curve {
    points: Vec<Point>,
}

impl Curve {
    /// Adds a step.
    pub fn push(&mut self, report: &StepReport) {
        self.points.push(Point {
            step: report.overall,
            phase: report.phase.clone(),
            loss: report.loss,
            accuracy: report.accuracy,
            learning_rate: report.learning_rate,
            ends_epoch: report.ends_epoch,
        });
    }

    /// The curve kept by a checkpoint, up to the step the trainer stands at; `None` when steps are missing.
    ///
    /// # Errors
    /// A file that is no curve.
    pub fn resume(checkpoint: &Checkpoint, name: &str, steps: usize) -> Result<Option<Self>> {
        let Some(bytes) = checkpoint.read(name)? else { return Ok(None) };
        let mut curve = Self::from_csv(&bytes).context("cannot understand the checkpoint's curve")?;
        curve.points.truncate(steps);
        Ok((curve.points.len() == steps).then_some(curve))
    }

    fn from_csv(bytes: &[u8]) -> Result<Self> {
        let points = csv::Reader::from_reader(bytes).into_deserialize().collect::<Result<_, _>>()?;
        Ok(Self { points })
    }

    /// One row a step, with a header.
    ///
    /// # Errors
    /// None that are expected: the memory is there.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut writer = csv::Writer::from_writer(vec![]);
        self.points.iter().try_for_each(|point| writer.serialize(point))?;
        Ok(writer.into_inner()?)
    }

    /// Mean loss of every finished epoch.
    pub fn epochs(&self) -> Vec<Epoch> {
        let mut epochs: Vec<Epoch> = vec![];
        for points in self.points.split_inclusive(|point| point.ends_epoch) {
            let Some(last) = points.last().filter(|last| last.ends_epoch) else { continue };
            let before = epochs.iter().filter(|epoch| epoch.phase == last.phase).count();
            let loss = points.iter().map(|point| point.loss).sum::<f64>() / points.len() as f64;
            epochs.push(Epoch { phase: last.phase.clone(), epoch: before + 1, loss });
        }
        epochs
    }

    /// Writes both files into a folder of the run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(&self, folder: &RunFolder, place: &str) -> Result<()> {
        let [table, _] = names(place);
        folder.write(&table, &self.to_csv()?)?;
        self.write_events(folder, place)
    }

    /// Brings the event file up to date, for who watches the training.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_events(&self, folder: &RunFolder, place: &str) -> Result<()> {
        let [_, events] = names(place);
        event_file::grow(&folder.path(&events), &event_file::bytes(&self.points))
    }
}

/// Names of the table and the event file in a folder of the run.
pub fn names(place: &str) -> [String; 2] {
    [format!("{place}/curves.csv"), format!("{place}/{}", event_file::NAME)]
}

/// Says when it is time for the next checkpoint: at the end of an epoch, and now and then within a long one.
#[derive(Debug)]
pub struct Pace(Instant);

impl Pace {
    /// Counts from now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Whether to write one after this step.
    pub fn is_due(&mut self, report: &StepReport) -> bool {
        let due = report.ends_epoch || self.0.elapsed() >= CHECKPOINT_INTERVAL;
        if due {
            self.0 = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve() -> Curve {
        let point = |step, phase: &str, loss| Point {
            step,
            phase: phase.to_owned(),
            loss,
            accuracy: 1.0 / 3.0,
            learning_rate: 0.1,
            ends_epoch: step % 2 == 1,
        };
        let losses = [2.5, 1.5, 1.0, 0.5, 0.25];
        let points = losses.iter().enumerate().map(|(step, &loss)| point(step, ["a", "b"][step / 4], loss));
        Curve { points: points.collect() }
    }

    #[test]
    fn csv_gives_back_every_bit() {
        let bytes = curve().to_csv().unwrap();
        assert!(
            bytes.starts_with(
                b"step,phase,loss,accuracy,learning_rate,ends_epoch\n0,a,2.5,0.3333333333333333,"
            )
        );
        assert_eq!(Curve::from_csv(&bytes).unwrap(), curve());
        assert!(Curve::from_csv(b"step,phase\n1,a,3\n").is_err());
    }

    #[test]
    fn only_whole_epochs_are_summed_up() {
        let epochs: Vec<_> = curve().epochs().into_iter().map(|e| (e.phase, e.epoch, e.loss)).collect();
        assert_eq!(epochs, [("a".to_owned(), 1, 2.0), ("a".to_owned(), 2, 0.75)]);
    }

    #[test]
    fn a_checkpoint_without_all_steps_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::at(folder.path().to_path_buf());
        assert_eq!(Curve::resume(&checkpoint, "c", 0).unwrap(), None);
        checkpoint.write("c", &curve().to_csv().unwrap()).unwrap();
        assert_eq!(Curve::resume(&checkpoint, "c", 3).unwrap().unwrap().points, curve().points[..3]);
        assert_eq!(Curve::resume(&checkpoint, "c", 6).unwrap(), None);
    }
}
