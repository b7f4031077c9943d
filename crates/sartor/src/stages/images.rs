//! Images: not a stage of its own, but what several stages read.

use anyhow::{Context, Result};
use sartor_supernet::data::{Dataset, Limits, Source, Split};

use crate::config::Config;
use crate::config::sections::{Data, Format};

/// Reads the images of `[data]` and checks them against the space's input.
///
/// # Errors
/// Missing, truncated or malformed files, labels out of range, images of another size.
pub fn load(config: &Config) -> Result<Dataset> {
    let data = &config.data;
    let input = config.space.input();
    let read = || -> Result<Dataset> {
        let source = source(data, input.size, input.channels)?;
        let split = Split { validation: data.validation, seed: data.split_seed };
        let limits = Limits { train: data.train_limit, test: data.test_limit, classes: Some(input.classes) };
        let dataset = Dataset::load(&source, &split, &limits)?;
        dataset.check_input(input.size, input.channels, input.classes)?;
        Ok(dataset)
    };
    read().with_context(|| format!("cannot use the images in `{}`", data.path.display()))
}

fn source(data: &Data, size: usize, channels: usize) -> Result<Source> {
    let folder = data.path.clone();
    Ok(match data.format {
        Format::Idx => Source::idx_folder(&folder)?,
        Format::Cifar10 => Source::Cifar10 { folder },
        Format::Cifar100 => Source::Cifar100 { folder },
        Format::ImageFolder => Source::ImageFolder { folder, size, channels },
    })
}
