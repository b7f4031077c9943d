//! # Checked reading of a TOML section
//!
//! A section is opened with the keys it may have, so that a misspelt key is refused, with the nearest valid one,
//! before its absence is noticed.

use std::ops::RangeInclusive;

use sartor_space::suggest::nearest;
use toml::{Table, Value};

use crate::HardwareError;

/// Energies and clocks beyond this are taken for a slip.
const LARGEST_NUMBER: f64 = 1e9;

/// A section of a specification.
pub struct Section<'a> {
    path: String,
    table: &'a Table,
}

impl<'a> Section<'a> {
    /// A section; `path` is written before its keys in messages and empty for the whole file.
    pub fn new(path: &str, table: &'a Table) -> Self {
        Self { path: path.to_owned(), table }
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A text.
    ///
    /// # Errors
    /// The key is missing or not a text.
    pub fn text(&self, key: &str) -> Result<String, HardwareError> {
        let value = self.take(key, "a text")?;
        value.as_str().map(str::to_owned).ok_or_else(|| self.impossible(key, "a text", value))
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// The key is missing, not a whole number or outside the range.
    pub fn integer(&self, key: &str, range: RangeInclusive<u64>) -> Result<u64, HardwareError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let value = self.take(key, &expected)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| self.impossible(key, &expected, value))
    }

    /// A number of at least 0.
    ///
    /// # Errors
    /// The key is missing, not a number, negative, not finite or absurdly large.
    pub fn number(&self, key: &str) -> Result<f64, HardwareError> {
        let expected = "a number of at least 0";
        let value = self.take(key, expected)?;
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        let sane = number.filter(|number| (0.0..=LARGEST_NUMBER).contains(number));
        sane.ok_or_else(|| self.impossible(key, expected, value))
    }

    /// A number above 0.
    ///
    /// # Errors
    /// As [`number`](Self::number), and 0.
    pub fn positive(&self, key: &str) -> Result<f64, HardwareError> {
        match self.number(key)? {
            0.0 => Err(self.impossible(key, "a number above 0", &Value::Integer(0))),
            number => Ok(number),
        }
    }

    /// A section within, which may have these keys and no others.
    ///
    /// # Errors
    /// The key is missing or not a section, or the section has another key.
    pub fn section(&self, key: &str, keys: &[&str]) -> Result<Section<'a>, HardwareError> {
        let value = self.take(key, "a section")?;
        let table = value.as_table().ok_or_else(|| self.impossible(key, "a section", value))?;
        let section = Section::new(&self.full(key), table);
        section.allow(keys)?;
        Ok(section)
    }

    /// Refuses all other keys.
    ///
    /// # Errors
    /// [`HardwareError::UnknownKey`] with the nearest valid key.
    pub fn allow(&self, keys: &[&str]) -> Result<(), HardwareError> {
        match self.table.keys().find(|key| !keys.contains(&key.as_str())) {
            Some(key) => Err(HardwareError::UnknownKey {
                key: self.full(key),
                nearest: nearest(key, keys.iter().copied()).map(|key| self.full(key)),
                valid: keys.iter().map(|&key| key.to_owned()).collect(),
            }),
            None => Ok(()),
        }
    }

    fn take(&self, key: &str, expected: &str) -> Result<&'a Value, HardwareError> {
        let missing = || HardwareError::MissingKey { key: self.full(key), expected: expected.to_owned() };
        self.table.get(key).ok_or_else(missing)
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn impossible(&self, key: &str, expected: &str, got: &Value) -> HardwareError {
        HardwareError::ImpossibleValue {
            key: self.full(key),
            expected: expected.to_owned(),
            got: got.to_string(),
        }
    }
}
