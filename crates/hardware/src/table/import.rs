//! # Importing tables made elsewhere
use super::CostTable;
use crate::HardwareError;
/// x
pub fn import_dictionary(_text: &str) -> Result<CostTable, HardwareError> { unimplemented!() }
/// x
pub fn import_per_layer(_text: &str) -> Result<CostTable, HardwareError> { unimplemented!() }
