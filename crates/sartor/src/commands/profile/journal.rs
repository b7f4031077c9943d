//! # Journal: what is measured so far
//!
//! One JSON object a line beside the table, written as it comes, so that a measurement of hours survives a killed
//! process or a failing board. The first line says what is measured; a journal of something else is not touched.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sartor_hardware::LayerKey;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What is appended to the table's name.
const ENDING: &str = ".progress";

/// What was measured of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds.
    pub latency_ms: f64,
    /// Millijoules.
    pub energy_mj: Option<f64>,
    /// Interquartile range of the runs over their median, where there were several.
    pub spread: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    layer: String,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Serialize, Deserialize)]
struct Title {
    measuring: String,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    entries: HashMap<String, Entry>,
}

impl Journal {
    /// Opens the journal of a table, and keeps what is in it if it is about the same thing.
    ///
    /// # Errors
    /// A journal about something else, unless `force` discards it; a file that cannot be read or written.
    pub fn open(table: &Path, measuring: &str, force: bool) -> Result<Self> {
        let mut path = table.as_os_str().to_owned();
        path.push(ENDING);
        let path = PathBuf::from(path);
        let text = if force { String::new() } else { std::fs::read_to_string(&path).unwrap_or_default() };
        let entries = read(&text, measuring, &path)?;
        let context = || format!("cannot write `{}`", path.display());
        let mut file = if entries.is_empty() {
            File::create(&path).with_context(context)?
        } else {
            OpenOptions::new().append(true).open(&path).with_context(context)?
        };
        match entries.is_empty() {
            true => append(&mut file, &Title { measuring: measuring.to_owned() })?,
            false if !text.ends_with('\n') => file.write_all(b"\n").with_context(context)?,
            false => {}
        }
        Ok(Self { path, file, entries })
    }

    /// What was measured of a layer.
    pub fn get(&self, key: &LayerKey) -> Option<Entry> {
        self.entries.get(&key.to_string()).copied()
    }

    /// Keeps a measurement.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&mut self, key: &LayerKey, entry: Entry) -> Result<()> {
        append(&mut self.file, &Line { layer: key.to_string(), entry })?;
        self.entries.insert(key.to_string(), entry);
        Ok(())
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it: the table holds everything.
    pub fn finish(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn append(file: &mut File, line: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(line)? + "\n";
    file.write_all(text.as_bytes()).context("cannot write the journal")
}

/// The entries; a line cut short by a kill is no entry.
fn read(text: &str, measuring: &str, path: &Path) -> Result<HashMap<String, Entry>> {
    let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
    let lines = rest.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let entries: HashMap<String, Entry> = lines.map(|line| (line.layer, line.entry)).collect();
    match serde_json::from_str::<Title>(title) {
        Ok(title) if title.measuring == measuring || entries.is_empty() => Ok(entries),
        Ok(title) => {
            let message = format!("`{}` holds measurements of: {}", path.display(), title.measuring);
            let hint = format!(
                "go on with those, choose another `--out`, or discard them with `--force`; now: {measuring}"
            );
            Err(Failure::bad_input(message).hint(hint).into())
        }
        Err(_) if rest.is_empty() => Ok(HashMap::new()),
        Err(_) => {
            let message = format!("`{}` is no journal of measurements", path.display());
            Err(Failure::bad_input(message).hint("remove it, or discard it with `--force`").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(out_channels: usize) -> LayerKey {
        LayerKey {
            in_channels: 16,
            out_channels,
            input_size: 8,
            kernel: 1,
            stride: 1,
            padding: 0,
            groups: 1,
            weight_bits: 8,
            activation_bits: 8,
            first: false,
        }
    }

    fn entry(latency_ms: f64) -> Entry {
        Entry { latency_ms, energy_mj: Some(0.1 + 0.2), spread: None }
    }

    #[test]
    fn a_killed_measurement_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("t.csv");
        let mut journal = Journal::open(&table, "board a", false).unwrap();
        journal.keep(&key(8), entry(1.0)).unwrap();
        let path = journal.path().to_owned();
        drop(journal);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"layer\": \"(16, 2").unwrap();
        let mut journal = Journal::open(&table, "board a", false).unwrap();
        assert_eq!((journal.get(&key(8)), journal.get(&key(16))), (Some(entry(1.0)), None));
        journal.keep(&key(16), entry(2.0)).unwrap();
        drop(journal);
        let journal = Journal::open(&table, "board a", false).unwrap();
        assert_eq!(journal.get(&key(16)), Some(entry(2.0)));
        journal.finish();
        assert!(!path.exists());
    }

    #[test]
    fn a_journal_of_something_else_is_kept_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("t.csv");
        Journal::open(&table, "board a", false).unwrap().keep(&key(8), entry(1.0)).unwrap();
        let error = Journal::open(&table, "board b", false).unwrap_err();
        assert!(error.to_string().contains("board a"), "{error}");
        assert_eq!(Journal::open(&table, "board b", true).unwrap().get(&key(8)), None);
    }
}
