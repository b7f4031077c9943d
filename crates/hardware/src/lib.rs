//! # What does it cost?
//!
//! An [`Accelerator`] is a chip read from TOML; a [`CostModel`] prices a layer on it; a
//! [`CostTable`] holds the prices of every layer a space can reach, with their provenance; a [`CandidatePricer`]
//! turns the table into dense arrays and prices a candidate by a few look-ups per block.
//!
//! ```
//! use sartor_hardware::{Accelerator, CandidatePricer, CostTable};
//! use sartor_space::{SearchSpace, networks};
//!
//! let chip = Accelerator::preset("bitfusion-apq")?;
//! let network = networks::fixed("mobilenet-v2", 8, 8).expect("a fixed network");
//! let costs = chip.price(&network)?;
//! assert_eq!(format!("{:.4}, {:.4}", costs.latency_ms, costs.energy_mj), "9.0986 ms, 12.4558 mJ");
//!
//! let space = SearchSpace::preset("quickstart").expect("a preset");
//! let table = CostTable::for_space(&chip, &space)?;
//! let pricer = CandidatePricer::new(&space, &table)?;
//! # Ok::<(), sartor_hardware::HardwareError>(())
//! ```
//!
//! Pure functions: no files, no clock, no search. The formulas are in `docs/cost-model.md`, the way to one's own
//! chip in `docs/adding-hardware.md`.

mod accelerator;
mod cost;
pub mod dominance;
mod error;
pub mod ledger;
pub mod measured;
pub mod models;
mod pricer;
mod reachable;
mod table;
pub mod units;

pub use accelerator::{Accelerator, Section};
pub use cost::{BufferTraffic, Costs, DramTraffic, EnergyParts, LayerCost, Limit};
pub use error::HardwareError;
pub use models::{CostModel, MODELS};
pub use pricer::{BlockChoice, CandidatePricer, Metric};
pub use reachable::reachable_layers;
pub use table::{
    Accounting, CostTable, LayerKey, Provenance, Row, breakdown_csv, import_columns, import_dictionary,
    import_per_layer, layers_csv, profile_layers_csv, rows_csv,
};
