//! Seconds per stage: kept apart from the artefacts, whose bytes must not depend on them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::RunFolder;

/// File of the timings.
const FILE: &str = "timings.json";

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// Seconds of the process that finished it.
    pub seconds: f64,
    /// Whether an earlier process had done part of the work, which is then not counted.
    pub resumed: bool,
    /// Threads it was allowed.
    pub threads: usize,
}

/// How long every stage took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Timings {
    /// Stage → time.
    pub stages: BTreeMap<String, StageTime>,
    /// Other measured times, for example an exported model's latency, in the unit of the name.
    pub measured: BTreeMap<String, f64>,
}

impl Timings {
    /// What is known so far.
    pub fn load(folder: &RunFolder) -> Self {
        let text = std::fs::read(folder.path(FILE)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Keeps them.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, folder: &RunFolder) -> Result<()> {
        folder.write(FILE, &serde_json::to_vec_pretty(self).context("cannot write timings")?)
    }

    /// All stages together.
    pub fn total(&self) -> f64 {
        self.stages.values().map(|stage| stage.seconds).sum()
    }
}
