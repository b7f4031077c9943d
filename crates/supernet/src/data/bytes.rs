//! Reading files without believing them: plain or gzip, and never more bytes than expected.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::DataError;

/// Most bytes of pixels that a data set may have (8 GiB).
pub(super) const MOST_BYTES: u64 = 8 << 30;

/// No deflate stream expands by more than this factor (RFC 1951: 258 bytes from 2 bits, so just under 1,032).
const MOST_EXPANSION: u64 = 1032;

/// First bytes of a gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file being read, with what errors need to say.
pub(super) struct Input<R> {
    reader: R,
    path: PathBuf,
    /// Most bytes that can come out, judging by the size of the file.
    ceiling: u64,
}

/// Opens a plain or gzip file; which one is seen from its first two bytes.
pub(super) fn open(path: &Path, what: &'static str) -> Result<Input<Box<dyn Read>>, DataError> {
    let mut file = open_file(path, what)?;
    let length = file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len();
    let mut start = Vec::new();
    let io = |source| DataError::Io { path: path.into(), source };
    (&mut file).take(2).read_to_end(&mut start).map_err(io)?;
    let zipped = start == GZIP_MAGIC;
    let whole = BufReader::new(std::io::Cursor::new(start).chain(file));
    let reader: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
    let ceiling = if zipped { length.saturating_mul(MOST_EXPANSION) } else { length };
    Ok(Input { reader, path: path.into(), ceiling })
}

/// All bytes of a plain file.
pub(super) fn read_plain(path: &Path, what: &'static str) -> Result<Vec<u8>, DataError> {
    let file = open_file(path, what)?;
    let length = file.metadata().map_err(|source| DataError::Io { path: path.into(), source })?.len();
    Input { reader: file, path: path.into(), ceiling: length }.take(length, what)
}

fn open_file(path: &Path, what: &'static str) -> Result<File, DataError> {
    if path.is_dir() {
        return Err(DataError::Missing { what, path: path.into() });
    }
    File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => DataError::Missing { what, path: path.into() },
        _ => DataError::Io { path: path.into(), source },
    })
}

impl<R: Read> Input<R> {
    /// An input of known length, such as bytes in memory.
    #[cfg(test)]
    pub(super) fn new(reader: R, length: u64) -> Self {
        Input { reader, path: "test".into(), ceiling: length }
    }

    /// The file's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next `length` bytes. Memory grows only as bytes really arrive.
    pub(super) fn take(&mut self, length: u64, what: &'static str) -> Result<Vec<u8>, DataError> {
        self.check_size(length, what)?;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes);
        read.map_err(|source| self.read_error(source))?;
        let got = bytes.len() as u64;
        match got == length {
            true => Ok(bytes),
            false => Err(DataError::Truncated { path: self.path.clone(), what, expected: length, got }),
        }
    }

    /// Refuses a claim that this file cannot hold, before anything is allocated.
    pub(super) fn check_size(&self, claimed: u64, what: &'static str) -> Result<(), DataError> {
        let path = self.path.clone();
        if claimed > MOST_BYTES {
            return Err(DataError::TooLarge { path, what, claimed, limit: MOST_BYTES });
        }
        if claimed > self.ceiling {
            return Err(DataError::Truncated { path, what, expected: claimed, got: self.ceiling });
        }
        Ok(())
    }

    /// Makes sure that nothing follows; `expected` is what has been read.
    pub(super) fn finish(mut self, expected: u64) -> Result<(), DataError> {
        let mut one = Vec::new();
        let read = (&mut self.reader).take(1).read_to_end(&mut one);
        read.map_err(|source| self.read_error(source))?;
        match one.is_empty() {
            true => Ok(()),
            false => Err(DataError::TrailingBytes { path: self.path, expected }),
        }
    }

    fn read_error(&self, source: std::io::Error) -> DataError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
                DataError::Gzip { path, reason: source.to_string() }
            }
            _ => DataError::Io { path, source },
        }
    }
}

/// Product of header fields; saturates, so that an overflow is refused as too large.
pub(super) fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |total: u64, &factor| total.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_and_zipped_files_read_alike() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("plain", b"0123456789".to_vec()), ("zipped", zipped(b"0123456789"))] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let mut input = open(&path, "test").unwrap();
            assert_eq!(input.take(4, "head").unwrap(), b"0123", "{name}");
            assert_eq!(input.take(6, "body").unwrap(), b"456789", "{name}");
            input.finish(10).unwrap();
        }
    }

    #[test]
    fn short_long_and_impossible_files_are_told_apart() {
        let input = |bytes: &'static [u8]| Input::new(bytes, 100);
        assert!(matches!(input(b"abc").take(4, "x"), Err(DataError::Truncated { expected: 4, got: 3, .. })));
        assert!(matches!(input(b"abc").finish(0), Err(DataError::TrailingBytes { .. })));
        assert!(matches!(input(b"abc").take(101, "x"), Err(DataError::Truncated { got: 100, .. })));
        assert!(matches!(input(b"abc").take(u64::MAX, "x"), Err(DataError::TooLarge { .. })));
    }

    #[test]
    fn a_cut_gzip_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.gz");
        let whole = zipped(&[7; 5000]);
        for length in 2..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let all = open(&path, "test").and_then(|mut input| {
                input.take(5000, "body")?;
                input.finish(5000)
            });
            assert!(all.is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn a_gzip_bomb_is_not_unpacked_beyond_what_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.gz");
        std::fs::write(&path, zipped(&vec![0; 20 << 20])).unwrap();
        let mut input = open(&path, "test").unwrap();
        let bytes = input.take(100, "body").unwrap();
        assert!(bytes.capacity() < 4096, "{}", bytes.capacity());
        assert!(matches!(input.finish(100), Err(DataError::TrailingBytes { expected: 100, .. })));
    }
}
