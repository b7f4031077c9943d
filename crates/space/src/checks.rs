//! # Checking a specification
//!
//! From what was typed ([`Specification`]) to what it means; every refusal names the key, what stands there and
//! what would be valid.

use crate::SpaceError;
use crate::candidate::Block;
use crate::choices::{BitChoices, BlockChoices, Depth, Options, Stage};
use crate::search_space::{Head, Input, Stem};
use crate::specification::{BitsSpecification, Group, Specification, StageSpecification};

/// Largest side, channel count and block count that a space may name: keeps every product far below overflow.
const MAX_SIZE: usize = 1024;
const MAX_CHANNELS: usize = 8192;
const MAX_CLASSES: usize = 65_536;
const MAX_BLOCKS: usize = 256;

fn impossible(key: impl Into<String>, got: impl ToString, expected: impl Into<String>) -> SpaceError {
    SpaceError::Impossible { key: key.into(), got: got.to_string(), expected: expected.into() }
}

fn within(key: &str, got: usize, low: usize, high: usize) -> Result<usize, SpaceError> {
    if (low..=high).contains(&got) { Ok(got) } else { Err(impossible(key, got, format!("{low} to {high}"))) }
}

pub fn check_ends(specification: &Specification) -> Result<(Input, Stem, Head), SpaceError> {
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

pub fn check_stages(
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
pub fn parse_option(channels: usize, name: &str, key: &str) -> Result<Block, SpaceError> {
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

pub fn check_bits(bits: &BitsSpecification, blocks: &[BlockChoices]) -> Result<BitChoices, SpaceError> {
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
