//! `sartor space`: what a search space offers.

use anyhow::Result;
use sartor_space::{BlockChoices, Options, SearchSpace};
use serde_json::json;

use crate::cli::{Global, SpaceArguments};
use crate::config::{cut, load_space};
use crate::talk;

/// Prints a space, or the list of presets.
///
/// # Errors
/// When there is no such space, or stdout is closed.
pub fn run(arguments: &SpaceArguments, global: &Global) -> Result<()> {
    match &arguments.space {
        Some(source) => print(&cut(load_space(source)?, arguments.target.as_deref())?, global.json),
        None => list(global.json),
    }
}

fn list(json: bool) -> Result<()> {
    let presets: Vec<&str> = SearchSpace::presets().collect();
    if json {
        return Ok(talk::data_line(&json!({ "presets": presets }).to_string())?);
    }
    presets.iter().try_for_each(|name| Ok(talk::data_line(name)?))
}

fn print(space: &SearchSpace, json: bool) -> Result<()> {
    if json {
        return Ok(talk::data_line(&as_json(space).to_string())?);
    }
    let input = space.input();
    let encoding = space.encoding();
    talk::data_line(&format!("space       {}", space.name()))?;
    talk::data_line(&format!(
        "input       {0}×{0}×{1}, {2} classes",
        input.size, input.channels, input.classes
    ))?;
    talk::data_line(&format!("candidates  {}", power_of_ten(space)))?;
    let (architecture, policy) = (encoding.architecture_len(), encoding.policy_len());
    talk::data_line(&format!(
        "one-hot     {architecture} architecture, {} with bits",
        architecture + policy
    ))?;
    talk::data_line(&format!("blocks      {}", space.blocks().len()))?;
    space
        .blocks()
        .iter()
        .enumerate()
        .try_for_each(|(index, block)| Ok(talk::data_line(&block_line(index, block))?))
}

/// `1.2e54`: more candidates than an integer could count.
fn power_of_ten(space: &SearchSpace) -> String {
    format!("{:.3e}", space.cardinality())
}

fn block_line(index: usize, block: &BlockChoices) -> String {
    let BlockChoices { stage, position, in_channels, out_channels, stride, input_size, .. } = block;
    let skip = if block.skippable { ", skippable" } else { "" };
    format!(
        "  {index:>2}  stage {stage} block {position}  {input_size}×{input_size}×{in_channels} → {out_channels}, stride {stride}  {}{skip}",
        choices(&block.options)
    )
}

fn choices(options: &Options) -> String {
    match options {
        Options::Grid { kernels, widths } => format!("kernel {kernels:?}  width {widths:?}"),
        Options::List(list) => {
            let names: Vec<String> =
                list.iter().map(|block| format!("k{} w{}", block.kernel, block.width)).collect();
            names.join(" | ")
        }
    }
}

fn as_json(space: &SearchSpace) -> serde_json::Value {
    let blocks: Vec<_> = space.blocks().iter().map(block_json).collect();
    json!({
        "name": space.name(),
        "candidates": space.cardinality(),
        "architecture_len": space.encoding().architecture_len(),
        "encoding_len": space.encoding().architecture_len() + space.encoding().policy_len(),
        "hash": space.hash(),
        "blocks": blocks,
    })
}

fn block_json(block: &BlockChoices) -> serde_json::Value {
    let choices: Vec<_> = block
        .options
        .all()
        .iter()
        .map(|block| json!({ "kernel": block.kernel, "width": block.width }))
        .collect();
    json!({
        "stage": block.stage,
        "position": block.position,
        "in_channels": block.in_channels,
        "out_channels": block.out_channels,
        "stride": block.stride,
        "input_size": block.input_size,
        "skippable": block.skippable,
        "choices": choices,
    })
}
