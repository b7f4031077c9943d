//! Which layers are meant: those of a space, or a list.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_hardware::{layers_csv, profile_layers_csv, reachable_layers};
use sartor_space::{Layer, SearchSpace};
use serde_json::json;

use crate::cli::{Global, LayersArguments, ProfileArguments};
use crate::config::load_space;
use crate::failure::Failure;
use crate::talk;

/// Layers, and the space they are all of.
#[derive(Debug)]
pub struct Wanted {
    /// In network order, or that of the list.
    pub layers: Vec<Layer>,
    /// The space, unless a list was given.
    pub space: Option<SearchSpace>,
}

/// The layers meant.
///
/// # Errors
/// An unknown space, or a file that is no list of layers.
pub fn wanted(arguments: &LayersArguments) -> Result<Wanted> {
    match (&arguments.space, &arguments.file) {
        (Some(space), _) => {
            let space = load_space(space)?;
            Ok(Wanted { layers: reachable_layers(&space), space: Some(space) })
        }
        (None, Some(path)) => Ok(Wanted { layers: read(path)?, space: None }),
        (None, None) => Err(Failure::bad_input("neither a space nor a list of layers was given")
            .hint("`--space apq`, or `--layers FILE`")
            .into()),
    }
}

/// Reads a list of layers.
///
/// # Errors
/// No such file, or one that is no list of layers.
pub fn read(path: &Path) -> Result<Vec<Layer>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("cannot read layers `{}`: {error}", path.display())))?;
    profile_layers_csv(&text).with_context(|| format!("cannot use layers `{}`", path.display()))
}

/// `--list`: prints the layers wanted.
pub fn list(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    let wanted = wanted(&arguments.layers)?;
    super::write(
        &layers_csv(&wanted.layers),
        arguments.out.as_deref(),
        &format!("{} layers", wanted.layers.len()),
    )?;
    if global.json {
        let object = json!({ "layers": wanted.layers.len(), "file": arguments.out });
        talk::data_line(&object.to_string())?;
    }
    Ok(())
}
