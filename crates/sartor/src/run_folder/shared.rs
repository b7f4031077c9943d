//! What runs of different methods share: everything before the search. A finished stage of one run folder stands in
//! another one as the same files (hard links where the disk allows) with the same stamp; whether it may be used there
//! is decided as always, by its inputs.

use std::path::Path;

use anyhow::Result;

use super::{RunFolder, artefact};
use crate::stages::Stage;

/// Stages that do not depend on the search.
pub const SHARED: [Stage; 6] = [
    Stage::Profile,
    Stage::Train,
    Stage::SampleFullPrecision,
    Stage::Fit,
    Stage::SampleMixedPrecision,
    Stage::Transfer,
];

impl RunFolder {
    /// Takes over the shared stages that are finished in `other` and not here; gives their names.
    ///
    /// # Errors
    /// A corrupt artefact there, or an unwritable folder here.
    pub fn adopt(&self, other: &RunFolder) -> Result<Vec<&'static str>> {
        let mut adopted = Vec::new();
        for stage in SHARED {
            let key = stage.key();
            if self.finished(key, None)?.is_some() {
                continue;
            }
            let (Some(stamp), Some(artefacts)) = (other.stamp(key), other.finished(key, None)?) else {
                continue;
            };
            for artefact in &artefacts {
                link(&other.path(&artefact.name), &self.path(&artefact.name))?;
            }
            let names: Vec<String> = artefacts.into_iter().map(|artefact| artefact.name).collect();
            self.finish(key, stamp.inputs, &names)?;
            adopted.push(stage.title());
        }
        Ok(adopted)
    }
}

/// The same file under another name; a copy where links do not reach. Artefacts are never written in place, so a link
/// is as good as a copy.
fn link(from: &Path, to: &Path) -> Result<()> {
    artefact::create_folder(to.parent().unwrap_or(Path::new(".")))?;
    artefact::remove(to)?;
    if std::fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    std::fs::copy(from, to).map(drop).map_err(|error| artefact::cannot_write(to, &error).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_folder::stamp::Inputs;

    #[test]
    fn finished_stages_are_taken_over_once() {
        let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let (here, there) =
            (RunFolder::open(here.path()).expect("opens"), RunFolder::open(there.path()).expect("opens"));
        let inputs = Inputs::from([("seed".to_owned(), "1".to_owned())]);
        for (stage, name) in [("train", "supernet/weights"), ("search", "search/best.json")] {
            there.write(name, b"bytes").expect("writes");
            there.finish(stage, inputs.clone(), &[name.to_owned()]).expect("finishes");
        }
        assert_eq!(here.adopt(&there).expect("adopts"), [Stage::Train.title()]);
        assert!(here.finished("train", Some(&inputs)).expect("reads").is_some());
        assert!(here.finished("search", None).expect("reads").is_none(), "a search is not shared");
        assert!(here.adopt(&there).expect("adopts").is_empty());
    }
}
