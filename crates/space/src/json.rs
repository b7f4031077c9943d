//! # Candidates as JSON, and as option names
//!
//! One object: `{"space": "apq", "blocks": [null, {"kernel": 5, "width": 96, "pointwise_weight_bits": 8, …}]}`,
//! one entry per searched block in order; without any bit field the candidate is full precision.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::SpaceError;
use crate::candidate::{Block, BlockBits, Candidate, QuantPolicy, Subnet};
use crate::checks::parse_option;
use crate::search_space::{SearchSpace, hex};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CandidateText {
    space: String,
    blocks: Vec<Option<BlockText>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockText {
    kernel: usize,
    width: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointwise_weight_bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointwise_activation_bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depthwise_weight_bits: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depthwise_activation_bits: Option<u8>,
}

impl BlockText {
    fn bits(&self) -> Option<Option<BlockBits>> {
        let fields = [
            self.pointwise_weight_bits,
            self.pointwise_activation_bits,
            self.depthwise_weight_bits,
            self.depthwise_activation_bits,
        ];
        match fields {
            [None, None, None, None] => Some(None),
            [Some(a), Some(b), Some(c), Some(d)] => Some(Some(BlockBits::from_fields([a, b, c, d]))),
            _ => None,
        }
    }
}

impl Candidate {
    /// The one-line JSON object.
    pub fn to_json(&self, space: &SearchSpace) -> String {
        let text = CandidateText {
            space: space.name().into(),
            blocks: (0..self.subnet.blocks.len()).map(|index| self.block_text(index)).collect(),
        };
        serde_json::to_string(&text).unwrap_or_default()
    }

    fn block_text(&self, index: usize) -> Option<BlockText> {
        let block = self.subnet.blocks[index]?;
        let bits = self.policy.as_ref().map(|policy| policy.blocks[index]);
        Some(BlockText {
            kernel: block.kernel,
            width: block.width,
            pointwise_weight_bits: bits.map(|bits| bits.pointwise_weight),
            pointwise_activation_bits: bits.map(|bits| bits.pointwise_activation),
            depthwise_weight_bits: bits.map(|bits| bits.depthwise_weight),
            depthwise_activation_bits: bits.map(|bits| bits.depthwise_activation),
        })
    }

    /// Reads the JSON object and checks it against the space.
    ///
    /// # Errors
    /// [`SpaceError::Syntax`], [`SpaceError::OtherSpace`], [`SpaceError::BlockCount`] or
    /// [`SpaceError::Outside`].
    pub fn from_json(text: &str, space: &SearchSpace) -> Result<Self, SpaceError> {
        let text: CandidateText = serde_json::from_str(text)
            .map_err(|error| SpaceError::Syntax { what: "candidate", message: error.to_string() })?;
        if text.space != space.name() {
            return Err(SpaceError::OtherSpace { got: text.space, expected: space.name().into() });
        }
        let candidate = from_text(&text, space)?;
        space.contains(&candidate)?;
        Ok(candidate)
    }

    /// Twelve hex digits that name the candidate: equal networks have equal names.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for (index, block) in self.subnet.blocks.iter().enumerate() {
            let Some(block) = block else {
                hash.update([0]);
                continue;
            };
            let bits = self.policy.as_ref().map_or([32; 4], |policy| policy.blocks[index].fields());
            hash.update([1]);
            hash.update((block.kernel as u64).to_le_bytes());
            hash.update((block.width as u64).to_le_bytes());
            hash.update(bits);
        }
        hex(&hash.finalize()[..6])
    }
}

fn from_text(text: &CandidateText, space: &SearchSpace) -> Result<Candidate, SpaceError> {
    let mut bits = vec![];
    for (index, block) in text.blocks.iter().enumerate() {
        let Some(block) = block else {
            bits.push(None);
            continue;
        };
        bits.push(block.bits().ok_or_else(|| {
            space.outside(index, "bits", "only some of the four fields".into(), "all four or none".into())
        })?);
    }
    let blocks: Vec<Option<Block>> = text
        .blocks
        .iter()
        .map(|block| block.as_ref().map(|block| Block { kernel: block.kernel, width: block.width }))
        .collect();
    let policy = policy_of(&blocks, &bits, space)?;
    Ok(Candidate { subnet: Subnet { blocks }, policy })
}

fn policy_of(
    blocks: &[Option<Block>],
    bits: &[Option<BlockBits>],
    space: &SearchSpace,
) -> Result<Option<QuantPolicy>, SpaceError> {
    let active = || blocks.iter().zip(bits).enumerate().filter(|(_, (block, _))| block.is_some());
    if active().all(|(_, (_, bits))| bits.is_none()) {
        return Ok(None);
    }
    if let Some((index, _)) = active().find(|(_, (_, bits))| bits.is_none()) {
        return Err(space.outside(index, "bits", "missing".into(), "bits in every block or in none".into()));
    }
    Ok(Some(QuantPolicy { blocks: bits.iter().map(|bits| bits.unwrap_or(space.idle_bits())).collect() }))
}

impl SearchSpace {
    /// Reads one block written as `skip` or `k5e6`, as in the columns `block_0 … block_N` of a pairs table.
    ///
    /// # Errors
    /// [`SpaceError::Outside`] if the block has no such option.
    pub fn block_from_option(&self, index: usize, name: &str) -> Result<Option<Block>, SpaceError> {
        let Some(choices) = self.blocks().get(index) else {
            return Err(SpaceError::BlockCount {
                space: self.name().into(),
                got: index + 1,
                expected: self.blocks().len(),
            });
        };
        let name = name.trim();
        if name == "skip" && choices.skippable {
            return Ok(None);
        }
        let offered = || -> String { choices.options.all().iter().map(|b| format!("{b:?} ")).collect() };
        let outside =
            || self.outside(index, "option", format!("`{name}`"), format!("one of {}", offered().trim_end()));
        let block = parse_option(choices.in_channels, name, "option").map_err(|_| outside())?;
        choices.options.position(block).map(|_| Some(block)).ok_or_else(outside)
    }
}
