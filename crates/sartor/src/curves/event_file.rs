//! # TensorBoard event files
//!
//! A chain of records: length (u64), masked CRC-32C of the length, an `Event` message, masked CRC-32C of the
//! message, all little-endian; `masked(c) = rotate_right(c, 15) + 0xa282ead8`. Only scalars are written
//! (`event.proto` and `summary.proto` of TensorBoard: the fields below and no others). The crates that write whole
//! TensorBoard files bring decoders for images or are no longer kept.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use prost::Message;

use super::Point;
use crate::run_folder::artefact;

/// TensorBoard looks for `tfevents` in a file's name.
pub const NAME: &str = "events.out.tfevents.0.sartor";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    value: f32,
}

/// The whole file of these steps.
pub fn bytes(points: &[Point]) -> Vec<u8> {
    let version = Event { file_version: Some("brain.Event:2".to_owned()), ..Event::default() };
    let mut out = vec![];
    std::iter::once(version).chain(points.iter().map(event)).for_each(|event| record(&event, &mut out));
    out
}

fn event(point: &Point) -> Event {
    let scalar = |tag: &str, value: f64| Scalar { tag: tag.to_owned(), value: value as f32 };
    let values = vec![
        scalar("loss", point.loss),
        scalar("accuracy", point.accuracy),
        scalar("learning_rate", point.learning_rate),
    ];
    let summary = Some(Summary { values });
    Event { wall_time: point.step as f64, step: point.step as i64, file_version: None, summary }
}

fn record(event: &Event, out: &mut Vec<u8>) {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    out.extend(length);
    out.extend(masked(&length));
    out.extend(&message);
    out.extend(masked(&message));
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Appends what is missing of a file that only ever grows, so that a reader may hold it open; anything else in its
/// place is replaced.
///
/// # Errors
/// When it cannot be written.
pub fn grow(path: &Path, whole: &[u8]) -> Result<()> {
    match std::fs::read(path) {
        Ok(there) if there == whole => Ok(()),
        Ok(there) if whole.starts_with(&there) => append(path, &whole[there.len()..]),
        _ => artefact::write(path, whole),
    }
}

fn append(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = std::fs::OpenOptions::new().append(true).open(path).and_then(|mut f| f.write_all(bytes));
    written.map_err(|error| artefact::cannot_write(path, &error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: usize) -> Point {
        let phase = "largest".to_owned();
        Point { step, phase, loss: 0.5, accuracy: 0.25, learning_rate: 0.1, ends_epoch: false }
    }

    #[test]
    fn records_are_framed_and_summed_as_tensorboard_reads_them() {
        let bytes = bytes(&[point(7)]);
        // The version record as TensorFlow's own writer frames it, but for the wall time, which is 0 and left out.
        assert_eq!(bytes[..8], 15u64.to_le_bytes());
        assert_eq!(&bytes[14..27], b"brain.Event:2");
        let second = &bytes[12 + 15 + 4..];
        let length = u64::from_le_bytes(second[..8].try_into().unwrap()) as usize;
        let event = Event::decode(&second[12..12 + length]).unwrap();
        assert_eq!((event.step, event.wall_time), (7, 7.0));
        let tags: Vec<_> = event.summary.unwrap().values.into_iter().map(|v| (v.tag, v.value)).collect();
        let expected = [("loss", 0.5), ("accuracy", 0.25), ("learning_rate", 0.1)];
        assert_eq!(tags, expected.map(|(tag, value)| (tag.to_owned(), value)));
    }

    #[test]
    fn the_check_sum_is_crc_32c_and_masked() {
        // CRC-32C("123456789") = 0xe3069283 is the check value of the standard.
        let expected = 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(b"123456789"), expected.to_le_bytes());
    }

    #[test]
    fn a_file_grows_is_kept_or_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join(NAME);
        let points: Vec<_> = (0..5).map(point).collect();
        for count in [2, 4, 4, 1, 5] {
            grow(&path, &bytes(&points[..count])).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes(&points[..count]));
        }
        std::fs::write(&path, b"something else").unwrap();
        grow(&path, &bytes(&points)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes(&points));
    }
}
