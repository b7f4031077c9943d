//! Price the hardware: a table of everything the space can reach, and the prices that the search asks.

mod source;

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use sartor_hardware::{Accelerator, CostTable};
use sartor_search::{AdditiveCosts, Metric};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace, Workload};

pub use source::{Source, read_table};

use super::Stage;
use crate::config::read_named;
use crate::records::Costs;
use crate::run_folder::artefact::Artefact;
use crate::session::Session;
use crate::talk;
use crate::warnings::Warning;

/// Prices of a space on a chip.
#[derive(Debug)]
pub struct Prices {
    artefacts: Vec<Artefact>,
    space: SearchSpace,
    table: CostTable,
    lookups: AtomicU64,
}

impl Prices {
    /// Prices from a table.
    pub fn new(space: SearchSpace, table: CostTable, artefacts: Vec<Artefact>) -> Self {
        Self { artefacts, space, table, lookups: AtomicU64::new(0) }
    }

    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// The space they are for.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// The table behind them.
    pub fn table(&self) -> &CostTable {
        &self.table
    }

    /// All costs of a candidate, by name.
    ///
    /// # Errors
    /// A layer that the table lacks.
    pub fn of(&self, candidate: &Candidate) -> Result<Costs> {
        Ok(named(&self.price(&self.space.lower(candidate))?))
    }

    /// Costs that do not add up over blocks.
    pub fn whole(&self, candidate: &Candidate) -> sartor_search::Costs {
        let peak = self.space.lower(candidate).peak_activation_bytes();
        sartor_search::Costs::UNKNOWN.with(Metric::PeakActivationBytes, peak as f64)
    }

    /// Whether any layer's price is extrapolated rather than known.
    pub fn extrapolated(&self, workload: &Workload) -> bool {
        self.table.extrapolates(workload)
    }

    /// Layers looked up so far.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    fn price(&self, workload: &Workload) -> Result<sartor_hardware::Costs, sartor_hardware::HardwareError> {
        self.lookups.fetch_add(workload.layers.len() as u64, Ordering::Relaxed);
        self.table.price(workload)
    }

    fn of_layers(&self, layers: Vec<sartor_space::Layer>) -> sartor_search::Costs {
        match self.price(&Workload { layers }) {
            Ok(costs) => additive(&costs),
            Err(_) => sartor_search::Costs::UNKNOWN,
        }
    }
}

impl AdditiveCosts for Prices {
    fn fixed(&self) -> sartor_search::Costs {
        self.of_layers(self.space.lower_fixed(self.space.bits().is_some()))
    }

    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> sartor_search::Costs {
        self.of_layers(self.space.lower_block(block, choice, bits))
    }
}

/// Costs that add up over layers.
pub fn additive(costs: &sartor_hardware::Costs) -> sartor_search::Costs {
    sartor_search::Costs::UNKNOWN
        .with(Metric::LatencyMs, costs.latency_ms.value())
        .with(Metric::EnergyMj, costs.energy_mj.value())
        .with(Metric::BitOps, costs.bitops.value() as f64)
        .with(Metric::SizeBytes, costs.size_bytes.value() as f64)
        .with(Metric::Macs, costs.macs.value() as f64)
}

/// Costs by the names of `sartor cost --json`, without the counts that no budget limits.
pub fn named(costs: &sartor_hardware::Costs) -> Costs {
    let additive =
        additive(costs).with(Metric::PeakActivationBytes, costs.peak_activation_bytes.value() as f64);
    additive.iter().map(|(metric, value)| (metric.name().to_owned(), value)).collect()
}

/// A chip by preset name or from a TOML file, at a batch.
///
/// # Errors
/// An unknown name that is no file either, or a chip that makes no sense.
pub fn accelerator(source: &str, batch: Option<usize>) -> Result<Accelerator> {
    let presets: Vec<&str> = Accelerator::presets().collect();
    let accelerator = match presets.contains(&source) {
        true => Accelerator::preset(source)?,
        false => Accelerator::from_toml(&read_named(source, "hardware", &presets)?)
            .with_context(|| format!("hardware `{source}` is not usable"))?,
    };
    Ok(match batch {
        Some(batch) => accelerator.with_batch(batch as u64)?,
        None => accelerator,
    })
}

/// Prices, or keeps what is there.
///
/// # Errors
/// A chip that cannot run the space.
pub fn run(session: &Session) -> Result<Prices> {
    let hardware = &session.config.hardware;
    let source = Source::open(&hardware.accelerator, hardware.batch)?;
    let inputs = session.inputs().section("hardware", hardware).value("spec_hash", source.hash()).build();
    let name = source.file_name();
    let artefacts = session.stage(Stage::Profile, inputs, |_| {
        let table = source.for_space(&session.config.space)?;
        session.folder.write(&name, table.to_csv().as_bytes())?;
        talk::stage_line(
            Stage::Profile.title(),
            &format!("{} layers on {}", table.rows().len(), source.name()),
        );
        Ok(vec![name.clone()])
    })?;
    load(session, artefacts)
}

/// The prices that an earlier process left.
///
/// # Errors
/// When there are none.
pub fn finished(session: &Session) -> Result<Prices> {
    load(session, session.finished(Stage::Profile)?)
}

fn load(session: &Session, artefacts: Vec<Artefact>) -> Result<Prices> {
    let name =
        artefacts.first().map(|artefact| artefact.name.clone()).context("a cost table without a name")?;
    let path = session.folder.path(&name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let table = CostTable::from_csv(&text).with_context(|| format!("cannot use `{}`", path.display()))?;
    session.warn(&Warning::of_table(&table.provenance));
    Ok(Prices::new(session.config.space.clone(), table, artefacts))
}
