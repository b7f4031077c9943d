//! # Cost models
//!
//! A model prices one layer on one accelerator. Adding one is a file here, a variant of [`Parameters`] if its chip
//! is described by other numbers, and a line in [`MODELS`]; the conformance suite then runs over it.

pub mod bitfusion;
pub mod bitfusion_apq;
pub mod bitfusion_public;
pub mod roofline;
pub mod tiling;

use sartor_space::Layer;

use crate::accelerator::Section;
use crate::cost::LayerCost;
use crate::{Accelerator, HardwareError};

/// Every model there is.
pub const MODELS: &[&dyn CostModel] =
    &[&bitfusion_apq::BitFusionApq, &bitfusion_public::BitFusionPublic, &roofline::RooflineModel];

/// What a specification says beyond name, batch and clock.
#[derive(Debug, Clone, PartialEq)]
pub enum Parameters {
    /// A bit-composable array behind three buffers.
    BitFusion(bitfusion::BitFusion),
    /// Peak rate and bandwidth only.
    Roofline(roofline::Roofline),
}

/// Prices one layer on one accelerator.
pub trait CostModel: Sync {
    /// The name a specification's `model` key gives.
    fn name(&self) -> &'static str;

    /// Raised whenever a price changes; recorded in every table.
    fn version(&self) -> u32;

    /// Names of the model's own sections of a specification.
    fn sections(&self) -> &'static [&'static str];

    /// Reads the model's own sections of a specification.
    ///
    /// # Errors
    /// A missing or unknown key, or an impossible value.
    fn parameters(&self, spec: &Section<'_>) -> Result<Parameters, HardwareError>;

    /// The cost of one layer for the accelerator's whole batch.
    ///
    /// # Errors
    /// Bit-widths or shapes that the chip cannot run.
    fn price(&self, accelerator: &Accelerator, layer: &Layer) -> Result<LayerCost, HardwareError>;

    /// The costs of many layers, in their order; equal to [`price`](Self::price) one by one.
    ///
    /// # Errors
    /// As [`price`](Self::price), for the first layer that fails.
    fn price_all(
        &self,
        accelerator: &Accelerator,
        layers: &[Layer],
    ) -> Result<Vec<LayerCost>, HardwareError> {
        layers.iter().map(|layer| self.price(accelerator, layer)).collect()
    }
}

/// The model of that name.
///
/// # Errors
/// [`HardwareError::UnknownModel`] with the nearest name.
pub fn model(name: &str) -> Result<&'static dyn CostModel, HardwareError> {
    MODELS.iter().copied().find(|model| model.name() == name).ok_or_else(|| HardwareError::UnknownModel {
        name: name.to_owned(),
        known: MODELS.iter().map(|model| model.name()).collect(),
    })
}
