//! What an unfinished stage has so far, so that a killed run goes on where it was.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::artefact;
use super::stamp::Inputs;

/// File that says from which inputs the checkpoint was made.
const OWNER: &str = "inputs.json";

/// A stage's checkpoint folder.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    folder: PathBuf,
}

impl Checkpoint {
    /// The checkpoint in `folder`, which need not exist.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Whether it was made from these inputs.
    pub fn belongs_to(&self, inputs: &Inputs) -> bool {
        let owner = std::fs::read(self.folder.join(OWNER)).ok();
        owner
            .and_then(|text| serde_json::from_slice::<Inputs>(&text).ok())
            .is_some_and(|owner| owner == *inputs)
    }

    /// Whether nothing was kept in it yet.
    pub fn is_empty(&self) -> bool {
        std::fs::read_dir(&self.folder).map_or(true, |entries| entries.count() <= 1)
    }

    /// Marks it as made from these inputs.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, inputs: &Inputs) -> Result<()> {
        let text = serde_json::to_vec_pretty(inputs).context("cannot write a checkpoint's inputs")?;
        artefact::write(&self.folder.join(OWNER), &text)
    }

    /// Writes one of its files atomically.
    ///
    /// # Errors
    /// When it cannot be written; what was there is then untouched.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        artefact::write(&self.folder.join(name), bytes)
    }

    /// Reads one of its files, if it is there.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.folder.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Removes it.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(artefact::cannot_write(&self.folder, &error).into())
            }
            _ => Ok(()),
        }
    }
}
