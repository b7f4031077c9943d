//! # Config: TOML → sections → checked config
//!
//! Read once, checked once; later code cannot see a bad value. Order of precedence: file, `--set`, flags.

pub mod checks;
pub mod memory;
pub mod methods;
pub mod reading;
pub mod sections;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sartor_export::{Format, Target};
use sartor_space::SearchSpace;
use sartor_space::suggest::nearest;
use sartor_supernet::schedule::TrainingSettings;

use crate::cli::{self, Global};
use crate::failure::Failure;
use sections::Sections;

/// File of the run folder that holds the settings it was made with.
pub const RESOLVED: &str = "config.resolved.toml";

/// A checked config.
#[derive(Debug, Clone)]
pub struct Config {
    sections: Sections,
    /// The search space of `[space]`.
    pub space: SearchSpace,
    /// The run folder.
    pub folder: PathBuf,
    /// The config's name: that of its file, or of its run folder.
    pub name: String,
}

impl std::ops::Deref for Config {
    type Target = Sections;

    fn deref(&self) -> &Sections {
        &self.sections
    }
}

impl Config {
    /// Reads a config file, or the settings kept in a run folder.
    ///
    /// # Errors
    /// Everything that is wrong with the file, the overrides or the values.
    pub fn load(target: &cli::Target, global: &Global) -> Result<Self> {
        match (&target.config, &target.run) {
            (Some(path), _) => Self::from_file(path, None, global),
            (None, Some(folder)) => Self::from_file(&folder.join(RESOLVED), Some(folder), global),
            (None, None) => {
                Err(Failure::bad_input("neither a config file nor a run folder was given").into())
            }
        }
    }

    fn from_file(path: &Path, folder: Option<&Path>, global: &Global) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::bad_input(format!("cannot read config `{}`: {error}", path.display()))
                .hint("`configs/quickstart.toml` is a complete example")
        })?;
        let name = name_of(folder.unwrap_or(path));
        Self::from_text(&text, &path.display().to_string(), &name, folder, global)
    }

    /// Checks a config's text; `source` stands for it in messages.
    ///
    /// # Errors
    /// Everything that is wrong with the text, the overrides or the values.
    pub fn from_text(
        text: &str,
        source: &str,
        name: &str,
        folder: Option<&Path>,
        global: &Global,
    ) -> Result<Self> {
        let mut sections = reading::overridden(text, source, &global.overrides)?;
        sections.seed = global.seed.unwrap_or(sections.seed);
        sections.threads = global.threads.unwrap_or(sections.threads);
        checks::check(&sections).map_err(|broken| broken.into_failure(text, source))?;
        let folder = folder.map(Path::to_owned).or(sections.run.folder.clone());
        let space = cut(load_space(&sections.space.source)?, sections.space.target.as_deref())?;
        sections.run.memory = global.memory.clone().or(sections.run.memory);
        memory::fit(&mut sections, &space)?;
        Ok(Self {
            space,
            folder: folder.unwrap_or_else(|| Path::new("runs").join(name)),
            name: name.to_owned(),
            sections,
        })
    }

    /// The sections as they were given.
    pub fn sections(&self) -> &Sections {
        &self.sections
    }

    /// The same run in a folder inside its own, with other settings of the supernet's training.
    pub fn variant(&self, name: &str, change: impl FnOnce(&mut TrainingSettings)) -> Self {
        let mut other = self.clone();
        change(&mut other.sections.supernet);
        other.folder = self.folder.join(name);
        other
    }

    /// Formats to write, as checked.
    pub fn formats(&self) -> impl Iterator<Item = Format> + '_ {
        self.export.formats.iter().filter_map(|name| Format::from_name(name))
    }

    /// The settings as TOML, without what cannot change a result (threads, folder).
    ///
    /// # Errors
    /// Never for a checked config; the serializer's error otherwise.
    pub fn resolved(&self) -> Result<String> {
        let body = toml::to_string(&self.sections).context("cannot write the resolved config")?;
        Ok(format!(
            "# Every setting of this run, defaults included. Threads and folder never change a result.\n{body}"
        ))
    }
}

/// `configs/tiny.toml` and `runs/tiny` are both `tiny`.
fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A search space by preset name or from a TOML file.
///
/// # Errors
/// An unknown name that is no file either, or a space that makes no sense.
pub fn load_space(source: &str) -> Result<SearchSpace> {
    let presets: Vec<&str> = SearchSpace::presets().collect();
    if presets.contains(&source) {
        return Ok(SearchSpace::preset(source)?);
    }
    let text = read_named(source, "search space", &presets)?;
    SearchSpace::from_toml(&text).with_context(|| format!("search space `{source}` is not usable"))
}

/// A space without what a target cannot run.
///
/// # Errors
/// No such target, or nothing left of the space.
pub fn cut(space: SearchSpace, target: Option<&str>) -> Result<SearchSpace> {
    let Some(name) = target else { return Ok(space) };
    let target = load_target(name)?;
    let cut = space.cut(&|layer| target.allows(layer));
    cut.with_context(|| format!("target `{name}` leaves nothing of search space `{}`", space.name()))
}

/// A target by preset name or from a TOML file.
///
/// # Errors
/// An unknown name that is no file either, or a target that makes no sense.
pub fn load_target(name: &str) -> Result<Target> {
    let target = Target::open(name, |path| std::fs::read_to_string(path));
    target.map_err(|error| Failure::bad_input(error.to_string()).into())
}

/// Text of a file that stands where a preset's name could.
///
/// # Errors
/// When it is no file, with the nearest preset.
pub fn read_named(source: &str, what: &str, presets: &[&str]) -> Result<String> {
    std::fs::read_to_string(source).map_err(|error| {
        let failure = Failure::bad_input(format!(
            "{what} `{source}` is neither a preset nor a readable file ({error})"
        ));
        let known = match nearest(source, presets.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("presets: {}", presets.join(", ")),
        };
        failure.hint(known).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_config_of_the_repository_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for folder in ["configs", "docs/results/configs"] {
            for entry in std::fs::read_dir(root.join(folder)).expect("a folder") {
                let path = entry.expect("an entry").path();
                let read = Config::from_file(&path, None, &Global::default());
                assert!(read.is_ok(), "{}: {:?}", path.display(), read.err());
            }
        }
    }
}
