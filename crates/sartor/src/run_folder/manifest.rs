//! `manifest.json`: which program made which bytes. No times, so that equal runs have equal manifests.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

use super::RunFolder;

/// File of the manifest.
const FILE: &str = "manifest.json";

/// Stages whose artefacts show times.
const TIMED: [&str; 1] = ["report"];

#[derive(Debug, Serialize)]
struct Manifest<'a> {
    sartor: &'a str,
    seed: u64,
    simd: String,
    space: &'a str,
    space_hash: String,
    artefacts: BTreeMap<String, String>,
}

/// Writes the manifest of everything the stages have stamped.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &RunFolder, seed: u64, simd: String, space: &sartor_space::SearchSpace) -> Result<()> {
    let kept = folder.stamps().into_iter().filter(|(stage, _)| !TIMED.contains(&stage.as_str()));
    let artefacts = kept.flat_map(|(_, stamp)| stamp.outputs).collect();
    let manifest = Manifest {
        sartor: env!("CARGO_PKG_VERSION"),
        seed,
        simd,
        space: space.name(),
        space_hash: space.hash(),
        artefacts,
    };
    folder.write(FILE, &serde_json::to_vec_pretty(&manifest).context("cannot write the manifest")?)
}
