//! The network and the images.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_export::TrainedModel;
use sartor_export::import::{ImportedNetwork, Shape};
use sartor_supernet::data::{self, Dataset, Limits, Normalization, Split};
use serde_json::{Value, json};

use crate::cli::QuantizeArguments;
use crate::failure::Failure;
use crate::stages::integers;
use crate::statistics::Accuracy;

/// A trained network with the images to quantize it on.
pub struct Source {
    /// As read, pixels taken in.
    pub network: ImportedNetwork,
    /// Images, normalised as the network wants them.
    pub dataset: Dataset,
    /// The file's name.
    pub name: String,
    /// In float, on validation.
    pub validation: Accuracy,
    /// In float, on test.
    pub test: Accuracy,
}

impl Source {
    /// Reads both.
    ///
    /// # Errors
    /// Whatever is wrong with the file or the images.
    pub fn open(arguments: &QuantizeArguments, seed: u64) -> Result<Self> {
        let (Some(model), Some(folder)) = (&arguments.model, &arguments.data) else {
            return Err(Failure::bad_input("`--model` and `--data` are needed").into());
        };
        let mut dataset = images(arguments, folder, seed)?;
        let network = network(arguments, model, &dataset)?;
        let (zero_point, scale) = network.pixels();
        dataset.normalization = Normalization { zero_point, scale };
        let accuracy = |images: &data::Images| -> Result<Accuracy> {
            Ok(integers::accuracy(&top1(&network.logits(&images.pixels)?, network.classes()), images))
        };
        let (validation, test) = (accuracy(&dataset.validation)?, accuracy(&dataset.test)?);
        let name = model.file_stem().map_or("network".into(), |stem| stem.to_string_lossy().into_owned());
        Ok(Self { network, dataset, name, validation, test })
    }

    /// For people.
    pub fn describe(&self) -> String {
        let workload = self.network.workload();
        format!(
            "{}: {} layers, {:.2} million MACs, {} weights; in float {} of validation",
            self.name,
            workload.layers.len(),
            workload.macs() as f64 / 1e6,
            workload.parameters(),
            self.validation
        )
    }

    /// As data.
    pub fn to_json(&self) -> Value {
        json!({
            "model": self.name,
            "notes": self.network.notes(),
            "float": {
                "validation": super::accuracy_json(self.validation),
                "test": super::accuracy_json(self.test),
            },
        })
    }
}

/// The class of the largest logit of every image.
pub fn top1(logits: &[f32], classes: usize) -> Vec<usize> {
    logits.chunks_exact(classes).map(sartor_export::executor::arg_max).collect()
}

/// Recognises a folder by its files.
fn images(arguments: &QuantizeArguments, folder: &Path, seed: u64) -> Result<Dataset> {
    let there = |name: &str| folder.join(name).exists();
    let folder = folder.to_owned();
    let source = if there("data_batch_1.bin") {
        data::Source::Cifar10 { folder }
    } else if there("train.bin") {
        data::Source::Cifar100 { folder }
    } else if there("train") {
        data::Source::ImageFolder { folder, size: arguments.image_size, channels: 3 }
    } else {
        data::Source::idx_folder(&folder)?
    };
    let split = Split { validation: arguments.validation, seed };
    let read = Dataset::load(&source, &split, &Limits::default());
    read.with_context(|| {
        format!("cannot use the images in `{}`", arguments.data.as_deref().unwrap_or(Path::new("")).display())
    })
}

fn network(arguments: &QuantizeArguments, model: &Path, dataset: &Dataset) -> Result<ImportedNetwork> {
    let bytes = std::fs::read(model)
        .map_err(|error| Failure::bad_input(format!("cannot read `{}`: {error}", model.display())))?;
    let (size, channels) = (dataset.train.size, dataset.train.channels);
    let weights = model.extension().is_some_and(|ending| ending == "safetensors");
    let network = match weights {
        true => {
            TrainedModel::from_bytes(&bytes).and_then(|weights| ImportedNetwork::mobilenet_v2(&weights, size))
        }
        false => ImportedNetwork::from_onnx(&bytes, Shape { size, channels }),
    };
    let usable = |error: sartor_export::ExportError| -> anyhow::Error {
        let hint = error.hint().unwrap_or_default();
        Failure::bad_input(format!("cannot use `{}`: {error}", model.display())).hint(hint).into()
    };
    let network = network.map_err(usable)?;
    let (classes, there) = (network.classes(), dataset.classes);
    if (network.image().channels, classes) != (channels, there) {
        let message = format!(
            "`{}` tells {classes} classes on {} channels, the images have {there} and {channels}",
            model.display(),
            network.image().channels
        );
        return Err(Failure::bad_input(message).into());
    }
    let or = |values: &[f32], default: f32| {
        if values.is_empty() { vec![default; channels] } else { values.to_vec() }
    };
    network.on_pixels(&or(&arguments.mean, 0.0), &or(&arguments.std, 1.0)).map_err(usable)
}

/// Writes a file, with its folders.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("cannot write `{}`", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    std::fs::write(path, bytes).with_context(failed)
}
