//! # IDX files
//!
//! The format of MNIST and its successors (<http://yann.lecun.com/exdb/mnist/>): two zero bytes, the element type
//! (8 = unsigned byte), the number of dimensions, the dimensions as big-endian 32-bit numbers, then the elements.
//! Labels have one dimension; images have three (`[images, height, width]`) or, here only, four with the channels last.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::bytes::{self, Input};
use super::{DataError, Images};

const LABEL_MAGIC: u32 = 0x0000_0801;
const GREY_MAGIC: u32 = 0x0000_0803;
const COLOUR_MAGIC: u32 = 0x0000_0804;

/// Reads one image file and its label file, plain or gzip.
pub(super) fn read(images: &Path, labels: &Path, split: &'static str) -> Result<Images, DataError> {
    let (image_what, label_what) = match split {
        "training" => ("training images", "training labels"),
        _ => ("test images", "test labels"),
    };
    join(bytes::open(images, image_what)?, bytes::open(labels, label_what)?)
}

fn join<R: Read>(images: Input<R>, labels: Input<R>) -> Result<Images, DataError> {
    let labels_path = labels.path().to_path_buf();
    let labels = read_labels(labels)?;
    read_images(images, &labels_path, labels)
}

fn read_labels<R: Read>(mut input: Input<R>) -> Result<Vec<u32>, DataError> {
    expect_magic(word(&mut input)?, LABEL_MAGIC, "IDX label file", input.path())?;
    let count = u64::from(word(&mut input)?);
    let labels = input.take(count, "labels")?;
    input.finish(8 + count)?;
    Ok(labels.into_iter().map(u32::from).collect())
}

fn read_images<R: Read>(
    mut input: Input<R>,
    labels_path: &Path,
    labels: Vec<u32>,
) -> Result<Images, DataError> {
    let header = Header::read(&mut input)?;
    if header.images != labels.len() as u64 {
        let (images_path, labels_path) = (input.path().into(), labels_path.into());
        let labels = labels.len() as u64;
        return Err(DataError::CountMismatch { images_path, images: header.images, labels_path, labels });
    }
    header.check(&input)?;
    let pixels = input.take(header.bytes(), "pixels")?;
    input.finish(header.length + header.bytes())?;
    Ok(Images { size: header.height as usize, channels: header.channels as usize, pixels, labels })
}

/// What an image file says about itself.
struct Header {
    images: u64,
    height: u64,
    width: u64,
    channels: u64,
    /// Bytes of the header itself.
    length: u64,
}

impl Header {
    fn read<R: Read>(input: &mut Input<R>) -> Result<Self, DataError> {
        let magic = word(input)?;
        if magic != COLOUR_MAGIC {
            expect_magic(magic, GREY_MAGIC, "IDX image file", input.path())?;
        }
        let (images, height, width) = (word(input)?.into(), word(input)?.into(), word(input)?.into());
        let (channels, length) = if magic == COLOUR_MAGIC { (word(input)?.into(), 20) } else { (1, 16) };
        Ok(Header { images, height, width, channels, length })
    }

    fn bytes(&self) -> u64 {
        bytes::product(&[self.images, self.height, self.width, self.channels])
    }

    fn check<R: Read>(&self, input: &Input<R>) -> Result<(), DataError> {
        let path: PathBuf = input.path().into();
        let square = self.height == self.width && self.height > 0;
        if !square || !matches!(self.channels, 1 | 3) {
            let got = [self.height, self.width, self.channels].map(|x| x as usize);
            let side = self.height.max(1) as usize;
            let channels = if self.channels == 3 { 3 } else { 1 };
            return Err(DataError::ImageShape { path, expected: [side, side, channels], got });
        }
        if self.images == 0 {
            return Err(DataError::Empty { what: "images", path });
        }
        input.check_size(self.bytes(), "pixels")
    }
}

fn word<R: Read>(input: &mut Input<R>) -> Result<u32, DataError> {
    let bytes = input.take(4, "header")?;
    Ok(bytes.iter().fold(0, |word, &byte| word << 8 | u32::from(byte)))
}

fn expect_magic(got: u32, expected: u32, format: &'static str, path: &Path) -> Result<(), DataError> {
    match got == expected {
        true => Ok(()),
        false => Err(DataError::WrongMagic { path: path.into(), format, expected, got }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image_file(dimensions: &[u32], pixels: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
        dimensions.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(pixels);
        bytes
    }

    fn parse(images: &[u8], labels: &[u8]) -> Result<Images, DataError> {
        join(Input::new(images, images.len() as u64), Input::new(labels, labels.len() as u64))
    }

    fn sound() -> (Vec<u8>, Vec<u8>) {
        let pixels: Vec<u8> = (0..18).collect();
        (image_file(&[2, 3, 3], &pixels), image_file(&[2], &[4, 9]))
    }

    #[test]
    fn a_sound_pair_reads() {
        let (images, labels) = sound();
        let read = parse(&images, &labels).unwrap();
        assert_eq!((read.size, read.channels, read.labels.clone()), (3, 1, vec![4, 9]));
        assert_eq!(read.image(1), (9..18).collect::<Vec<u8>>());
        let colour = parse(&image_file(&[2, 1, 1, 3], &[1, 2, 3, 4, 5, 6]), &labels).unwrap();
        assert_eq!((colour.channels, colour.image(1)), (3, &[4, 5, 6][..]));
    }

    #[test]
    fn every_fault_has_its_own_error() {
        let (images, labels) = sound();
        let huge = u32::MAX;
        type Case = (&'static str, Vec<u8>, Vec<u8>, fn(&DataError) -> bool);
        let cases: Vec<Case> = vec![
            ("exchanged", labels.clone(), images.clone(), |e| matches!(e, DataError::WrongMagic { .. })),
            ("more images", image_file(&[3, 3, 3], &[0; 27]), labels.clone(), |e| {
                matches!(e, DataError::CountMismatch { images: 3, labels: 2, .. })
            }),
            ("not square", image_file(&[2, 3, 2], &[0; 12]), labels.clone(), |e| {
                matches!(e, DataError::ImageShape { got: [3, 2, 1], .. })
            }),
            ("two channels", image_file(&[2, 1, 1, 2], &[0; 4]), labels.clone(), |e| {
                matches!(e, DataError::ImageShape { got: [1, 1, 2], .. })
            }),
            ("no images", image_file(&[0, 3, 3], &[]), image_file(&[0], &[]), |e| {
                matches!(e, DataError::Empty { .. })
            }),
            ("overflow", image_file(&[2, huge, huge], &[0; 18]), labels.clone(), |e| {
                matches!(e, DataError::TooLarge { .. })
            }),
            ("bold claim", image_file(&[2, 900, 900], &[0; 18]), labels.clone(), |e| {
                matches!(e, DataError::Truncated { expected: 1_620_000, .. })
            }),
            ("many labels", images.clone(), image_file(&[huge], &[1, 2]), |e| {
                matches!(e, DataError::Truncated { .. })
            }),
            ("trailing", [images.clone(), vec![0]].concat(), labels.clone(), |e| {
                matches!(e, DataError::TrailingBytes { expected: 34, .. })
            }),
        ];
        for (name, images, labels, expected) in cases {
            let error = parse(&images, &labels).expect_err(name);
            assert!(expected(&error), "{name}: {error:?}");
            assert!(error.hint().is_some(), "{name}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let (images, labels) = sound();
        for length in 0..images.len() {
            assert!(parse(&images[..length], &labels).is_err(), "images cut to {length}");
        }
        for length in 0..labels.len() {
            assert!(parse(&images, &labels[..length]).is_err(), "labels cut to {length}");
        }
    }

    proptest! {
        #[test]
        fn mutated_files_never_panic_and_never_lie(
            edits in prop::collection::vec((0usize..34, any::<u8>()), 0..6),
            label_edits in prop::collection::vec((0usize..10, any::<u8>()), 0..3),
            cut in 0usize..36,
        ) {
            let (mut images, mut labels) = sound();
            edits.iter().for_each(|&(at, byte)| images[at] = byte);
            label_edits.iter().for_each(|&(at, byte)| labels[at] = byte);
            images.truncate(cut);
            if let Ok(read) = parse(&images, &labels) {
                prop_assert_eq!(read.pixels.len(), read.len() * read.stride());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(images in prop::collection::vec(any::<u8>(), 0..80), labels in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(parse(&images, &labels).is_err() || labels.len() > 8);
        }
    }
}
