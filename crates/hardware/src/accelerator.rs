//! # Accelerators: chips as data
//!
//! A specification is a TOML file. `name`, `model`, `batch_images` and `[clock]` are common to all; the rest
//! belongs to the model. Every key ends in its unit, an unknown key or an impossible value is an error, and what is
//! read is a checked [`Accelerator`].

mod section;

use sartor_space::{Layer, Workload};
use sha2::{Digest, Sha256};

pub use section::Section;

use crate::HardwareError;
use crate::cost::{Costs, LayerCost};
use crate::models::{self, CostModel, Parameters};

/// Specifications that ship with the program: name and TOML text.
const PRESETS: &[(&str, &str)] = &[
    ("bitfusion-apq", include_str!("../specs/bitfusion-apq.toml")),
    ("bitfusion-public", include_str!("../specs/bitfusion-public.toml")),
    ("roofline-example", include_str!("../specs/roofline-example.toml")),
];

/// Largest batch taken for meant.
const LARGEST_BATCH: u64 = 1 << 16;
/// Keys that every specification has.
const COMMON_KEYS: &[&str] = &["name", "model", "batch_images", "clock"];
const HASH_DIGITS: usize = 12;

/// A checked chip.
#[derive(Debug, Clone, PartialEq)]
pub struct Accelerator {
    /// Name of the specification.
    pub name: String,
    /// Name of the cost model.
    pub model: String,
    /// Images per inference; latency and energy are for all of them together.
    pub batch: u64,
    /// Clock in MHz.
    pub clock_mhz: f64,
    /// The model's own numbers.
    pub parameters: Parameters,
}

impl Accelerator {
    /// A specification that ships with the program.
    ///
    /// # Errors
    /// [`HardwareError::UnknownPreset`] with the nearest name.
    pub fn preset(name: &str) -> Result<Self, HardwareError> {
        match PRESETS.iter().find(|(preset, _)| *preset == name) {
            Some((_, text)) => Self::from_toml(text),
            None => {
                Err(HardwareError::UnknownPreset { name: name.to_owned(), known: Self::presets().collect() })
            }
        }
    }

    /// Names of the specifications that ship with the program.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// Text of a specification that ships with the program, to start one's own from.
    pub fn preset_toml(name: &str) -> Option<&'static str> {
        PRESETS.iter().find(|(preset, _)| *preset == name).map(|(_, text)| *text)
    }

    /// Reads and checks a specification.
    ///
    /// # Errors
    /// Bad TOML; a missing, unknown or impossible key; an unknown model.
    pub fn from_toml(text: &str) -> Result<Self, HardwareError> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| HardwareError::SpecSyntax { message: error.to_string() })?;
        let spec = Section::new("", &table);
        let model = models::model(&spec.text("model")?)?;
        spec.allow(&[COMMON_KEYS, model.sections()].concat())?;
        let name = spec.text("name")?;
        let batch = spec.integer("batch_images", 1..=LARGEST_BATCH)?;
        let clock_mhz = read_clock(&spec)?;
        let parameters = model.parameters(&spec)?;
        Ok(Self { name, model: model.name().to_owned(), batch, clock_mhz, parameters })
    }

    /// The same chip at another batch.
    ///
    /// # Errors
    /// [`HardwareError::ImpossibleValue`] for 0 and absurdly large batches.
    pub fn with_batch(self, batch: u64) -> Result<Self, HardwareError> {
        if (1..=LARGEST_BATCH).contains(&batch) {
            return Ok(Self { batch, ..self });
        }
        Err(HardwareError::ImpossibleValue {
            key: "batch_images".into(),
            expected: format!("1 to {LARGEST_BATCH}"),
            got: batch.to_string(),
        })
    }

    /// 12 hex digits that change with every number of the chip.
    pub fn hash(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}"));
        digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..HASH_DIGITS].to_owned()
    }

    /// Name and version of the cost model, as tables record it.
    ///
    /// # Errors
    /// [`HardwareError::UnknownModel`] if the fields were set by hand.
    pub fn model_version(&self) -> Result<String, HardwareError> {
        self.cost_model().map(|model| format!("{} {}", model.name(), model.version()))
    }

    fn cost_model(&self) -> Result<&'static dyn CostModel, HardwareError> {
        models::model(&self.model)
    }

    /// The cost of one layer.
    ///
    /// # Errors
    /// Bit-widths or shapes that the chip cannot run.
    pub fn price_layer(&self, layer: &Layer) -> Result<LayerCost, HardwareError> {
        self.cost_model()?.price(self, layer)
    }

    /// The costs of many layers, in their order.
    ///
    /// # Errors
    /// As [`price_layer`](Self::price_layer), for the first layer that fails.
    pub fn price_layers(&self, layers: &[Layer]) -> Result<Vec<LayerCost>, HardwareError> {
        self.cost_model()?.price_all(self, layers)
    }

    /// The cost of a network, every layer counted.
    ///
    /// # Errors
    /// As [`price_layer`](Self::price_layer), for the first layer that fails.
    pub fn price(&self, workload: &Workload) -> Result<Costs, HardwareError> {
        crate::CostTable::build(self, &workload.layers)?.price(workload)
    }
}

fn read_clock(spec: &Section<'_>) -> Result<f64, HardwareError> {
    spec.section("clock", &["frequency_mhz"])?.positive("frequency_mhz")
}
