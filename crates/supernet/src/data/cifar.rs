//! # CIFAR binary records
//!
//! CIFAR-10 and CIFAR-100 (Krizhevsky, 2009, <https://www.cs.toronto.edu/~kriz/cifar.html>), binary version: a record
//! is one label byte (CIFAR-100: a coarse, then a fine one, which is used) and 3,072 pixels as three planes of 32×32,
//! red, green, blue. Here planes become interleaved channels. CIFAR-10 loads whichever training batches are there.

use std::path::{Path, PathBuf};

use super::bytes;
use super::{DataError, Images};

const SIZE: usize = 32;
const CHANNELS: usize = 3;
const PLANE: usize = SIZE * SIZE;
const PIXELS: usize = PLANE * CHANNELS;

/// Which of the two data sets: what differs between their records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variant {
    /// Label bytes before the pixels; the last one counts.
    label_bytes: usize,
    /// Number of classes.
    pub(super) classes: usize,
}

/// Ten classes, one label byte.
pub(super) const CIFAR_10: Variant = Variant { label_bytes: 1, classes: 10 };
/// A hundred fine classes, two label bytes.
pub(super) const CIFAR_100: Variant = Variant { label_bytes: 2, classes: 100 };

/// Training batches `data_batch_1.bin` to `data_batch_5.bin` of a folder, those that exist.
pub(super) fn training_batches(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let names = (1..=5).map(|number| folder.join(format!("data_batch_{number}.bin")));
    let found: Vec<PathBuf> = names.filter(|path| path.is_file()).collect();
    match found.is_empty() {
        true => {
            Err(DataError::Missing { what: "CIFAR-10 training batch", path: folder.join("data_batch_1.bin") })
        }
        false => Ok(found),
    }
}

/// Reads files of records and joins them.
pub(super) fn read(paths: &[PathBuf], what: &'static str, variant: Variant) -> Result<Images, DataError> {
    let mut all = Images { size: SIZE, channels: CHANNELS, ..Images::default() };
    for path in paths {
        append(&mut all, &bytes::read_plain(path, what)?, variant, path)?;
    }
    Ok(all)
}

/// Appends the records of one file.
fn append(images: &mut Images, bytes: &[u8], variant: Variant, path: &Path) -> Result<(), DataError> {
    let record = variant.label_bytes + PIXELS;
    check_length(bytes.len() as u64, record as u64, path)?;
    images.pixels.reserve(bytes.len() / record * PIXELS);
    for (index, record) in bytes.chunks_exact(record).enumerate() {
        let (labels, planes) = record.split_at(variant.label_bytes);
        images.labels.push(label(labels, index, variant, path)?);
        interleave(planes, &mut images.pixels);
    }
    Ok(())
}

fn check_length(length: u64, record: u64, path: &Path) -> Result<(), DataError> {
    if length == 0 {
        return Err(DataError::Empty { what: "records", path: path.into() });
    }
    match length.is_multiple_of(record) {
        true => Ok(()),
        false => Err(DataError::PartialRecord { path: path.into(), length, record }),
    }
}

fn label(bytes: &[u8], index: usize, variant: Variant, path: &Path) -> Result<u32, DataError> {
    let label = bytes.last().copied().map_or(0, u32::from);
    match (label as usize) < variant.classes {
        true => Ok(label),
        false => {
            Err(DataError::LabelOutOfRange { path: path.into(), index, label, classes: variant.classes })
        }
    }
}

/// Three planes → one pixel after the other.
fn interleave(planes: &[u8], pixels: &mut Vec<u8>) {
    let (red, rest) = planes.split_at(PLANE);
    let (green, blue) = rest.split_at(PLANE);
    for ((&red, &green), &blue) in red.iter().zip(green).zip(blue) {
        pixels.extend_from_slice(&[red, green, blue]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(labels: &[u8], start: u8) -> Vec<u8> {
        let pixels = (0..PIXELS).map(|i| start.wrapping_add((i / PLANE) as u8));
        labels.iter().copied().chain(pixels).collect()
    }

    fn parse(bytes: &[u8], variant: Variant) -> Result<Images, DataError> {
        let mut images = Images { size: SIZE, channels: CHANNELS, ..Images::default() };
        append(&mut images, bytes, variant, Path::new("test")).map(|()| images)
    }

    #[test]
    fn records_of_both_variants_read() {
        let ten = parse(&[record(&[3], 10), record(&[9], 20)].concat(), CIFAR_10).unwrap();
        assert_eq!((ten.labels.clone(), &ten.image(1)[..4]), (vec![3, 9], &[20, 21, 22, 20][..]));
        let hundred = parse(&record(&[5, 77], 0), CIFAR_100).unwrap();
        assert_eq!((hundred.labels.clone(), hundred.pixels.len()), (vec![77], PIXELS));
    }

    #[test]
    fn bad_files_are_refused() {
        assert!(matches!(parse(&[], CIFAR_10), Err(DataError::Empty { .. })));
        let label = parse(&[record(&[1], 0), record(&[10], 0)].concat(), CIFAR_10);
        assert!(matches!(label, Err(DataError::LabelOutOfRange { index: 1, label: 10, classes: 10, .. })));
        let whole = record(&[1], 0);
        for length in [1, 2, 1000, PIXELS] {
            let cut = parse(&whole[..length], CIFAR_10);
            assert!(matches!(cut, Err(DataError::PartialRecord { record: 3073, .. })), "{length}");
        }
    }

    #[test]
    fn a_folder_loads_the_batches_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(training_batches(folder.path()), Err(DataError::Missing { .. })));
        for (number, label) in [(2, 1), (5, 2)] {
            let path = folder.path().join(format!("data_batch_{number}.bin"));
            std::fs::write(path, record(&[label], 0)).unwrap();
        }
        let paths = training_batches(folder.path()).unwrap();
        assert_eq!(read(&paths, "training batch", CIFAR_10).unwrap().labels, [1, 2]);
    }

    proptest! {
        #[test]
        fn mutated_records_never_panic(
            edits in prop::collection::vec((0usize..2 * 3073, any::<u8>()), 0..8),
            cut in 0usize..=2 * 3073,
            hundred in any::<bool>(),
        ) {
            let mut bytes = [record(&[1], 0), record(&[2], 0)].concat();
            edits.iter().for_each(|&(at, byte)| bytes[at] = byte);
            bytes.truncate(cut);
            let variant = if hundred { CIFAR_100 } else { CIFAR_10 };
            if let Ok(images) = parse(&bytes, variant) {
                prop_assert_eq!(images.pixels.len(), images.len() * images.stride());
                prop_assert!(images.labels.iter().all(|&label| (label as usize) < variant.classes));
            }
        }
    }
}
