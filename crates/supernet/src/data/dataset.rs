//! A data set, read, checked and split.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::source::Parts;
use super::split::{Draw, choose};
use super::{DataError, Images, Normalization, Source, Split};

/// Images in three disjoint splits.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Name for reports.
    pub name: String,
    /// Images to train on; shared with the threads that prepare batches of them.
    pub train: Arc<Images>,
    /// Images that search, sampling and the predictor may see.
    pub validation: Images,
    /// Images for the final score only.
    pub test: Images,
    /// Number of classes; labels are below it.
    pub classes: usize,
    /// From the training split.
    pub normalization: Normalization,
    /// SHA-256 of the decoded training and test images and labels that were kept, before the split, in hexadecimal.
    /// Plain and gzip files of the same images have the same hash.
    pub hash: String,
}

/// Bounds on what is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Most training and validation images together: a class-balanced choice by the split's seed.
    pub train: Option<usize>,
    /// Most test images, chosen likewise.
    pub test: Option<usize>,
    /// Number of classes that there must be. Without it, IDX files have as many as their largest training label says.
    pub classes: Option<usize>,
}

impl Dataset {
    /// Reads, checks, limits and splits.
    pub fn load(source: &Source, split: &Split, limits: &Limits) -> Result<Dataset, DataError> {
        let parts = source.read(limits, split.seed)?;
        let classes = check_parts(&parts, source, limits)?;
        let all = limit(parts.train, classes, limits.train, split.seed, Draw::LimitTraining);
        let test = limit(parts.test, classes, limits.test, split.seed, Draw::LimitTest);
        let hash = hash(&[&all, &test]);
        let (train, validation) = split.cut(&all, classes)?;
        train.check_classes(classes, "training", source.path())?;
        validation.check_classes(classes, "validation", source.path())?;
        let normalization = Normalization::of(&train);
        let train = Arc::new(train);
        Ok(Dataset { name: source.name(), train, validation, test, classes, normalization, hash })
    }

    /// Refuses a data set that a search space with this input cannot take.
    pub fn check_input(&self, size: usize, channels: usize, classes: usize) -> Result<(), DataError> {
        if (self.train.size, self.train.channels) != (size, channels) {
            let got = [self.train.size, self.train.size, self.train.channels];
            let path = Path::new(&self.name).into();
            return Err(DataError::ImageShape { path, expected: [size, size, channels], got });
        }
        match self.classes == classes {
            true => Ok(()),
            false => {
                Err(DataError::Classes { name: self.name.clone(), expected: classes, got: self.classes })
            }
        }
    }
}

/// Training and test images must agree with each other and with the limits; gives the number of classes.
fn check_parts(parts: &Parts, source: &Source, limits: &Limits) -> Result<usize, DataError> {
    let (train, test) = (&parts.train, &parts.test);
    for (images, what, path) in
        [(train, "training images", source.path()), (test, "test images", source.test_path())]
    {
        if images.is_empty() {
            return Err(DataError::Empty { what, path: path.into() });
        }
    }
    if (train.size, train.channels) != (test.size, test.channels) {
        let (expected, got) =
            ([train.size, train.size, train.channels], [test.size, test.size, test.channels]);
        return Err(DataError::ImageShape { path: source.test_path().into(), expected, got });
    }
    let classes = class_count(parts, source, limits)?;
    train.check_labels(classes, source.path())?;
    test.check_labels(classes, source.test_path())?;
    train.check_classes(classes, "training", source.path())?;
    Ok(classes)
}

fn class_count(parts: &Parts, source: &Source, limits: &Limits) -> Result<usize, DataError> {
    let largest = parts.train.labels.iter().max().map_or(0, |&label| label as usize + 1);
    match (parts.classes, limits.classes) {
        (Some(got), Some(expected)) if got != expected => {
            Err(DataError::Classes { name: source.name(), expected, got })
        }
        (Some(classes), _) | (None, Some(classes)) => Ok(classes),
        (None, None) => Ok(largest),
    }
}

fn limit(images: Images, classes: usize, limit: Option<usize>, seed: u64, draw: Draw) -> Images {
    match limit {
        Some(limit) if limit < images.len() => {
            images.select(&choose(&images.labels, classes, limit, seed, draw))
        }
        _ => images,
    }
}

fn hash(splits: &[&Images]) -> String {
    let mut hasher = Sha256::new();
    for images in splits {
        for number in [images.size, images.channels, images.len()] {
            hasher.update((number as u64).to_le_bytes());
        }
        images.labels.iter().for_each(|label| hasher.update(label.to_le_bytes()));
        hasher.update(&images.pixels);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const SPLIT: Split = Split { validation: 1000, seed: 7 };

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    fn fashion() -> Source {
        Source::idx_folder(&repository().join("data/fmnist-mini")).unwrap()
    }

    #[test]
    fn fashion_mnist_loads_balanced_and_repeatable() {
        let data = Dataset::load(&fashion(), &SPLIT, &Limits::default()).unwrap();
        assert_eq!((data.name.as_str(), data.classes), ("fmnist-mini", 10));
        assert_eq!((data.train.len(), data.validation.len(), data.test.len()), (4000, 1000, 1000));
        assert_eq!(data.validation.class_counts(10), [100; 10]);
        assert_eq!(data.train.class_counts(10), [400; 10]);
        assert_eq!(Dataset::load(&fashion(), &SPLIT, &Limits::default()).unwrap(), data);
        assert!(data.check_input(28, 1, 10).is_ok());
        assert!(matches!(data.check_input(32, 1, 10), Err(DataError::ImageShape { .. })));
        assert!(matches!(data.check_input(28, 1, 100), Err(DataError::Classes { .. })));
    }

    #[test]
    fn normalised_training_pixels_have_mean_near_zero_and_unit_deviation() {
        /// The integer zero point leaves at most half a pixel value of mean.
        const MEAN_TOLERANCE: f64 = 0.51 / 50.0;
        let data = Dataset::load(&fashion(), &SPLIT, &Limits::default()).unwrap();
        let table = data.normalization.table();
        let real: Vec<f64> =
            data.train.pixels.iter().map(|&pixel| f64::from(table[pixel as usize])).collect();
        let mean = real.iter().sum::<f64>() / real.len() as f64;
        let variance = real.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / real.len() as f64;
        assert!(mean.abs() < MEAN_TOLERANCE && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
    }

    #[test]
    fn the_hash_is_of_the_images_not_of_the_split() {
        let load =
            |seed, limits| Dataset::load(&fashion(), &Split { validation: 100, seed }, &limits).unwrap();
        let (one, two) = (load(1, Limits::default()), load(2, Limits::default()));
        assert_eq!(one.hash, two.hash);
        assert_ne!(one.train, two.train);
        let small = load(1, Limits { train: Some(500), test: Some(50), classes: Some(10) });
        assert_eq!((small.train.len(), small.test.class_counts(10)), (400, vec![5; 10]));
        assert_ne!(small.hash, one.hash);
    }

    #[test]
    fn a_wrong_number_of_classes_is_seen() {
        let limits = |classes| Limits { classes: Some(classes), ..Limits::default() };
        let few = Dataset::load(&fashion(), &SPLIT, &limits(7));
        assert!(matches!(few, Err(DataError::LabelOutOfRange { classes: 7, .. })));
        let many = Dataset::load(&fashion(), &SPLIT, &limits(11));
        assert!(matches!(many, Err(DataError::EmptyClass { class, .. }) if class == "10"));
    }

    #[test]
    fn training_and_test_images_must_have_one_size() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes).unwrap();
        let images = |side: u8| {
            [vec![0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, side, 0, 0, 0, side], vec![5; 4 * (side as usize).pow(2)]]
                .concat()
        };
        let labels = vec![0, 0, 8, 1, 0, 0, 0, 4, 0, 0, 1, 1];
        write("train-images-idx3-ubyte", images(3));
        write("t10k-images-idx3-ubyte", images(2));
        write("train-labels-idx1-ubyte", labels.clone());
        write("t10k-labels-idx1-ubyte", labels);
        let source = Source::idx_folder(folder.path()).unwrap();
        let result = Dataset::load(&source, &Split { validation: 2, seed: 0 }, &Limits::default());
        assert!(matches!(result, Err(DataError::ImageShape { expected: [3, 3, 1], got: [2, 2, 1], .. })));
    }

    #[test]
    fn cifar_10_loads_where_it_is_there() {
        let folder = repository().join("../shared/data/cifar-10-batches-bin");
        if !folder.is_dir() {
            eprintln!("skipped: no CIFAR-10 beside the repository");
            return;
        }
        let data = Dataset::load(&Source::Cifar10 { folder }, &SPLIT, &Limits::default()).unwrap();
        assert_eq!((data.train.size, data.train.channels, data.classes), (32, 3, 10));
        assert_eq!((data.train.len() + 1000, data.test.len()), (20_000, 10_000));
        assert!((100..=150).contains(&data.normalization.zero_point), "{:?}", data.normalization);
    }
}
