//! Where a data set lies on disk, and the one list of readers.

use std::path::{Path, PathBuf};

use super::cifar::{self, CIFAR_10, CIFAR_100};
use super::image_folder;
use super::{DataError, Images, Limits, idx};

/// The files of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Four IDX files, each plain or gzip; see [`Source::idx_folder`] for the usual names.
    Idx {
        /// Training images.
        train_images: PathBuf,
        /// Training labels.
        train_labels: PathBuf,
        /// Test images.
        test_images: PathBuf,
        /// Test labels.
        test_labels: PathBuf,
    },
    /// CIFAR-10, binary version: `data_batch_*.bin` (those that are there) and `test_batch.bin`.
    Cifar10 {
        /// The folder with the batches.
        folder: PathBuf,
    },
    /// CIFAR-100, binary version: `train.bin` and `test.bin`; the 100 fine labels.
    Cifar100 {
        /// The folder with the two files.
        folder: PathBuf,
    },
    /// `train/<class>/*.{png,jpg,jpeg}` and `test/<class>/…` (or `val/<class>/…`); classes in order of their names.
    ImageFolder {
        /// The folder that holds `train`.
        folder: PathBuf,
        /// Images are resized and cropped to this height and width.
        size: usize,
        /// 1 = grey, 3 = red, green, blue.
        channels: usize,
    },
}

/// What a reader hands over.
pub(super) struct Parts {
    pub(super) train: Images,
    pub(super) test: Images,
    /// Number of classes, where the format fixes it.
    pub(super) classes: Option<usize>,
}

impl Source {
    /// The four files that MNIST and its successors use, with or without `.gz`, in one folder.
    pub fn idx_folder(folder: &Path) -> Result<Source, DataError> {
        let find = |part: &str, dimensions: u32, what| find_idx(folder, part, dimensions, what);
        Ok(Source::Idx {
            train_images: find("train-images", 3, "training images")?,
            train_labels: find("train-labels", 1, "training labels")?,
            test_images: find("t10k-images", 3, "test images")?,
            test_labels: find("t10k-labels", 1, "test labels")?,
        })
    }

    /// A name for reports: the format's own, or the folder's.
    pub fn name(&self) -> String {
        match self {
            Source::Idx { train_images, .. } => folder_name(train_images.parent()),
            Source::Cifar10 { .. } => "cifar-10".into(),
            Source::Cifar100 { .. } => "cifar-100".into(),
            Source::ImageFolder { folder, .. } => folder_name(Some(folder)),
        }
    }

    /// The path that errors about the training images name.
    pub(super) fn path(&self) -> &Path {
        match self {
            Source::Idx { train_labels, .. } => train_labels,
            Source::Cifar10 { folder } | Source::Cifar100 { folder } | Source::ImageFolder { folder, .. } => {
                folder
            }
        }
    }

    /// The path that errors about the test images name.
    pub(super) fn test_path(&self) -> &Path {
        match self {
            Source::Idx { test_labels, .. } => test_labels,
            other => other.path(),
        }
    }

    /// Reads all files. A new format is one file and one line here.
    pub(super) fn read(&self, limits: &Limits, seed: u64) -> Result<Parts, DataError> {
        match self {
            Source::Idx { train_images, train_labels, test_images, test_labels } => Ok(Parts {
                train: idx::read(train_images, train_labels, "training")?,
                test: idx::read(test_images, test_labels, "test")?,
                classes: None,
            }),
            Source::Cifar10 { folder } => {
                cifar_parts(&cifar::training_batches(folder)?, folder.join("test_batch.bin"), CIFAR_10)
            }
            Source::Cifar100 { folder } => {
                cifar_parts(&[folder.join("train.bin")], folder.join("test.bin"), CIFAR_100)
            }
            Source::ImageFolder { folder, size, channels } => {
                image_folder::read(folder, *size, *channels, limits, seed)
            }
        }
    }
}

fn cifar_parts(train: &[PathBuf], test: PathBuf, variant: cifar::Variant) -> Result<Parts, DataError> {
    Ok(Parts {
        train: cifar::read(train, "training records", variant)?,
        test: cifar::read(&[test], "test records", variant)?,
        classes: Some(variant.classes),
    })
}

/// `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, plain or `.gz`.
fn find_idx(folder: &Path, part: &str, dimensions: u32, what: &'static str) -> Result<PathBuf, DataError> {
    let names = ["-", "."].map(|separator| format!("{part}{separator}idx{dimensions}-ubyte"));
    let paths = names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    let missing = || DataError::Missing { what, path: folder.join(format!("{}[.gz]", names[0])) };
    paths.into_iter().find(|path| path.is_file()).ok_or_else(missing)
}

fn folder_name(folder: Option<&Path>) -> String {
    let name = folder.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "images".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_names_are_found_with_and_without_gz() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "train-images-idx3-ubyte.gz",
            "train-labels-idx1-ubyte",
            "t10k-images.idx3-ubyte",
            "t10k-labels-idx1-ubyte.gz",
        ];
        for (index, name) in names.iter().enumerate() {
            let early = Source::idx_folder(folder.path());
            assert!(matches!(early, Err(DataError::Missing { .. })), "before file {index}");
            std::fs::write(folder.path().join(name), []).unwrap();
        }
        let Ok(Source::Idx { test_images, .. }) = Source::idx_folder(folder.path()) else {
            panic!("not found")
        };
        assert!(test_images.ends_with("t10k-images.idx3-ubyte"));
    }

    #[test]
    fn names_come_from_folders() {
        let idx = Source::idx_folder(Path::new("nowhere/at-all"));
        let message = idx.unwrap_err().to_string();
        assert!(message.contains("nowhere/at-all/train-images-idx3-ubyte"), "{message}");
        let folder = Source::ImageFolder { folder: "a/flowers".into(), size: 8, channels: 3 };
        assert_eq!(folder.name(), "flowers");
    }
}
