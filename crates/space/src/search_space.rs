//! # The search space: checked, and the single source of every shape
//!
//! Read from TOML, checked once, immutable afterwards. Presets of the papers: `apq` (APQ/EMS, section
//! 5), `gong` (Gong and others, table I) and `proxyless` (ProxylessNAS, section 2); the others are cut down to small images.

use sha2::{Digest, Sha256};

use crate::SpaceError;
use crate::candidate::{Block, BlockBits, Candidate, QuantPolicy, Subnet};
use crate::checks::{check_bits, check_ends, check_stages};
use crate::choices::{BitChoices, BlockChoices, Depth, Options, Stage};
use crate::encoding::Encoding;
use crate::specification::{Forbid, Specification};

/// Presets that ship with the program: name and TOML text.
const PRESETS: &[(&str, &str)] = &[
    ("quickstart", include_str!("../presets/quickstart.toml")),
    ("quickstart-elastic", include_str!("../presets/quickstart-elastic.toml")),
    ("micro", include_str!("../presets/micro.toml")),
    ("micro-32", include_str!("../presets/micro-32.toml")),
    ("cifar", include_str!("../presets/cifar.toml")),
    ("apq", include_str!("../presets/apq.toml")),
    ("gong", include_str!("../presets/gong.toml")),
    ("gong-28", include_str!("../presets/gong-28.toml")),
    ("gong-32", include_str!("../presets/gong-32.toml")),
    ("proxyless", include_str!("../presets/proxyless.toml")),
    ("proxyless-28", include_str!("../presets/proxyless-28.toml")),
    ("proxyless-32", include_str!("../presets/proxyless-32.toml")),
];

/// Shape of the images and number of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Side in pixels.
    pub size: usize,
    /// Colour channels.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
}

/// The fixed layers on the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stem {
    /// Output channels of the 3×3 convolution.
    pub out_channels: usize,
    /// Its stride.
    pub stride: usize,
    /// Output channels of the fixed separable block after it, if there is one.
    pub separable_out_channels: Option<usize>,
}

impl Stem {
    /// Channels that reach the first searched block.
    pub fn final_channels(&self) -> usize {
        self.separable_out_channels.unwrap_or(self.out_channels)
    }
}

/// The fixed layers after the last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Output channels of the last 1×1 convolution.
    pub channels: usize,
}

/// Everything that may be chosen.
#[derive(Debug, Clone)]
pub struct SearchSpace {
    specification: Specification,
    input: Input,
    stem: Stem,
    head: Head,
    stages: Vec<Stage>,
    blocks: Vec<BlockChoices>,
    bits: Option<BitChoices>,
    encoding: Encoding,
}

impl SearchSpace {
    /// A preset by name.
    ///
    /// # Errors
    /// [`SpaceError::UnknownPreset`] with the names there are.
    pub fn preset(name: &str) -> Result<Self, SpaceError> {
        match PRESETS.iter().find(|(preset, _)| *preset == name) {
            Some((_, text)) => Self::from_toml(text),
            None => Err(SpaceError::UnknownPreset {
                name: name.into(),
                presets: Self::presets().map(String::from).collect(),
            }),
        }
    }

    /// Names of the presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// Reads and checks the TOML form (see the crate's presets for the keys).
    ///
    /// # Errors
    /// [`SpaceError::Syntax`] for unknown keys and wrong types, [`SpaceError::Impossible`] for values that make
    /// no network.
    pub fn from_toml(text: &str) -> Result<Self, SpaceError> {
        let specification: Specification = toml::from_str(text)
            .map_err(|error| SpaceError::Syntax { what: "search space", message: error.to_string() })?;
        Self::from_specification(specification)
    }

    fn from_specification(specification: Specification) -> Result<Self, SpaceError> {
        let (input, stem, head) = check_ends(&specification)?;
        let (stages, blocks) = check_stages(&specification, &input, &stem)?;
        let bits = specification.bits.as_ref().map(|bits| check_bits(bits, &blocks)).transpose()?;
        let encoding = Encoding::new(&blocks, bits.as_ref());
        Ok(Self { specification, input, stem, head, stages, blocks, bits, encoding })
    }

    /// The space without what `allowed` refuses: `allowed(layer)` is asked about every layer that a choice of widths
    /// and bits lowers to.
    ///
    /// Widths that nothing allowed uses leave the lists; combinations of bits that a block may not have are forbidden.
    /// Expanded widths are not cut one by one: a width that no bits allow takes its block's choice away.
    ///
    /// # Errors
    /// [`SpaceError::Impossible`] if nothing is left somewhere.
    pub fn cut(&self, allowed: &dyn Fn(&crate::Layer) -> bool) -> Result<Self, SpaceError> {
        let (Some(bits), Some(choices)) = (&self.specification.bits, &self.bits) else {
            return Ok(self.clone());
        };
        let mut kernels: Vec<usize> =
            self.blocks.iter().flat_map(|block| block.options.all()).map(|block| block.kernel).collect();
        kernels.sort_unstable();
        kernels.dedup();
        let mut cut = bits.clone();
        let mut used = vec![];
        for &kernel in &kernels {
            for &combination in choices.legal(kernel) {
                if self.blocks_allow(kernel, combination, allowed) {
                    used.push(combination);
                } else {
                    cut.forbid.push(Forbid::exactly(kernel, combination));
                }
            }
        }
        let in_use = |field: &dyn Fn(&BlockBits) -> [u8; 2], bits: u8| {
            used.iter().any(|own| field(own).contains(&bits))
        };
        cut.weights.retain(|&bits| in_use(&|own| [own.pointwise_weight, own.depthwise_weight], bits));
        cut.activations
            .retain(|&bits| in_use(&|own| [own.pointwise_activation, own.depthwise_activation], bits));
        let still = |list: &[u8], bits: Option<u8>| bits.is_none_or(|bits| list.contains(&bits));
        cut.forbid.retain(|rule| {
            [rule.pointwise_weight_bits, rule.depthwise_weight_bits]
                .into_iter()
                .all(|bits| still(&cut.weights, bits))
                && [rule.pointwise_activation_bits, rule.depthwise_activation_bits]
                    .into_iter()
                    .all(|bits| still(&cut.activations, bits))
        });
        Self::from_specification(Specification { bits: Some(cut), ..self.specification.clone() })
    }

    /// Whether every block can have these bits with this kernel, whatever its width.
    fn blocks_allow(&self, kernel: usize, bits: BlockBits, allowed: &dyn Fn(&crate::Layer) -> bool) -> bool {
        (0..self.blocks.len()).all(|index| {
            let options = self.blocks[index].options.all();
            let mut own = options.into_iter().filter(|block| block.kernel == kernel);
            own.all(|block| self.lower_block(index, block, Some(bits)).iter().all(allowed))
        })
    }

    /// Name of the space.
    pub fn name(&self) -> &str {
        &self.specification.name
    }

    /// Image shape and classes.
    pub fn input(&self) -> Input {
        self.input
    }

    /// Fixed first layers.
    pub fn stem(&self) -> Stem {
        self.stem
    }

    /// Fixed last layers.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The stages in order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The searched blocks in order.
    pub fn blocks(&self) -> &[BlockChoices] {
        &self.blocks
    }

    /// Bit-widths on offer, or `None` for full precision only.
    pub fn bits(&self) -> Option<&BitChoices> {
        self.bits.as_ref()
    }

    /// The one-hot encoding.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// The canonical TOML text; equal spaces give equal text.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.specification).unwrap_or_default()
    }

    /// SHA-256 of [`to_toml`](Self::to_toml), 16 hex digits.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(self.to_toml())[..8])
    }

    /// Every block active with its largest width and kernel.
    pub fn largest(&self) -> Subnet {
        Subnet { blocks: self.blocks.iter().map(|block| Some(block.options.largest())).collect() }
    }

    /// As few blocks as allowed, each with its smallest width and kernel.
    pub fn smallest(&self) -> Subnet {
        let mut blocks: Vec<_> = self.blocks.iter().map(|block| Some(block.options.smallest())).collect();
        for stage in &self.stages {
            for index in stage.range() {
                let inactive = match &stage.depth {
                    Depth::Prefix(depths) => index - stage.first_block >= depths[0],
                    Depth::AnyBlock => self.blocks[index].skippable,
                };
                if inactive {
                    blocks[index] = None;
                }
            }
        }
        Subnet { blocks }
    }

    /// The legal policy nearest to `bits` everywhere, or `None` if the space is full precision only.
    pub fn uniform_policy(&self, subnet: &Subnet, bits: u8) -> Option<QuantPolicy> {
        let choices = self.bits.as_ref()?;
        let pick = |block: &Option<Block>| match block {
            Some(block) => choices.nearest(block.kernel, BlockBits::uniform(bits)),
            None => Some(choices.widest()),
        };
        Some(QuantPolicy { blocks: subnet.blocks.iter().map(pick).collect::<Option<_>>()? })
    }

    /// Number of distinct candidates (as a float: `apq` has about 10^60).
    pub fn cardinality(&self) -> f64 {
        self.stages.iter().map(|stage| self.stage_cardinality(stage)).product()
    }

    fn stage_cardinality(&self, stage: &Stage) -> f64 {
        let counts: Vec<f64> = stage.range().map(|index| self.block_cardinality(index)).collect();
        match &stage.depth {
            Depth::Prefix(depths) => {
                depths.iter().map(|&depth| counts[..depth].iter().product::<f64>()).sum()
            }
            Depth::AnyBlock => {
                let skip = |index: usize| f64::from(u8::from(self.blocks[index].skippable));
                stage.range().zip(&counts).map(|(index, count)| count + skip(index)).product()
            }
        }
    }

    fn block_cardinality(&self, index: usize) -> f64 {
        let options = self.blocks[index].options.all();
        let policies = |block: &Block| self.bits.as_ref().map_or(1, |bits| bits.legal(block.kernel).len());
        options.iter().map(|block| policies(block) as f64).sum()
    }

    /// Whether a supernet can be built: a block that changes the tensor's shape must not be skippable.
    ///
    /// # Errors
    /// [`SpaceError::NotTrainable`] with the first such block.
    pub fn check_trainable(&self) -> Result<(), SpaceError> {
        match self.blocks.iter().position(|block| block.skippable && !block.residual() && block.position == 0)
        {
            Some(block) => Err(SpaceError::NotTrainable { space: self.name().into(), block }),
            None => Ok(()),
        }
    }

    /// Checks that a candidate is in the space.
    ///
    /// # Errors
    /// [`SpaceError::BlockCount`] or [`SpaceError::Outside`] with the first offence.
    pub fn contains(&self, candidate: &Candidate) -> Result<(), SpaceError> {
        self.contains_subnet(&candidate.subnet)?;
        match &candidate.policy {
            Some(policy) => self.contains_policy(&candidate.subnet, policy),
            None => Ok(()),
        }
    }

    /// Checks the architecture alone.
    ///
    /// # Errors
    /// As [`contains`](Self::contains).
    pub fn contains_subnet(&self, subnet: &Subnet) -> Result<(), SpaceError> {
        self.check_count(subnet.blocks.len())?;
        for (index, block) in subnet.active() {
            if self.blocks[index].options.position(block).is_none() {
                let expected = describe(&self.blocks[index].options);
                return Err(self.outside(index, "block", describe_block(block), expected));
            }
        }
        self.stages.iter().try_for_each(|stage| self.contains_depth(stage, subnet))
    }

    fn contains_depth(&self, stage: &Stage, subnet: &Subnet) -> Result<(), SpaceError> {
        let active: Vec<bool> = stage.range().map(|index| subnet.blocks[index].is_some()).collect();
        match &stage.depth {
            Depth::Prefix(depths) => {
                let depth = active.iter().take_while(|&&active| active).count();
                let prefix = active[depth..].iter().all(|&active| !active);
                if prefix && depths.contains(&depth) {
                    return Ok(());
                }
                let got = if prefix { depth.to_string() } else { "not a prefix of the stage".into() };
                Err(self.outside(stage.first_block, "stage depth", got, format!("one of {depths:?}")))
            }
            Depth::AnyBlock => match stage
                .range()
                .find(|&i| !active[i - stage.first_block] && !self.blocks[i].skippable)
            {
                Some(index) => Err(self.outside(index, "block", "skipped".into(), "an active block".into())),
                None => Ok(()),
            },
        }
    }

    fn contains_policy(&self, subnet: &Subnet, policy: &QuantPolicy) -> Result<(), SpaceError> {
        self.check_count(policy.blocks.len())?;
        let Some(bits) = &self.bits else {
            return Err(self.outside(
                0,
                "bits",
                "given".into(),
                "none: the space is full precision only".into(),
            ));
        };
        for (index, block) in subnet.active() {
            if !bits.legal(block.kernel).contains(&policy.blocks[index]) {
                let choices: Vec<_> = bits.slots().iter().map(|slot| slot.choices.clone()).collect();
                let got = format!("{:?} with kernel {}", policy.blocks[index].fields(), block.kernel);
                return Err(self.outside(
                    index,
                    "bits",
                    got,
                    format!("an allowed combination of {choices:?}"),
                ));
            }
        }
        Ok(())
    }

    fn check_count(&self, got: usize) -> Result<(), SpaceError> {
        if got == self.blocks.len() {
            return Ok(());
        }
        Err(SpaceError::BlockCount { space: self.name().into(), got, expected: self.blocks.len() })
    }

    pub(crate) fn outside(
        &self,
        block: usize,
        field: &'static str,
        got: String,
        expected: String,
    ) -> SpaceError {
        SpaceError::Outside { space: self.name().into(), block, field, got, expected }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn describe_block(block: Block) -> String {
    format!("kernel {} width {}", block.kernel, block.width)
}

fn describe(options: &Options) -> String {
    match options {
        Options::Grid { kernels, widths } => format!("kernel in {kernels:?} and width in {widths:?}"),
        Options::List(blocks) => {
            let names: Vec<_> = blocks.iter().map(|&block| describe_block(block)).collect();
            format!("one of: {}", names.join(", "))
        }
    }
}
