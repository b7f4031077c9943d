//! What `--hardware` and the config's `hardware.accelerator` may name: a chip, or a cost table made before.

use anyhow::{Context, Result};
use sartor_hardware::{Accelerator, CostTable, reachable_layers};
use sartor_space::{Layer, SearchSpace};

use super::accelerator;
use crate::failure::Failure;
use crate::run_folder::artefact;

/// Ending of a cost table's name.
const TABLE: &str = ".csv";

/// Where prices come from.
#[derive(Debug)]
pub enum Source {
    /// A chip and its model.
    Chip(Box<Accelerator>),
    /// Measured or imported prices.
    Table(Box<CostTable>),
}

impl Source {
    /// A preset, a specification in TOML, or a table in CSV.
    ///
    /// # Errors
    /// An unknown name, an unusable file, or a table of another batch.
    pub fn open(source: &str, batch: usize) -> Result<Self> {
        if !source.ends_with(TABLE) {
            return Ok(Self::Chip(Box::new(accelerator(source, Some(batch))?)));
        }
        let table = read_table(source)?;
        let made_for = table.provenance.batch.max(1);
        if made_for != batch as u64 {
            let failure =
                Failure::bad_input(format!("the table `{source}` is for {made_for} images at a time"));
            return Err(failure
                .hint(format!("ask for batch {made_for}, or make a table for {batch}"))
                .into());
        }
        Ok(Self::Table(Box::new(table)))
    }

    /// A table that holds these layers.
    ///
    /// # Errors
    /// Layers that the chip cannot run or the table lacks.
    pub fn table(&self, layers: &[Layer]) -> Result<CostTable> {
        match self {
            Self::Chip(chip) => Ok(CostTable::build(chip, layers)?),
            Self::Table(table) => {
                table.check_covers(layers)?;
                Ok(CostTable::clone(table))
            }
        }
    }

    /// A table of everything that a space can reach.
    ///
    /// # Errors
    /// As [`table`](Self::table).
    pub fn for_space(&self, space: &SearchSpace) -> Result<CostTable> {
        match self {
            Self::Chip(chip) => Ok(CostTable::for_space(chip, space)?),
            Self::Table(table) => {
                let mut table = CostTable::clone(table);
                (table.provenance.space, table.provenance.space_hash) =
                    (space.name().to_owned(), space.hash());
                table.check_covers(&reachable_layers(space))?;
                Ok(table)
            }
        }
    }

    /// Name of the hardware.
    pub fn name(&self) -> &str {
        match self {
            Self::Chip(chip) => &chip.name,
            Self::Table(table) => &table.provenance.hardware,
        }
    }

    /// Changes with every price.
    pub fn hash(&self) -> String {
        match self {
            Self::Chip(chip) => chip.hash(),
            Self::Table(table) => artefact::hash(table.to_csv().as_bytes()),
        }
    }

    /// The table's file in a run folder.
    pub fn file_name(&self) -> String {
        let plain = |letter: char| if letter.is_alphanumeric() { letter } else { '-' };
        let name: String = self.name().chars().map(plain).collect();
        format!("costs-{}.csv", if name.is_empty() { "table" } else { &name })
    }
}

/// Reads a cost table.
///
/// # Errors
/// No such file, or one that is no table.
pub fn read_table(source: &str) -> Result<CostTable> {
    let text = std::fs::read_to_string(source)
        .map_err(|error| Failure::bad_input(format!("cannot read the cost table `{source}`: {error}")))?;
    CostTable::from_csv(&text).with_context(|| format!("cannot use the cost table `{source}`"))
}
