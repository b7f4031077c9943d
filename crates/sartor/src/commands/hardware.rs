//! What `--hardware` may name: a chip, or a cost table made before.

use anyhow::{Context, Result};
use sartor_hardware::{Accelerator, CostTable};
use sartor_space::Layer;

use crate::failure::Failure;
use crate::stages::profile;

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
            return Ok(Self::Chip(Box::new(profile::accelerator(source, Some(batch))?)));
        }
        let table = read_table(source)?;
        let made_for = table.provenance.batch.max(1);
        if made_for != batch as u64 {
            let failure =
                Failure::bad_input(format!("the table `{source}` is for {made_for} images at a time"));
            return Err(failure.hint(format!("`--batch {made_for}`, or make a table for {batch}")).into());
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

    /// Name of the hardware.
    pub fn name(&self) -> &str {
        match self {
            Self::Chip(chip) => &chip.name,
            Self::Table(table) => &table.provenance.hardware,
        }
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
