//! A stage's stamp: from which inputs it made which bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::artefact::{Artefact, hash};

/// Version of the stages' code and of their artefacts' formats; part of every stage's inputs.
const CODE_FORMAT: u32 = 1;

/// What decides a stage's result, by name: config sections, upstream artefacts, seed, code format.
pub type Inputs = BTreeMap<String, String>;

/// What a finished stage leaves behind beside its artefacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// What it was made from.
    pub inputs: Inputs,
    /// Artefact name → SHA-256.
    pub outputs: BTreeMap<String, String>,
}

/// Gathers the inputs of a stage.
#[derive(Debug, Clone)]
pub struct InputsBuilder(Inputs);

impl InputsBuilder {
    /// Inputs that every stage has.
    pub fn new(seed: u64) -> Self {
        let inputs =
            [("code_format".to_owned(), CODE_FORMAT.to_string()), ("seed".to_owned(), seed.to_string())];
        Self(Inputs::from(inputs))
    }

    /// A config section, or any other value that can be written as JSON.
    pub fn section(mut self, name: &str, value: &impl Serialize) -> Self {
        let text = serde_json::to_vec(value).unwrap_or_default();
        self.0.insert(name.to_owned(), hash(&text));
        self
    }

    /// A value that is short enough to stand for itself.
    pub fn value(mut self, name: &str, value: impl ToString) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// Values that are only sometimes there.
    pub fn values<T: ToString>(mut self, values: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        self.0.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value.to_string())));
        self
    }

    /// Artefacts of earlier stages.
    pub fn artefacts<'a>(mut self, artefacts: impl IntoIterator<Item = &'a Artefact>) -> Self {
        self.0.extend(artefacts.into_iter().map(|artefact| (artefact.name.clone(), artefact.hash.clone())));
        self
    }

    /// The inputs.
    pub fn build(self) -> Inputs {
        self.0
    }
}
