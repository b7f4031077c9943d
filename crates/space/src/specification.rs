//! The TOML form of a search space, exactly as typed; meaning and checks are in
//! [`search_space`](crate::search_space).

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Specification {
    pub name: String,
    pub input: InputSpecification,
    pub stem: StemSpecification,
    pub stage: Vec<StageSpecification>,
    pub head: HeadSpecification,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<BitsSpecification>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpecification {
    pub size: usize,
    pub channels: usize,
    pub classes: usize,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StemSpecification {
    pub out_channels: usize,
    pub stride: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separable_out_channels: Option<usize>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StageSpecification {
    pub out_channels: usize,
    pub stride: usize,
    pub blocks: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<Vec<usize>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Vec<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<WidthSpecification>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WidthSpecification {
    pub from: f64,
    pub to: f64,
    pub step: usize,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpecification {
    pub channels: usize,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BitsSpecification {
    pub weights: Vec<u8>,
    pub activations: Vec<u8>,
    #[serde(default = "both_groups")]
    pub groups: Vec<Group>,
    #[serde(default)]
    pub tied: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forbid: Vec<Forbid>,
}

fn both_groups() -> Vec<Group> {
    vec![Group::Pointwise, Group::Depthwise]
}

/// Layers that share a bit-width; `all` stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    Pointwise,
    Depthwise,
    All,
}

impl Forbid {
    /// Just this combination.
    pub fn exactly(kernel: usize, bits: crate::BlockBits) -> Self {
        Self {
            kernel: Some(kernel),
            pointwise_weight_bits: Some(bits.pointwise_weight),
            pointwise_activation_bits: Some(bits.pointwise_activation),
            depthwise_weight_bits: Some(bits.depthwise_weight),
            depthwise_activation_bits: Some(bits.depthwise_activation),
        }
    }
}

/// A combination that may not occur in a block: every given field must match.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Forbid {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointwise_weight_bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointwise_activation_bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depthwise_weight_bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depthwise_activation_bits: Option<u8>,
}
