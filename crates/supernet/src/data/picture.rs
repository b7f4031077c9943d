//! # One picture
//!
//! Decodes PNG and JPEG to 8 bits, grey or colour, without alpha, and scales. The triangle filter weighs a source
//! pixel at distance d from the target's centre, in units of the larger of a source and a target pixel, by
//! `max(0, 1 - |d|)`.

use std::fs;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::DataError;

/// Most memory that decoding one picture may take.
const MOST_DECODING_BYTES: usize = 256 << 20;
/// First bytes of a PNG file.
const PNG: [u8; 4] = [0x89, b'P', b'N', b'G'];
/// First bytes of a JPEG file.
const JPEG: [u8; 2] = [0xff, 0xd8];
/// Weights of red, green and blue in grey (ITU-R BT.709), in ten-thousandths.
const GREY: [u32; 3] = [2126, 7152, 722];

/// Pixels in rows, channels innermost: 1 (grey) or 3 (red, green, blue).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Reads a file of at most `side` × `side` pixels.
    pub(super) fn open(path: &Path, side: usize) -> Result<Self, DataError> {
        let bytes = fs::read(path).map_err(|source| DataError::Io { path: path.into(), source })?;
        let decoded = match &bytes[..] {
            bytes if bytes.starts_with(&PNG) => png(bytes, side),
            bytes if bytes.starts_with(&JPEG) => jpeg(bytes, side),
            _ => Err("neither PNG nor JPEG by its first bytes".into()),
        };
        decoded.map_err(|reason| DataError::Decode { path: path.into(), reason })
    }

    /// The same in `channels` channels, 1 or 3.
    pub(super) fn with_channels(self, channels: usize) -> Self {
        let pixels = match (self.channels, channels) {
            (3, 1) => self.pixels.chunks_exact(3).map(grey).collect(),
            (1, 3) => self.pixels.iter().flat_map(|&v| [v; 3]).collect(),
            _ => return self,
        };
        Self { channels, pixels, ..self }
    }

    /// The middle square, scaled to `side` × `side`.
    pub(super) fn square(self, side: usize) -> Self {
        if self.width == side && self.height == side {
            return self;
        }
        let shorter = self.width.min(self.height);
        let [columns, rows] = [self.width, self.height].map(|length| spans(length, shorter, side));
        let mut narrow = Vec::with_capacity(self.height * side * self.channels);
        for row in self.pixels.chunks_exact(self.width * self.channels) {
            for column in &columns {
                narrow.extend(
                    (0..self.channels).map(|c| column.sum(|x| f32::from(row[x * self.channels + c]))),
                );
            }
        }
        let width = side * self.channels;
        let places = rows.iter().flat_map(|row| (0..width).map(move |i| (row, i)));
        let pixels = places.map(|(row, i)| row.sum(|y| narrow[y * width + i]).round() as u8).collect();
        Self { width: side, height: side, pixels, ..self }
    }
}

fn grey(colour: &[u8]) -> u8 {
    let sum: u32 = colour.iter().zip(GREY).map(|(&v, weight)| u32::from(v) * weight).sum();
    (sum / 10_000) as u8
}

/// The source pixels of one target pixel along one axis, and their weights, which add up to 1.
struct Span {
    pixels: Range<usize>,
    weights: Vec<f32>,
}

impl Span {
    fn sum(&self, value: impl Fn(usize) -> f32) -> f32 {
        self.pixels.clone().zip(&self.weights).map(|(at, weight)| value(at) * weight).sum()
    }
}

/// Spans of `side` target pixels over the middle `shorter` of `length` source pixels.
fn spans(length: usize, shorter: usize, side: usize) -> Vec<Span> {
    let (ratio, offset) = (shorter as f32 / side as f32, (length - shorter) as f32 / 2.0);
    let reach = ratio.max(1.0);
    let span = |target: usize| {
        let centre = offset + (target as f32 + 0.5) * ratio;
        let first = ((centre - reach).floor().max(0.0) as usize).min(length - 1);
        let last = ((centre + reach).ceil() as usize).clamp(first + 1, length);
        let weight = |at: usize| (1.0 - (at as f32 + 0.5 - centre).abs() / reach).max(0.0);
        let total: f32 = (first..last).map(weight).sum();
        Span { pixels: first..last, weights: (first..last).map(|at| weight(at) / total).collect() }
    };
    (0..side).map(span).collect()
}

fn check_sides(width: usize, height: usize, side: usize) -> Result<(), String> {
    match width.max(height) <= side && width.min(height) > 0 {
        true => Ok(()),
        false => Err(format!("{width} by {height} pixels, at most {side} a side are read")),
    }
}

fn png(bytes: &[u8], side: usize) -> Result<Picture, String> {
    let text = |error: png::DecodingError| error.to_string();
    let limits = png::Limits { bytes: MOST_DECODING_BYTES };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(text)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_sides(width, height, side)?;
    let size = reader.output_buffer_size().filter(|&size| size <= MOST_DECODING_BYTES);
    let mut pixels = vec![0; size.ok_or("too large to decode")?];
    reader.next_frame(&mut pixels).map_err(text)?;
    let samples = reader.output_color_type().0.samples();
    let channels = if samples >= 3 { 3 } else { 1 };
    if samples != channels {
        pixels = pixels.chunks_exact(samples).flat_map(|pixel| &pixel[..channels]).copied().collect();
    }
    pixels.truncate(width * height * channels);
    Ok(Picture { width, height, channels, pixels })
}

fn jpeg(bytes: &[u8], side: usize) -> Result<Picture, String> {
    let options = DecoderOptions::default().set_max_width(side).set_max_height(side);
    let options = options.jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("no size in its header")?;
    check_sides(width, height, side)?;
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let channels = 3;
    match pixels.len() == width * height * channels {
        true => Ok(Picture { width, height, channels, pixels }),
        false => Err(format!("{} bytes of pixels for {width} by {height}", pixels.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, channels: usize, value: impl Fn(usize, usize) -> u8) -> Picture {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| vec![value(x, y); channels]).collect();
        Picture { width, height, channels, pixels }
    }

    #[test]
    fn squares_keep_constants_and_the_middle() {
        for (width, height, side) in [(6, 4, 4), (5, 9, 3), (3, 3, 7), (1, 8, 2), (4, 4, 4)] {
            let flat = picture(width, height, 3, |_, _| 77).square(side);
            assert_eq!(flat, picture(side, side, 3, |_, _| 77), "{width} {height} {side}");
        }
        let edges = picture(8, 4, 1, |x, _| if (2..6).contains(&x) { 9 } else { 200 });
        assert_eq!(edges.square(4), picture(4, 4, 1, |_, _| 9));
    }

    #[test]
    fn halving_weighs_neighbours() {
        let ramp = picture(8, 8, 1, |x, _| 10 * x as u8).square(4);
        // Weights 1/8, 3/8, 3/8, 1/8 around the target's centre; at the edges 3/7, 3/7, 1/7.
        assert_eq!(&ramp.pixels[..4], [7, 25, 45, 63]);
    }

    #[test]
    fn colours_become_grey_by_weight() {
        let colours =
            Picture { width: 3, height: 1, channels: 3, pixels: vec![100, 0, 0, 0, 100, 0, 9, 9, 9] };
        assert_eq!(colours.with_channels(1).pixels, [21, 71, 9]);
        assert_eq!(picture(1, 1, 1, |_, _| 5).with_channels(3).pixels, [5, 5, 5]);
    }
}
