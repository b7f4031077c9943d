//! # Run folder: what is kept, and when it may be believed
//!
//! One artefact per stage, written atomically and stamped with the hash of its inputs, so that a stage whose inputs
//! have not changed is skipped and a file that has changed under our feet is refused. One process at a time
//! works in a folder. What is private to the program lies in `.sartor/`: lock, stamps, checkpoints.

pub mod artefact;
pub mod checkpoint;
pub mod lock;
pub mod manifest;
pub mod shared;
pub mod stamp;
pub mod timings;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::failure::Failure;
use artefact::Artefact;
use checkpoint::Checkpoint;
use lock::Lock;
use stamp::{Inputs, Stamp};

/// Folder of the program's own files.
const PRIVATE: &str = ".sartor";

/// A locked run folder.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    _lock: Option<Lock>,
}

impl RunFolder {
    /// Creates the folder if need be and locks it.
    ///
    /// # Errors
    /// When it cannot be written to, or another process works in it.
    pub fn open(root: &Path) -> Result<Self> {
        artefact::create_folder(&root.join(PRIVATE))?;
        let lock = Lock::take(&root.join(PRIVATE).join("lock"), root)?;
        Ok(Self { root: root.to_owned(), _lock: Some(lock) })
    }

    /// Opens an existing folder for reading only, without the lock.
    ///
    /// # Errors
    /// When there is no run in it.
    pub fn read_only(root: &Path) -> Result<Self> {
        if !root.join(PRIVATE).is_dir() {
            let failure = Failure::bad_input(format!("`{}` is no run folder", root.display()));
            return Err(failure.hint("`sartor run CONFIG` makes one").into());
        }
        Ok(Self { root: root.to_owned(), _lock: None })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an artefact lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes an artefact: temporary name, sync, rename.
    ///
    /// # Errors
    /// When the disk is full or the folder read-only; the old artefact is then untouched.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        artefact::write(&self.path(name), bytes)
    }

    /// Reads a JSON artefact.
    ///
    /// # Errors
    /// When it is missing or cannot be understood.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.path(name);
        let text = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("cannot understand `{}`", path.display()))
    }

    /// Writes a JSON artefact.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_json(&self, name: &str, value: &impl serde::Serialize) -> Result<()> {
        self.write(name, &serde_json::to_vec_pretty(value).with_context(|| format!("cannot write `{name}`"))?)
    }

    /// Stamp of a stage, if it was finished once.
    pub fn stamp(&self, stage: &str) -> Option<Stamp> {
        let text = std::fs::read(self.stamp_path(stage)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Artefacts of a finished stage, their bytes compared with the stamp's hashes.
    ///
    /// `None`: never finished, or an artefact is gone. With `inputs`, also when they differ from the stamp's.
    ///
    /// # Errors
    /// An artefact that is there but is not what the stage wrote.
    pub fn finished(&self, stage: &str, inputs: Option<&Inputs>) -> Result<Option<Vec<Artefact>>> {
        let Some(stamp) =
            self.stamp(stage).filter(|stamp| inputs.is_none_or(|inputs| stamp.inputs == *inputs))
        else {
            return Ok(None);
        };
        let mut artefacts = Vec::new();
        for (name, expected) in &stamp.outputs {
            let path = self.path(name);
            if !path.is_file() {
                return Ok(None);
            }
            artefacts.push(Artefact::checked(name, &path, expected)?);
        }
        Ok(Some(artefacts))
    }

    /// Notes that a stage wrote these artefacts from these inputs, and drops its checkpoint.
    ///
    /// # Errors
    /// When an artefact cannot be read back or the stamp not be written.
    pub fn finish(&self, stage: &str, inputs: Inputs, outputs: &[String]) -> Result<Vec<Artefact>> {
        let artefacts = outputs
            .iter()
            .map(|name| Artefact::hashed(name, &self.path(name)))
            .collect::<Result<Vec<_>>>()?;
        let outputs =
            artefacts.iter().map(|artefact| (artefact.name.clone(), artefact.hash.clone())).collect();
        let text = serde_json::to_vec_pretty(&Stamp { inputs, outputs }).context("cannot write a stamp")?;
        artefact::write(&self.stamp_path(stage), &text)?;
        self.checkpoint_folder(stage).remove()?;
        Ok(artefacts)
    }

    /// Makes a stage unfinished, before it is redone.
    ///
    /// # Errors
    /// When the stamp cannot be removed.
    pub fn unfinish(&self, stage: &str) -> Result<()> {
        artefact::remove(&self.stamp_path(stage))
    }

    /// Checkpoints of a stage, emptied unless they were made from the same inputs.
    ///
    /// # Errors
    /// When the folder cannot be made or emptied.
    pub fn checkpoint(&self, stage: &str, inputs: &Inputs, fresh: bool) -> Result<Checkpoint> {
        let checkpoint = self.checkpoint_folder(stage);
        if fresh || !checkpoint.belongs_to(inputs) {
            checkpoint.remove()?;
        }
        checkpoint.begin(inputs)?;
        Ok(checkpoint)
    }

    /// Whether an interrupted process left a checkpoint made from these inputs.
    pub fn has_checkpoint(&self, stage: &str, inputs: &Inputs) -> bool {
        let checkpoint = self.checkpoint_folder(stage);
        checkpoint.belongs_to(inputs) && !checkpoint.is_empty()
    }

    /// Stages that are stamped, with their artefacts' hashes.
    pub fn stamps(&self) -> Vec<(String, Stamp)> {
        let mut stamps: Vec<_> = std::fs::read_dir(self.root.join(PRIVATE).join("stamps"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
            .filter_map(|stage| Some((stage.clone(), self.stamp(&stage)?)))
            .collect();
        stamps.sort_by(|a, b| a.0.cmp(&b.0));
        stamps
    }

    fn stamp_path(&self, stage: &str) -> PathBuf {
        self.root.join(PRIVATE).join("stamps").join(format!("{stage}.json"))
    }

    fn checkpoint_folder(&self, stage: &str) -> Checkpoint {
        Checkpoint::at(self.root.join(PRIVATE).join("checkpoints").join(stage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(value: &str) -> Inputs {
        Inputs::from([("config".to_owned(), value.to_owned())])
    }

    #[test]
    fn a_finished_stage_is_known_by_its_inputs_and_bytes() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = RunFolder::open(place.path()).expect("opens");
        folder.write("search/best.json", b"{}").expect("writes");
        folder.finish("search", inputs("a"), &["search/best.json".to_owned()]).expect("finishes");
        assert!(folder.finished("search", Some(&inputs("a"))).expect("reads").is_some());
        assert!(folder.finished("search", Some(&inputs("b"))).expect("reads").is_none(), "other inputs");
        std::fs::write(folder.path("search/best.json"), b"{ }").expect("tampers");
        let error = folder.finished("search", Some(&inputs("a"))).expect_err("corrupt");
        assert!(error.to_string().contains("search/best.json"), "{error}");
        std::fs::remove_file(folder.path("search/best.json")).expect("removes");
        assert!(folder.finished("search", Some(&inputs("a"))).expect("reads").is_none(), "gone");
    }

    #[test]
    fn a_folder_is_used_by_one_at_a_time() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let first = RunFolder::open(place.path()).expect("opens");
        let error = RunFolder::open(place.path()).expect_err("in use");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        RunFolder::open(place.path()).expect("free again");
    }

    #[test]
    fn checkpoints_of_other_inputs_are_dropped() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = RunFolder::open(place.path()).expect("opens");
        let checkpoint = folder.checkpoint("train", &inputs("a"), false).expect("begins");
        checkpoint.write("state", b"half way").expect("writes");
        let again = folder.checkpoint("train", &inputs("a"), false).expect("begins");
        assert_eq!(again.read("state").expect("reads").as_deref(), Some(b"half way".as_slice()));
        let other = folder.checkpoint("train", &inputs("b"), false).expect("begins");
        assert_eq!(other.read("state").expect("reads"), None);
    }
}
