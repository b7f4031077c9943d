//! # Random search
//!
//! Feasible candidates, drawn one like the other; the reference that every other strategy must beat.

use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use super::breeding::fresh;
use super::evolution::check_count;
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::strategy::{Memory, Strategy};

/// How many candidates at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Candidates a generation.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { batch: 100 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Random {
    settings: Settings,
}

impl Random {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`SearchError::BadSetting`].
    pub fn new(settings: Settings) -> Result<Self, SearchError> {
        check_count("batch", settings.batch)?;
        Ok(Self { settings })
    }
}

impl Strategy for Random {
    fn name(&self) -> &'static str {
        "random"
    }

    fn ask(&mut self, domain: &Domain<'_>, rng: &mut ChaCha8Rng) -> Result<Vec<Candidate>, SearchError> {
        fresh(domain, self.settings.batch, rng)
    }

    fn tell(&mut self, _evaluations: &[Evaluation]) {}

    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn restore(&mut self, _memory: Memory) {}
}
