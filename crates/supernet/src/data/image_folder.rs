//! # Folders of images
//!
//! `train/<class>/*` and `test/<class>/*` (or `val`), PNG and JPEG. Classes are numbered in order of their names and
//! files are read in order of theirs, so the result does not depend on the file system. An image is scaled so that
//! its shorter side fits (triangle filter) and cropped in the middle. Decoding runs on all threads of the pool.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::bytes::{MOST_BYTES, product};
use super::picture::Picture;
use super::source::Parts;
use super::split::{Draw, choose};
use super::{DataError, Images, Limits};

/// File endings that are read.
const READABLE: [&str; 3] = ["png", "jpg", "jpeg"];
/// File endings of images that are not read: an error, not a silent gap.
const UNREADABLE: [&str; 6] = ["gif", "webp", "bmp", "tif", "tiff", "ppm"];
/// Widest and highest image that is decoded.
const MOST_PIXELS_A_SIDE: usize = 1 << 14;

/// The image files of one split and their classes.
struct Listing {
    files: Vec<PathBuf>,
    labels: Vec<u32>,
}

/// Reads both splits; `limits` choose before anything is decoded.
pub(super) fn read(
    folder: &Path,
    size: usize,
    channels: usize,
    limits: &Limits,
    seed: u64,
) -> Result<Parts, DataError> {
    check_settings(size, channels)?;
    let train_folder = existing(folder, &["train"], "training images")?;
    let test_folder = existing(folder, &["test", "val"], "test images")?;
    let classes = class_names(&train_folder)?;
    check_known(&test_folder, &classes)?;
    let train = list(&train_folder, &classes, "training")?.limit(
        classes.len(),
        limits.train,
        seed,
        Draw::LimitTraining,
    );
    let test = list(&test_folder, &classes, "test")?.limit(classes.len(), limits.test, seed, Draw::LimitTest);
    let (train, test) =
        (decode_all(train, folder, size, channels)?, decode_all(test, folder, size, channels)?);
    Ok(Parts { train, test, classes: Some(classes.len()) })
}

fn check_settings(size: usize, channels: usize) -> Result<(), DataError> {
    if size == 0 || size > MOST_PIXELS_A_SIDE {
        let expected = format!("1 to {MOST_PIXELS_A_SIDE} pixels");
        return Err(DataError::Setting { key: "size", got: size, expected });
    }
    match channels {
        1 | 3 => Ok(()),
        got => Err(DataError::Setting { key: "channels", got, expected: "1 (grey) or 3 (colour)".into() }),
    }
}

fn existing(folder: &Path, names: &[&str], what: &'static str) -> Result<PathBuf, DataError> {
    let paths = names.iter().map(|name| folder.join(name));
    let missing = || DataError::Missing { what, path: folder.join(names[0]) };
    paths.into_iter().find(|path| path.is_dir()).ok_or_else(missing)
}

/// Names of the class folders, sorted.
fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    let names: Vec<String> = folders.filter_map(|path| path.file_name().map(lossy)).collect();
    match names.is_empty() {
        true => Err(DataError::Empty { what: "class folders", path: folder.into() }),
        false => Ok(names),
    }
}

fn check_known(test_folder: &Path, classes: &[String]) -> Result<(), DataError> {
    match class_names(test_folder)?.iter().find(|name| !classes.contains(name)) {
        None => Ok(()),
        Some(name) => Err(DataError::UnknownClass { path: test_folder.join(name), classes: classes.len() }),
    }
}

/// All entries of a folder that are not hidden, sorted by name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |source| DataError::Io { path: folder.into(), source };
    let read = std::fs::read_dir(folder).map_err(io)?;
    let mut paths =
        read.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(io)?;
    paths.retain(|path| path.file_name().is_some_and(|name| !lossy(name).starts_with('.')));
    paths.sort();
    Ok(paths)
}

fn list(folder: &Path, classes: &[String], split: &'static str) -> Result<Listing, DataError> {
    let mut listing = Listing { files: Vec::new(), labels: Vec::new() };
    for (label, class) in (0u32..).zip(classes) {
        let empty = || DataError::EmptyClass { path: folder.into(), split, class: class.clone() };
        let class_folder = folder.join(class);
        let files = if class_folder.is_dir() { image_files(&class_folder)? } else { Vec::new() };
        listing.labels.extend(files.iter().map(|_| label));
        (!files.is_empty()).then_some(()).ok_or_else(empty)?;
        listing.files.extend(files);
    }
    Ok(listing)
}

fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = entries(folder)?;
    files.retain(|path| path.is_file());
    if let Some(path) = files.iter().find(|path| has_ending(path, &UNREADABLE)) {
        let reason = "only PNG and JPEG files are read".into();
        return Err(DataError::Decode { path: path.clone(), reason });
    }
    files.retain(|path| has_ending(path, &READABLE));
    Ok(files)
}

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().map(|ending| lossy(ending).to_lowercase());
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

impl Listing {
    fn limit(self, classes: usize, limit: Option<usize>, seed: u64, draw: Draw) -> Listing {
        let Some(limit) = limit.filter(|&limit| limit < self.labels.len()) else { return self };
        let chosen = choose(&self.labels, classes, limit, seed, draw);
        Listing {
            files: chosen.iter().map(|&index| self.files[index as usize].clone()).collect(),
            labels: chosen.iter().map(|&index| self.labels[index as usize]).collect(),
        }
    }
}

fn decode_all(listing: Listing, folder: &Path, size: usize, channels: usize) -> Result<Images, DataError> {
    let claimed = product(&[listing.files.len() as u64, size as u64, size as u64, channels as u64]);
    if claimed > MOST_BYTES {
        return Err(DataError::TooLarge { path: folder.into(), what: "pixels", claimed, limit: MOST_BYTES });
    }
    let mut pixels = vec![0; claimed as usize];
    let targets = pixels.par_chunks_exact_mut(size * size * channels);
    targets.zip(&listing.files).try_for_each(|(target, path)| decode(path, size, channels, target))?;
    Ok(Images { size, channels, pixels, labels: listing.labels })
}

fn decode(path: &Path, size: usize, channels: usize, target: &mut [u8]) -> Result<(), DataError> {
    let picture = Picture::open(path, MOST_PIXELS_A_SIDE)?.with_channels(channels).square(size);
    target.copy_from_slice(&picture.pixels);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jpeg_encoder::{ColorType, Encoder};

    fn png(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(pixels).unwrap();
        writer.finish().unwrap();
        file
    }

    /// Two classes, `images` each, in `train` and in the other split; colours tell them apart.
    fn folder(images: u8, other: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for split in ["train", other] {
            for (class, red) in [("cat", 0u8), ("dog", 200)] {
                let class_folder = root.path().join(split).join(class);
                std::fs::create_dir_all(&class_folder).unwrap();
                for number in 0..images {
                    let ending = if number % 2 == 0 { "png" } else { "JPG" };
                    let path = class_folder.join(format!("{number}.{ending}"));
                    let pixels = [red + number, 10, 20].repeat(6 * 4);
                    if number % 2 == 0 {
                        std::fs::write(path, png(6, 4, &pixels)).unwrap();
                    } else {
                        let encoder = Encoder::new_file(path, 100).unwrap();
                        encoder.encode(&pixels, 6, 4, ColorType::Rgb).unwrap();
                    }
                }
            }
        }
        root
    }

    fn load(root: &Path, channels: usize, limits: &Limits) -> Result<Parts, DataError> {
        read(root, 4, channels, limits, 1)
    }

    #[test]
    fn classes_and_files_come_in_order_of_their_names() {
        for other in ["test", "val"] {
            let root = folder(3, other);
            std::fs::write(root.path().join("train/cat/notes.txt"), "ignored").unwrap();
            let parts = load(root.path(), 3, &Limits::default()).unwrap();
            assert_eq!(parts.train.labels, [0, 0, 0, 1, 1, 1], "{other}");
            assert_eq!((parts.classes, parts.test.len()), (Some(2), 6));
            assert_eq!(&parts.train.image(2)[..3], [2, 10, 20]);
            assert_eq!(&parts.train.image(3)[..3], [200, 10, 20]);
        }
    }

    #[test]
    fn grey_images_and_limits() {
        let root = folder(4, "test");
        let limits = Limits { train: Some(4), test: Some(2), ..Limits::default() };
        let parts = load(root.path(), 1, &limits).unwrap();
        assert_eq!((parts.train.labels, parts.test.labels), (vec![0, 0, 1, 1], vec![0, 1]));
        assert_eq!(parts.train.pixels.len(), 4 * 16);
    }

    #[test]
    fn faults_are_named() {
        type Change = fn(&Path);
        type Case = (&'static str, Change, fn(&DataError) -> bool);
        let cases: [Case; 7] = [
            (
                "no test folder",
                |root| std::fs::remove_dir_all(root.join("test")).unwrap(),
                |e| matches!(e, DataError::Missing { what: "test images", .. }),
            ),
            (
                "empty class",
                |root| std::fs::create_dir(root.join("train/eel")).unwrap(),
                |e| matches!(e, DataError::EmptyClass { split: "training", class, .. } if class == "eel"),
            ),
            (
                "class without test images",
                |root| std::fs::remove_dir_all(root.join("test/dog")).unwrap(),
                |e| matches!(e, DataError::EmptyClass { split: "test", class, .. } if class == "dog"),
            ),
            (
                "unknown test class",
                |root| std::fs::create_dir(root.join("test/eel")).unwrap(),
                |e| matches!(e, DataError::UnknownClass { classes: 2, .. }),
            ),
            (
                "not an image",
                |root| std::fs::write(root.join("train/cat/9.png"), "no").unwrap(),
                |e| matches!(e, DataError::Decode { .. }),
            ),
            (
                "a format that is not read",
                |root| std::fs::write(root.join("train/cat/9.webp"), "").unwrap(),
                |e| matches!(e, DataError::Decode { .. }),
            ),
            (
                "nothing at all",
                |root| std::fs::remove_dir_all(root.join("train")).unwrap(),
                |e| matches!(e, DataError::Missing { what: "training images", .. }),
            ),
        ];
        for (name, change, expected) in cases {
            let root = folder(1, "test");
            change(root.path());
            let error = load(root.path(), 3, &Limits::default()).err().expect(name);
            assert!(expected(&error), "{name}: {error:?}");
        }
    }

    #[test]
    fn truncated_images_are_refused_or_read_but_never_panic() {
        let root = folder(2, "test");
        for name in ["train/cat/0.png", "train/cat/1.JPG"] {
            let path = root.path().join(name);
            let whole = std::fs::read(&path).unwrap();
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let early = length < whole.len() / 2;
                assert!(
                    !early || load(root.path(), 3, &Limits::default()).is_err(),
                    "{name} cut to {length}"
                );
            }
            std::fs::write(&path, whole).unwrap();
        }
    }

    #[test]
    fn settings_are_checked() {
        let root = folder(1, "test");
        assert!(matches!(
            load(root.path(), 2, &Limits::default()),
            Err(DataError::Setting { key: "channels", .. })
        ));
        for size in [0, usize::MAX] {
            let result = read(root.path(), size, 3, &Limits::default(), 1);
            assert!(matches!(result, Err(DataError::Setting { key: "size", .. })), "{size}");
        }
    }
}
