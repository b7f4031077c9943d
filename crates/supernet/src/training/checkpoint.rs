//! # Checkpoints
//!
//! Parameters, velocity, the frozen teacher and the position; a checkpoint of another space, data set, seed or
//! schedule is refused, because going on from it would give neither run.

use super::{Position, Trainer};
use crate::archive::Archive;
use crate::data::Dataset;
use crate::error::Result;
use crate::schedule::TrainingSettings;
use crate::supernet::{check_identity, identity};
use sartor_space::SearchSpace;

const WHAT: &str = "training checkpoint";
const PARAMETERS: &str = "parameters/";
const VELOCITY: &str = "velocity/";
const TEACHER: &str = "teacher/";

impl<'a> Trainer<'a> {
    /// Everything needed to go on later.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = identity(self.space);
        metadata.extend(self.run());
        metadata.insert("phase".into(), self.position.phase.to_string());
        metadata.insert("step".into(), self.position.step.to_string());
        metadata.insert("teacher".into(), u8::from(self.teacher.is_some()).to_string());
        let mut arrays = self.layout.arrays(&self.parameters, PARAMETERS);
        arrays.extend(self.layout.arrays(&self.velocity, VELOCITY));
        if let Some(teacher) = &self.teacher {
            arrays.extend(self.layout.arrays(teacher.parameters(), TEACHER));
        }
        Archive { metadata, arrays }.to_bytes()
    }

    /// A trainer that goes on where [`to_bytes`](Self::to_bytes) was called.
    ///
    /// # Errors
    /// A damaged checkpoint, or one of another space, data set, seed or schedule; each names the key.
    pub fn from_bytes(
        bytes: &[u8],
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        settings: TrainingSettings,
        seed: u64,
    ) -> Result<Self> {
        let archive = Archive::from_bytes(bytes, WHAT)?;
        let mut trainer = Self::new(space, dataset, settings, seed)?;
        check_identity(&archive, space)?;
        trainer.run().iter().try_for_each(|(key, text)| archive.expect(key, text))?;
        trainer.parameters = trainer.layout.read(&archive, PARAMETERS)?;
        trainer.velocity = trainer.layout.read(&archive, VELOCITY)?;
        let (phase, step) = (archive.number("phase")? as usize, archive.number("step")? as usize);
        trainer.position = Position { phase, step };
        if archive.number("teacher")? == 1 {
            let teacher = trainer.layout.read(&archive, TEACHER)?;
            trainer.freeze_teacher(teacher)?;
        }
        Ok(trainer)
    }

    /// What must be equal for a resumed run to be the same run.
    fn run(&self) -> Vec<(String, String)> {
        vec![
            ("dataset_hash".into(), self.workbench.dataset.hash.clone()),
            ("seed".into(), self.seed.to_string()),
            ("settings".into(), serde_json::json!(self.settings).to_string()),
        ]
    }
}
