//! # Session: one process at work in one run folder
//!
//! Opens and locks the folder, sizes the thread pool, runs stages or skips them, keeps their times.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_supernet::data::Dataset;
use sha2::{Digest, Sha256};

use crate::cli::{Global, Target};
use crate::config::{Config, RESOLVED};
use crate::failure::Failure;
use crate::methods;
use crate::run_folder::RunFolder;
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::run_folder::manifest;
use crate::run_folder::stamp::{Inputs, InputsBuilder};
use crate::run_folder::timings::{StageTime, Timings};
use crate::stages::{Stage, images};
use crate::talk;
use crate::warnings::Warning;

/// Name of the seconds that a search took before its proposals were measured, among the measured times.
pub const SEARCH_SECONDS: &str = "search_alone_seconds";
/// Folder of the other methods' results inside a run folder.
pub const METHODS: &str = "methods";

/// One process at work in one run folder.
pub struct Session {
    /// Checked settings.
    pub config: Config,
    /// The locked folder.
    pub folder: RunFolder,
    force: bool,
    timings: RefCell<Timings>,
    dataset: OnceCell<Dataset>,
}

impl Session {
    /// Reads the config, opens the folder, keeps the resolved config in it.
    ///
    /// # Errors
    /// A bad config, or a folder that is in use or cannot be written.
    pub fn open(target: &Target, global: &Global) -> Result<Self> {
        Self::of(Config::load(target, global)?, global.force)
    }

    /// A run of the config's method. A run folder has one method of its own, the first that searched in it; another
    /// one works in `methods/<name>` inside it and shares everything before the search. `from` names any other run
    /// whose finished stages may be used.
    ///
    /// # Errors
    /// As [`open`](Self::open), or when `from` is no run folder.
    pub fn open_method(target: &Target, global: &Global, from: Option<&Path>) -> Result<Self> {
        let mut config = Config::load(target, global)?;
        let mut sources: Vec<PathBuf> = from.map(Path::to_owned).into_iter().collect();
        if searched_by_another(&config) {
            sources.push(config.folder.clone());
            config.folder = config.folder.join(METHODS).join(&config.method.name);
        }
        let session = Self::of(config, global.force)?;
        for source in sources {
            let adopted = session.folder.adopt(&RunFolder::read_only(&source)?)?;
            if !adopted.is_empty() {
                talk::stage_line("shared", &format!("{} from {}", adopted.join(", "), source.display()));
            }
        }
        Ok(session)
    }

    /// A session of a config made elsewhere.
    ///
    /// # Errors
    /// A folder that is in use or cannot be written.
    pub fn of(config: Config, force: bool) -> Result<Self> {
        let folder = RunFolder::open(&config.folder)?;
        size_thread_pool(config.threads)?;
        folder.write(RESOLVED, config.resolved()?.as_bytes())?;
        let timings = RefCell::new(Timings::load(&folder));
        Ok(Self { config, folder, force, timings, dataset: OnceCell::new() })
    }

    /// Looks at a run without locking or changing it.
    ///
    /// # Errors
    /// A bad config, or no run in the folder.
    pub fn read_only(target: &Target, global: &Global) -> Result<Self> {
        let config = Config::load(target, global)?;
        let folder = RunFolder::read_only(&config.folder)?;
        size_thread_pool(config.threads)?;
        let timings = RefCell::new(Timings::load(&folder));
        Ok(Self { config, folder, force: false, timings, dataset: OnceCell::new() })
    }

    /// The images, read when first needed.
    ///
    /// # Errors
    /// Whatever is wrong with the files, or when they do not fit the space.
    pub fn dataset(&self) -> Result<&Dataset> {
        if self.dataset.get().is_none() {
            let _ = self.dataset.set(images::load(&self.config)?);
        }
        self.dataset.get().context("the data set was just read")
    }

    /// Inputs that every stage has.
    pub fn inputs(&self) -> InputsBuilder {
        InputsBuilder::new(self.config.seed).value("space_hash", self.config.space.hash())
    }

    /// A stage's own seed: stages do not share random numbers.
    pub fn seed(&self, stage: Stage) -> u64 {
        let own = self.config.method.seed;
        let after = matches!(stage, Stage::Search | Stage::Finetune) && own > 0;
        let suffix = if after { format!(" {own}") } else { String::new() };
        let digest = Sha256::digest(format!("{} {}{suffix}", self.config.seed, stage.key()));
        u64::from_le_bytes(std::array::from_fn(|index| digest[index]))
    }

    /// The method's own seed as an input of stages that use it, if it has one.
    pub fn other_seed(&self) -> Option<(&'static str, u64)> {
        Some(("method.seed", self.config.method.seed)).filter(|(_, seed)| *seed > 0)
    }

    /// Random numbers of a stage.
    pub fn random(&self, stage: Stage) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed(stage))
    }

    /// Runs a stage unless it is finished; `work` returns the names of what it wrote.
    ///
    /// # Errors
    /// Whatever the work fails with, or a corrupt artefact of a finished stage.
    pub fn stage(
        &self,
        stage: Stage,
        inputs: Inputs,
        work: impl FnOnce(&Checkpoint) -> Result<Vec<String>>,
    ) -> Result<Vec<Artefact>> {
        let key = stage.key();
        if !self.force
            && let Some(artefacts) = self.folder.finished(key, Some(&inputs))?
        {
            talk::stage_line(stage.title(), "unchanged, kept");
            return Ok(artefacts);
        }
        let resumed = !self.force && self.folder.has_checkpoint(key, &inputs);
        self.folder.unfinish(key)?;
        let checkpoint = self.folder.checkpoint(key, &inputs, self.force)?;
        let started = Instant::now();
        let outputs = work(&checkpoint)?;
        let artefacts = self.folder.finish(key, inputs, &outputs)?;
        self.note_time(stage, started.elapsed().as_secs_f64(), resumed)?;
        self.write_manifest()?;
        Ok(artefacts)
    }

    /// Artefacts of a stage that another process finished.
    ///
    /// # Errors
    /// When it never was, or an artefact is corrupt.
    pub fn finished(&self, stage: Stage) -> Result<Vec<Artefact>> {
        let found = self.folder.finished(stage.key(), None)?;
        found.ok_or_else(|| missing(stage, &self.folder).into())
    }

    /// Says a warning on stderr.
    pub fn warn(&self, warnings: &[Warning]) {
        for warning in warnings {
            talk::warning_line(&warning.to_string());
            talk::hint_line(&warning.remedy());
        }
    }

    /// Keeps a measured time that is no stage's.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note_measured(&self, name: &str, value: f64) -> Result<()> {
        self.timings.borrow_mut().measured.insert(name.to_owned(), value);
        self.timings.borrow().save(&self.folder)
    }

    /// Times so far.
    pub fn timings(&self) -> Timings {
        self.timings.borrow().clone()
    }

    fn note_time(&self, stage: Stage, seconds: f64, resumed: bool) -> Result<()> {
        let time = StageTime { seconds, resumed, threads: rayon::current_num_threads() };
        self.timings.borrow_mut().stages.insert(stage.key().to_owned(), time);
        self.timings.borrow().save(&self.folder)
    }

    fn write_manifest(&self) -> Result<()> {
        let simd = format!("{:?}", sartor_engine::simd::level()).to_lowercase();
        manifest::write(&self.folder, self.config.seed, simd, &self.config.space)
    }
}

/// Whether another method than the config's has searched in its run folder.
fn searched_by_another(config: &Config) -> bool {
    let finished = RunFolder::read_only(&config.folder).ok();
    let searched = finished.is_some_and(|folder| folder.stamp(Stage::Search.key()).is_some());
    searched && method_of(&config.folder) != config.method.name
}

/// The method that a run folder was begun with.
fn method_of(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join(RESOLVED)).unwrap_or_default();
    let table: toml::Table = toml::from_str(&text).unwrap_or_default();
    let name = table.get("method").and_then(|section| section.get("name")).and_then(toml::Value::as_str);
    name.unwrap_or(methods::DEFAULT).to_owned()
}

fn missing(stage: Stage, folder: &RunFolder) -> Failure {
    let message = format!("`{}` has no finished stage `{}`", folder.root().display(), stage.title());
    Failure::bad_input(message)
        .hint(format!("run `{}` first, or `sartor run` for everything", stage.command()))
}

/// Sizes the one thread pool; 0 = all cores. A second session in one process keeps the first one's.
///
/// # Errors
/// When the pool has another size already.
pub fn size_thread_pool(threads: usize) -> Result<()> {
    if threads > 0 && rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_err() {
        anyhow::ensure!(rayon::current_num_threads() == threads, "the thread pool has another size already");
    }
    Ok(())
}
