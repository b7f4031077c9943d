//! Test answers: what a fine-tuned model says about every test image, so that models can be compared image by image.
//!
//! Two networks get mostly the same images wrong. The difference of their accuracies is therefore known better than the
//! accuracies themselves, and only the answers tell how much better.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::run_folder::RunFolder;

/// One row of `models/<id>/test-answers.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    /// Place in the test split, from 0.
    image: usize,
    /// The right class.
    label: u32,
    /// The integer network's class.
    class: u32,
}

/// Name of a model's answers in the run folder.
pub fn name(id: &str) -> String {
    format!("models/{id}/test-answers.csv")
}

/// Writes one row an image.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &RunFolder, id: &str, classes: &[usize], labels: &[u32]) -> Result<()> {
    let mut table = csv::Writer::from_writer(vec![]);
    for (image, (&class, &label)) in classes.iter().zip(labels).enumerate() {
        table.serialize(Answer { image, label, class: class as u32 })?;
    }
    folder.write(&name(id), &table.into_inner()?)
}

/// Which images a model got right; `None` for a model of an earlier version, which left no answers.
///
/// # Errors
/// A file that holds something else.
pub fn right(folder: &RunFolder, id: &str) -> Result<Option<Vec<bool>>> {
    let path = folder.path(&name(id));
    if !path.is_file() {
        return Ok(None);
    }
    let cannot = || format!("cannot read `{}`", path.display());
    let rows = csv::Reader::from_path(&path).with_context(cannot)?.into_deserialize();
    let right = rows.map(|row| row.map(|answer: Answer| answer.class == answer.label));
    right.collect::<csv::Result<_>>().map(Some).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_right_is_read_back_and_anything_else_refused() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let folder = RunFolder::open(place.path()).expect("opens");
        assert_eq!(right(&folder, "model").expect("reads"), None);
        write(&folder, "model", &[3, 1, 0], &[3, 2, 0]).expect("writes");
        assert_eq!(right(&folder, "model").expect("reads"), Some(vec![true, false, true]));
        folder.write(&name("model"), b"image,label,class\n0,3,cat\n").expect("writes");
        let error = right(&folder, "model").expect_err("no number");
        assert!(error.to_string().contains("test-answers.csv"), "{error}");
    }
}
