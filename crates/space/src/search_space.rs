//! # The search space: checked, and the single source of every shape
//!
//! Read from TOML, checked once, immutable afterwards. The presets are `quickstart`, `cifar` and `apq`
//! (the last is the space of APQ/EMS, section 5).

use sha2::{Digest, Sha256};

use crate::SpaceError;
use crate::candidate::{Block, BlockBits, Candidate, QuantPolicy, Subnet};
use crate::choices::{BitChoices, BlockChoices, Depth, Options, Stage};
use crate::encoding::Encoding;
use crate::specification::{BitsSpecification, Group, Specification, StageSpecification};

/// Presets that ship with the program: name and TOML text.
const PRESETS: &[(&str, &str)] = &[
    ("quickstart", include_str!("../presets/quickstart.toml")),
    ("cifar", include_str!("../presets/cifar.toml")),
    ("apq", include_str!("../presets/apq.toml")),
];

/// Largest side, channel count and block count that a space may name: keeps every product far below overflow.
const MAX_SIZE: usize = 1024;
const MAX_CHANNELS: usize = 8192;
const MAX_CLASSES: usize = 65_536;
const MAX_BLOCKS: usize = 256;

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

fn impossible(key: impl Into<String>, got: impl ToString, expected: impl Into<String>) -> SpaceError {
    SpaceError::Impossible { key: key.into(), got: got.to_string(), expected: expected.into() }
}

fn within(key: &str, got: usize, low: usize, high: usize) -> Result<usize, SpaceError> {
    if (low..=high).contains(&got) { Ok(got) } else { Err(impossible(key, got, format!("{low} to {high}"))) }
}

fn check_ends(specification: &Specification) -> Result<(Input, Stem, Head), SpaceError> {
    let input = Input {
        size: within("input.size", specification.input.size, 1, MAX_SIZE)?,
        channels: within("input.channels", specification.input.channels, 1, 64)?,
        classes: within("input.classes", specification.input.classes, 2, MAX_CLASSES)?,
    };
    let separable = specification.stem.separable_out_channels;
    let stem = Stem {
        out_channels: within("stem.out_channels", specification.stem.out_channels, 1, MAX_CHANNELS)?,
        stride: within("stem.stride", specification.stem.stride, 1, 2)?,
        separable_out_channels: separable
            .map(|channels| within("stem.separable_out_channels", channels, 1, MAX_CHANNELS))
            .transpose()?,
    };
    let head = Head { channels: within("head.channels", specification.head.channels, 1, MAX_CHANNELS)? };
    Ok((input, stem, head))
}

fn check_stages(
    specification: &Specification,
    input: &Input,
    stem: &Stem,
) -> Result<(Vec<Stage>, Vec<BlockChoices>), SpaceError> {
    let (mut stages, mut blocks) = (vec![], vec![]);
    let (mut channels, mut size) = (stem.final_channels(), input.size.div_ceil(stem.stride));
    if specification.stage.is_empty() {
        return Err(impossible("stage", "empty", "at least one [[stage]]"));
    }
    for (index, stage) in specification.stage.iter().enumerate() {
        let key = |field: &str| format!("stage[{index}].{field}");
        within(&key("blocks"), stage.blocks, 1, MAX_BLOCKS)?;
        within(&key("out_channels"), stage.out_channels, 1, MAX_CHANNELS)?;
        within(&key("stride"), stage.stride, 1, 2)?;
        stages.push(Stage {
            first_block: blocks.len(),
            blocks: stage.blocks,
            depth: check_depth(index, stage)?,
        });
        for position in 0..stage.blocks {
            let place = Place { stage: index, position, channels, size };
            let block = check_block(&place, stage)?;
            size = size.div_ceil(block.stride);
            channels = block.out_channels;
            blocks.push(block);
        }
    }
    Ok((stages, blocks))
}

fn check_depth(index: usize, stage: &StageSpecification) -> Result<Depth, SpaceError> {
    let key = format!("stage[{index}].depth");
    let lists_skip = stage.options.iter().flatten().any(|option| option == "skip");
    match &stage.depth {
        Some(_) if stage.skip || lists_skip => {
            Err(impossible(key, "given together with skip", "either depth or skip"))
        }
        Some(depths) => {
            let depths = ascending(&key, depths)?;
            depths.iter().try_for_each(|&depth| within(&key, depth, 1, stage.blocks).map(drop))?;
            Ok(Depth::Prefix(depths))
        }
        None if stage.skip || lists_skip => Ok(Depth::AnyBlock),
        None => Ok(Depth::Prefix(vec![stage.blocks])),
    }
}

/// Where a block stands and what reaches it.
struct Place {
    stage: usize,
    position: usize,
    channels: usize,
    size: usize,
}

fn check_block(place: &Place, stage: &StageSpecification) -> Result<BlockChoices, SpaceError> {
    let stride = if place.position == 0 { stage.stride } else { 1 };
    let keeps_shape = stride == 1 && place.channels == stage.out_channels;
    let lists_skip = stage.options.iter().flatten().any(|option| option == "skip");
    Ok(BlockChoices {
        stage: place.stage,
        position: place.position,
        in_channels: place.channels,
        out_channels: stage.out_channels,
        stride,
        input_size: place.size,
        options: check_options(place, stage)?,
        skippable: lists_skip || (stage.skip && keeps_shape),
    })
}

fn check_options(place: &Place, stage: &StageSpecification) -> Result<Options, SpaceError> {
    let key = |field: &str| format!("stage[{}].{field}", place.stage);
    if let Some(options) = &stage.options {
        if stage.kernel.is_some() || stage.width.is_some() || stage.expand.is_some() {
            return Err(impossible(key("options"), "given together with kernel or width", "options alone"));
        }
        return list_options(place, options, &key("options"));
    }
    let kernels =
        stage.kernel.as_ref().ok_or_else(|| impossible(key("kernel"), "missing", "a list like [3, 5, 7]"))?;
    let kernels = ascending(&key("kernel"), kernels)?;
    kernels.iter().try_for_each(|&kernel| check_kernel(&key("kernel"), kernel))?;
    Ok(Options::Grid { kernels, widths: check_widths(place, stage)? })
}

fn check_widths(place: &Place, stage: &StageSpecification) -> Result<Vec<usize>, SpaceError> {
    let key = |field: &str| format!("stage[{}].{field}", place.stage);
    match (&stage.width, &stage.expand) {
        (Some(width), None) => {
            let low = check_width(&key("width.from"), width.from * place.channels as f64)?;
            let high = check_width(&key("width.to"), width.to * place.channels as f64)?;
            within(&key("width.step"), width.step, 1, MAX_CHANNELS)?;
            if low > high {
                return Err(impossible(key("width"), format!("{} to {}", width.from, width.to), "from ≤ to"));
            }
            (low..=high).step_by(width.step).map(|width| check_width(&key("width"), width as f64)).collect()
        }
        (None, Some(expand)) => {
            let width = |&ratio: &f64| check_width(&key("expand"), ratio * place.channels as f64);
            ascending(&key("expand"), &expand.iter().map(width).collect::<Result<Vec<_>, _>>()?)
        }
        (Some(_), Some(_)) => Err(impossible(key("width"), "given together with expand", "one of the two")),
        (None, None) => {
            Err(impossible(key("width"), "missing", "{ from = 4, to = 6, step = 8 } or expand = [...]"))
        }
    }
}

fn check_width(key: &str, width: f64) -> Result<usize, SpaceError> {
    let whole = width.round();
    let valid =
        (width - whole).abs() < 1e-9 && (2.0..=MAX_CHANNELS as f64).contains(&whole) && whole % 2.0 == 0.0;
    if valid {
        return Ok(whole as usize);
    }
    Err(impossible(
        key,
        format!("{width} expanded channels"),
        format!("an even number from 2 to {MAX_CHANNELS}"),
    ))
}

fn check_kernel(key: &str, kernel: usize) -> Result<(), SpaceError> {
    if [3, 5, 7].contains(&kernel) { Ok(()) } else { Err(impossible(key, kernel, "3, 5 or 7")) }
}

fn list_options(place: &Place, names: &[String], key: &str) -> Result<Options, SpaceError> {
    let wanted = names.iter().filter(|name| *name != "skip");
    let blocks = wanted.map(|name| parse_option(place.channels, name, key)).collect::<Result<Vec<_>, _>>()?;
    if blocks.is_empty() {
        return Err(impossible(key, "empty", "at least one option like \"k3e6\""));
    }
    match (1..blocks.len()).find(|&index| blocks[..index].contains(&blocks[index])) {
        Some(index) => {
            Err(impossible(key, format!("a list with {} twice", names[index]), "distinct options"))
        }
        None => Ok(Options::List(blocks)),
    }
}

/// Reads `k5e6`: kernel 5, expanded to 6 times the block's input channels.
pub(crate) fn parse_option(channels: usize, name: &str, key: &str) -> Result<Block, SpaceError> {
    let bad = || impossible(key, format!("`{name}`"), "`skip` or an option like `k5e6`");
    let (kernel, expand) = name.strip_prefix('k').and_then(|rest| rest.split_once('e')).ok_or_else(bad)?;
    let kernel = kernel.parse().map_err(|_| bad())?;
    check_kernel(key, kernel)?;
    let expand: f64 = expand.parse().map_err(|_| bad())?;
    Ok(Block { kernel, width: check_width(key, expand * channels as f64)? })
}

fn ascending<T: Copy + PartialOrd>(key: &str, values: &[T]) -> Result<Vec<T>, SpaceError> {
    if values.is_empty() {
        return Err(impossible(key, "empty", "at least one choice"));
    }
    if values.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(values.to_vec());
    }
    Err(impossible(key, "not in ascending order", "distinct choices, smallest first"))
}

fn check_bits(bits: &BitsSpecification, blocks: &[BlockChoices]) -> Result<BitChoices, SpaceError> {
    for (key, widths) in [("bits.weights", &bits.weights), ("bits.activations", &bits.activations)] {
        ascending(key, widths)?;
        widths.iter().try_for_each(|&width| within(key, width.into(), 2, 8).map(drop))?;
    }
    let both = [Group::Pointwise, Group::Depthwise].iter().all(|group| bits.groups.contains(group));
    if bits.groups != [Group::All] && !(both && bits.groups.len() == 2) {
        return Err(impossible(
            "bits.groups",
            format!("{:?}", bits.groups),
            "[\"pointwise\", \"depthwise\"] or [\"all\"]",
        ));
    }
    if bits.tied && bits.weights != bits.activations {
        return Err(impossible(
            "bits.activations",
            "another list than bits.weights",
            "equal lists when tied",
        ));
    }
    let mut kernels: Vec<usize> =
        blocks.iter().flat_map(|block| block.options.all()).map(|b| b.kernel).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let choices = BitChoices::new(bits, &kernels);
    match kernels.iter().find(|&&kernel| choices.legal(kernel).is_empty()) {
        Some(kernel) => {
            Err(impossible("bits.forbid", format!("everything for kernel {kernel}"), "something left"))
        }
        None => Ok(choices),
    }
}
