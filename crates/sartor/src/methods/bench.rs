//! Bench: all that a method may use. Accuracies are those of validation images; nothing here reaches the test split.
//!
//! Scores are kept in the stage's checkpoint by candidate, so that a resumed search asks again and is answered at
//! once: it takes the same path, and counts the same work, as one that was never interrupted.

use std::cell::{Cell, RefCell};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sartor_search::{Domain, SearchError};
use sartor_space::Candidate;
use sartor_supernet::inherited::InheritedScorer;
use sartor_supernet::sampling::Sampler;
use sartor_supernet::{Supernet, Work};
use serde::{Deserialize, Serialize};

use super::Meter;
use crate::records::Counters;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::stages::Stage;
use crate::stages::profile::Prices;
use crate::stages::sample::{Pairs, sampler};
use crate::stages::search::hunt::{self, Kind};
use crate::stages::search::limits::Limits;

/// Checkpoint of the scores.
const SCORES: &str = "scores.json";
/// Scores made since the last checkpoint are lost when killed; this bounds the loss.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);
/// All candidates are fine-tuned with the same random numbers, so that they differ by what they are alone.
const STREAM: usize = 0;

/// How a candidate is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// As the supernet leaves it, on so many validation images.
    Inherited(usize),
    /// After the short fine-tune of `[samples]`, on all of them.
    Finetuned,
}

impl Scoring {
    fn key(self, candidate: &Candidate) -> String {
        match self {
            Self::Inherited(images) => format!("inherited-{images} {}", candidate.id()),
            Self::Finetuned => format!("finetuned {}", candidate.id()),
        }
    }
}

/// A score, and what it took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Scored {
    accuracy: f64,
    work: Work,
}

/// What a method works with.
pub struct Bench<'a> {
    /// Settings, images and seeds.
    pub session: &'a Session,
    /// Prices of the chip.
    pub prices: &'a Prices,
    /// The budget in absolute numbers.
    pub limits: Limits,
    /// The trained supernet.
    pub weights: &'a Supernet,
    /// Full-precision accuracies, for methods that said that they need them.
    pub pairs: Option<&'a Pairs>,
    checkpoint: &'a Checkpoint,
    lookups_before: u64,
    lookups_resumed: Cell<u64>,
    meter: RefCell<Meter>,
    known: RefCell<BTreeMap<String, Scored>>,
    asked: RefCell<BTreeSet<String>>,
    kept: RefCell<Instant>,
    scorers: RefCell<BTreeMap<usize, InheritedScorer<'a>>>,
    sampler: RefCell<Option<Sampler<'a>>>,
}

impl<'a> Bench<'a> {
    /// A bench for one search stage.
    ///
    /// # Errors
    /// A checkpoint that cannot be understood.
    pub fn new(
        session: &'a Session,
        (weights, pairs): (&'a Supernet, Option<&'a Pairs>),
        (prices, limits): (&'a Prices, Limits),
        checkpoint: &'a Checkpoint,
    ) -> Result<Self> {
        let known = checkpoint.read(SCORES)?.map(|text| serde_json::from_slice(&text)).transpose();
        let known = known.context("cannot understand the search checkpoint")?.unwrap_or_default();
        Ok(Self {
            session,
            prices,
            limits,
            weights,
            pairs,
            checkpoint,
            lookups_before: prices.lookups(),
            lookups_resumed: Cell::default(),
            meter: RefCell::default(),
            known: RefCell::new(known),
            asked: RefCell::default(),
            kept: RefCell::new(Instant::now()),
            scorers: RefCell::default(),
            sampler: RefCell::default(),
        })
    }

    /// The search's own seed.
    pub fn seed(&self) -> u64 {
        self.session.seed(Stage::Search)
    }

    /// Everything within these limits of a kind, handed to `work`.
    ///
    /// # Errors
    /// When there is nothing, or whatever `work` fails with.
    pub fn within<T>(
        &self,
        limits: &Limits,
        kind: Kind,
        work: impl FnOnce(&Domain<'_>) -> Result<T>,
    ) -> Result<T> {
        hunt::within(limits, self.prices, kind, work)
    }

    /// Validation accuracy of a candidate.
    ///
    /// # Errors
    /// Divergence while fine-tuning, or an unwritable checkpoint.
    pub fn accuracy(&self, candidate: &Candidate, how: Scoring) -> Result<f64, SearchError> {
        self.scored(candidate, how).map_err(|error| SearchError::Evaluation { message: format!("{error:#}") })
    }

    fn scored(&self, candidate: &Candidate, how: Scoring) -> Result<f64> {
        let key = how.key(candidate);
        let known = self.known.borrow().get(&key).copied();
        let scored = match known {
            Some(scored) => scored,
            None => self.measure(candidate, how)?,
        };
        if self.asked.borrow_mut().insert(key.clone()) {
            let mut meter = self.meter.borrow_mut();
            meter.note(candidate);
            meter.measured(scored.work);
        }
        if known.is_none() {
            self.known.borrow_mut().insert(key, scored);
            self.keep()?;
        }
        Ok(scored.accuracy)
    }

    fn measure(&self, candidate: &Candidate, how: Scoring) -> Result<Scored> {
        match how {
            Scoring::Inherited(images) => self.measure_inherited(candidate, images),
            Scoring::Finetuned => self.measure_finetuned(candidate),
        }
    }

    fn measure_inherited(&self, candidate: &Candidate, images: usize) -> Result<Scored> {
        let mut scorers = self.scorers.borrow_mut();
        let scorer = match scorers.entry(images) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(self.scorer(images)?),
        };
        let before = scorer.work();
        let accuracy = scorer.measure(candidate)?.value();
        Ok(Scored { accuracy, work: scorer.work().since(before) })
    }

    fn scorer(&self, images: usize) -> Result<InheritedScorer<'a>> {
        let (config, dataset) = (&self.session.config, self.session.dataset()?);
        let how = (&config.samples.finetune, images);
        Ok(InheritedScorer::new(&config.space, dataset, self.weights, how, self.seed())?)
    }

    fn measure_finetuned(&self, candidate: &Candidate) -> Result<Scored> {
        let mut slot = self.sampler.borrow_mut();
        if slot.is_none() {
            *slot = Some(sampler(self.session, self.weights, Stage::Search)?);
        }
        let sampler = slot.as_mut().context("a sampler was just made")?;
        let setup = sampler.prepare()?;
        let before = sampler.work();
        let accuracy = sampler.measure_mixed(candidate, STREAM)?.value();
        let mut work = sampler.work().since(before);
        // Whoever is first bears the work of getting ready; in a resumed process it has been borne.
        if self.known.borrow().is_empty() {
            work += setup;
        }
        Ok(Scored { accuracy, work })
    }

    fn keep(&self) -> Result<()> {
        if self.kept.borrow().elapsed() < CHECKPOINT_INTERVAL {
            return Ok(());
        }
        self.checkpoint.write(SCORES, &serde_json::to_vec(&*self.known.borrow())?)?;
        *self.kept.borrow_mut() = Instant::now();
        Ok(())
    }

    /// Counts what a method did by itself.
    pub fn count(&self, count: impl FnOnce(&mut Meter)) {
        count(&mut self.meter.borrow_mut());
    }

    /// The stage's checkpoint, for methods with a state of their own.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.checkpoint
    }

    /// Counts look-ups that an earlier process did for the same search.
    pub fn looked_up_before(&self, lookups: u64) {
        self.lookups_resumed.set(self.lookups_resumed.get() + lookups);
    }

    /// All that was counted so far.
    pub fn counters(&self) -> Counters {
        let table_lookups = self.prices.lookups() - self.lookups_before + self.lookups_resumed.get();
        Counters { table_lookups, ..self.meter.borrow().counters() }
    }
}
