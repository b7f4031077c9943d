//! # Cost tables: priced layers with their provenance
//!
//! A network's latency and energy are the sums over its layers, so a table of every layer a space can reach prices
//! every candidate. A table is written by a cost model, by measurements, or imported; it never answers for a layer
//! it does not hold.

mod breakdown;
mod csv;
mod import;
mod key;
mod layers;

use std::collections::HashMap;

use sartor_space::{Layer, Role, SearchSpace, Workload};
use serde::Serialize;

pub use breakdown::breakdown_csv;
pub use csv::rows_csv;
pub use import::{import_columns, import_dictionary, import_per_layer};
pub use key::LayerKey;
pub use layers::{layers_csv, profile_layers_csv};

use crate::cost::{Costs, LayerCost};
use crate::measured::Additivity;
use crate::reachable::reachable_layers;
use crate::units::{Cycles, Millijoules, Milliseconds};
use crate::{Accelerator, HardwareError};

/// How many missing rows an error names.
const NAMED_ROWS: usize = 5;

/// One priced layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Row {
    /// Which layer.
    #[serde(flatten)]
    pub key: LayerKey,
    /// Clock cycles; 0 where only time was measured.
    pub cycles: Cycles,
    /// Latency.
    pub latency_ms: Milliseconds,
    /// Energy.
    pub energy_mj: Millijoules,
    /// Whether the price was made outside what its source was checked on.
    pub extrapolated: bool,
}

/// Where a table comes from.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Provenance {
    /// Name of the hardware.
    pub hardware: String,
    /// [`Accelerator::hash`]; empty for measured tables.
    pub spec_hash: String,
    /// Model and version, or how it was measured.
    pub model: String,
    /// Name of the space, if it was made for one.
    pub space: String,
    /// [`SearchSpace::hash`] of that space.
    pub space_hash: String,
    /// Images per inference.
    pub batch: u64,
    /// Whether the rows tell the network's input layer from an equal inner one (cost models do, measurements need
    /// not).
    pub marks_first: bool,
    /// How far its sums were from whole networks, once that was measured.
    pub additivity: Option<Additivity>,
    /// Anything else worth keeping, one line each.
    pub notes: Vec<String>,
}

/// Which layers of a network are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accounting {
    /// All of them.
    #[default]
    Full,
    /// As the authors' release sums: without the fixed separable block and the classifier.
    Release,
}

impl Accounting {
    /// Whether a layer is summed.
    pub fn counts(self, role: Role) -> bool {
        let left_out = matches!(role, Role::StemDepthwise | Role::StemProject | Role::Classifier);
        self == Self::Full || !left_out
    }
}

/// Priced layers, each at most once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CostTable {
    /// Where it comes from.
    pub provenance: Provenance,
    rows: Vec<Row>,
    index: HashMap<LayerKey, usize>,
}

impl CostTable {
    /// Prices layers; equal ones once.
    ///
    /// # Errors
    /// Bit-widths or shapes that the chip cannot run.
    pub fn build(accelerator: &Accelerator, layers: &[Layer]) -> Result<Self, HardwareError> {
        let mut seen = std::collections::HashSet::new();
        let unique: Vec<Layer> =
            layers.iter().filter(|layer| seen.insert(LayerKey::of(layer))).cloned().collect();
        let costs = accelerator.price_layers(&unique)?;
        let rows = unique.iter().zip(&costs).map(|(layer, cost)| Row::new(layer, cost));
        Ok(Self::from_unique(Provenance::of(accelerator)?, rows.collect()))
    }

    /// Prices everything a space can reach.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn for_space(accelerator: &Accelerator, space: &SearchSpace) -> Result<Self, HardwareError> {
        let mut table = Self::build(accelerator, &reachable_layers(space))?;
        table.provenance.space = space.name().to_owned();
        table.provenance.space_hash = space.hash();
        Ok(table)
    }

    /// A table of measured or imported rows.
    ///
    /// # Errors
    /// A cost that is negative or not finite, or a second row for a layer; positions count from 1.
    pub fn from_rows(provenance: Provenance, rows: Vec<Row>) -> Result<Self, HardwareError> {
        let numbered = rows.into_iter().enumerate().map(|(position, row)| (position + 1, row));
        Self::from_lines(provenance, numbered)
    }

    pub(crate) fn from_lines(
        provenance: Provenance,
        rows: impl Iterator<Item = (usize, Row)>,
    ) -> Result<Self, HardwareError> {
        let mut lines: HashMap<LayerKey, usize> = HashMap::new();
        let mut kept = vec![];
        for (line, row) in rows {
            row.check(line)?;
            if let Some(first_line) = lines.insert(row.key, line) {
                return Err(HardwareError::DuplicateRow { line, first_line, layer: row.key.to_string() });
            }
            kept.push(row);
        }
        Ok(Self::from_unique(provenance, kept))
    }

    fn from_unique(provenance: Provenance, rows: Vec<Row>) -> Self {
        let index = rows.iter().enumerate().map(|(position, row)| (row.key, position)).collect();
        Self { provenance, rows, index }
    }

    /// The same table with every latency multiplied, as a note tells.
    ///
    /// # Errors
    /// [`HardwareError::ImpossibleValue`] for a factor that is not finite and above 0.
    pub fn scaled(mut self, factor: f64, note: &str) -> Result<Self, HardwareError> {
        if !(factor.is_finite() && factor > 0.0) {
            let (key, expected) = ("factor".to_owned(), "a finite number above 0".to_owned());
            return Err(HardwareError::ImpossibleValue { key, expected, got: factor.to_string() });
        }
        self.rows.iter_mut().for_each(|row| row.latency_ms = Milliseconds(row.latency_ms.0 * factor));
        self.provenance.notes.push(note.to_owned());
        Ok(self)
    }

    /// The rows in their order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a layer.
    pub fn get(&self, layer: &Layer) -> Option<&Row> {
        let key = LayerKey::of(layer);
        let key = if self.provenance.marks_first { key } else { LayerKey { first: false, ..key } };
        self.index.get(&key).map(|&position| &self.rows[position])
    }

    /// Refuses if layers have no row.
    ///
    /// # Errors
    /// [`HardwareError::MissingRows`] with the first few and the command that makes them.
    pub fn check_covers(&self, layers: &[Layer]) -> Result<(), HardwareError> {
        let missing: Vec<_> = layers.iter().filter(|layer| self.get(layer).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let first = missing.iter().take(NAMED_ROWS).map(|layer| LayerKey::of(layer).to_string()).collect();
        Err(HardwareError::MissingRows { count: missing.len(), first, command: self.provenance.command() })
    }

    /// The cost of a network, every layer counted.
    ///
    /// # Errors
    /// [`HardwareError::MissingRows`].
    pub fn price(&self, workload: &Workload) -> Result<Costs, HardwareError> {
        self.price_as(workload, Accounting::Full)
    }

    /// The cost of a network under one of the accountings; the peak is always the whole network's.
    ///
    /// # Errors
    /// [`HardwareError::MissingRows`].
    pub fn price_as(&self, workload: &Workload, accounting: Accounting) -> Result<Costs, HardwareError> {
        let counted = |layer: &&Layer| accounting.counts(layer.role);
        let layers: Vec<Layer> = workload.layers.iter().filter(counted).cloned().collect();
        self.check_covers(&layers)?;
        let groups = layers.chunk_by(|one, next| group(one.role) == group(next.role));
        let mut total = groups.fold(Costs::default(), |sum, layers| sum + self.group_costs(layers));
        total.peak_activation_bytes = Costs::analytic(workload).peak_activation_bytes;
        Ok(total)
    }

    /// One block, or the fixed layers before or after the blocks. Depthwise layers are added last, so that the sum
    /// is bit for bit that of [`CandidatePricer`](crate::CandidatePricer), which keeps them apart.
    pub(crate) fn group_costs(&self, layers: &[Layer]) -> Costs {
        let depthwise = |layer: &&Layer| matches!(layer.role, Role::Depthwise { .. });
        let (last, first): (Vec<&Layer>, Vec<&Layer>) = layers.iter().partition(depthwise);
        let first = self.sum(&first);
        if last.is_empty() { first } else { first + self.sum(&last) }
    }

    fn sum(&self, layers: &[&Layer]) -> Costs {
        layers.iter().fold(Costs::default(), |sum, layer| sum + self.layer_costs(layer))
    }

    /// A layer without a row costs NaN; callers have checked that there is none, or refuse NaN.
    fn layer_costs(&self, layer: &Layer) -> Costs {
        let analytic = Costs::analytic(&Workload { layers: vec![layer.clone()] });
        let (cycles, latency_ms, energy_mj) = match self.get(layer) {
            Some(row) => (row.cycles, row.latency_ms, row.energy_mj),
            None => (Cycles::ZERO, Milliseconds(f64::NAN), Millijoules(f64::NAN)),
        };
        Costs { cycles, latency_ms, energy_mj, ..analytic }
    }

    /// Whether any layer of the network has a price outside what its source was checked on.
    pub fn extrapolates(&self, workload: &Workload) -> bool {
        workload.layers.iter().any(|layer| self.get(layer).is_some_and(|row| row.extrapolated))
    }
}

/// Layers that are summed before they are added to the total.
fn group(role: Role) -> usize {
    match role {
        Role::Stem | Role::StemDepthwise | Role::StemProject => 0,
        Role::Expand { block } | Role::Depthwise { block } | Role::Project { block } => block + 1,
        Role::Head | Role::Classifier | Role::Other => usize::MAX,
    }
}

impl Row {
    /// A priced layer.
    pub fn new(layer: &Layer, cost: &LayerCost) -> Self {
        Self {
            key: LayerKey::of(layer),
            cycles: cost.cycles,
            latency_ms: cost.latency,
            energy_mj: cost.energy,
            extrapolated: cost.extrapolated,
        }
    }

    fn check(&self, line: usize) -> Result<(), HardwareError> {
        let costs = [("latency_ms", self.latency_ms.0), ("energy_mj", self.energy_mj.0)];
        match costs.into_iter().find(|(_, cost)| !(cost.is_finite() && *cost >= 0.0)) {
            Some((column, cost)) => {
                Err(HardwareError::BadCost { line, column: column.to_owned(), got: cost.to_string() })
            }
            None => Ok(()),
        }
    }
}

impl Provenance {
    /// That of prices on a chip.
    ///
    /// # Errors
    /// [`HardwareError::UnknownModel`] if the chip's fields were set by hand.
    pub fn of(accelerator: &Accelerator) -> Result<Self, HardwareError> {
        Ok(Self {
            hardware: accelerator.name.clone(),
            spec_hash: accelerator.hash(),
            model: accelerator.model_version()?,
            batch: accelerator.batch,
            marks_first: true,
            ..Self::default()
        })
    }

    /// The command that makes such a table.
    pub fn command(&self) -> String {
        let space = if self.space.is_empty() { "SPACE" } else { &self.space };
        let hardware = if self.hardware.is_empty() { "HARDWARE" } else { &self.hardware };
        format!(
            "sartor profile --space {space} --hardware {hardware} --batch {} --out costs.csv",
            self.batch.max(1)
        )
    }
}
