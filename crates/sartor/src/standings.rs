//! All methods that have searched in a run folder, side by side: the folder's own and those in `methods/`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::records::{Best, Score};
use crate::run_folder::RunFolder;
use crate::run_folder::timings::Timings;
use crate::session::METHODS;
use crate::stages::Stage;
use crate::stages::search::BEST;

/// What one method came to.
#[derive(Debug)]
pub struct Standing {
    /// Where its results are.
    pub folder: PathBuf,
    /// Its choice and its counters.
    pub best: Best,
    /// The chosen model after fine-tuning, if that has run.
    pub score: Option<Score>,
    /// Seconds of the search stage, measuring included.
    pub seconds: Option<f64>,
}

/// The run folder that a method's results belong to: itself, unless it lies in another one's `methods`.
pub fn owner(folder: &Path) -> &Path {
    let parent = folder.parent().filter(|parent| parent.file_name().is_some_and(|name| name == METHODS));
    parent.and_then(Path::parent).unwrap_or(folder)
}

/// Every method of a run folder, its own first, the others by name.
///
/// # Errors
/// A search record that cannot be understood.
pub fn of(folder: &Path) -> Result<Vec<Standing>> {
    let owner = owner(folder);
    let mut places = vec![owner.to_owned()];
    let mut others: Vec<PathBuf> = std::fs::read_dir(owner.join(METHODS))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    others.sort();
    places.extend(others);
    places.iter().filter_map(|place| standing(place).transpose()).collect()
}

/// What stands in one folder; none if nothing has been searched there.
fn standing(place: &Path) -> Result<Option<Standing>> {
    if !place.join(BEST).is_file() {
        return Ok(None);
    }
    let folder = RunFolder::read_only(place)?;
    let best: Best = folder.read_json(BEST)?;
    let name = format!("models/{}/score.json", best.best.id);
    let score = folder.path(&name).is_file().then(|| folder.read_json(&name)).transpose()?;
    let seconds = Timings::load(&folder).stages.get(Stage::Search.key()).map(|time| time.seconds);
    Ok(Some(Standing { folder: place.to_owned(), best, score, seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_in_methods_belong_to_the_folder_around() {
        for (folder, expected) in [("runs/a", "runs/a"), ("runs/a/methods/spos", "runs/a"), ("a", "a")] {
            assert_eq!(owner(Path::new(folder)), Path::new(expected), "{folder}");
        }
    }
}
