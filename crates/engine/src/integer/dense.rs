//! # Dense convolution: pointwise and full, any kernel
//!
//! A product of two matrices: windows (one row per output pixel, `kernel² · channels` long, an odd length filled up with
//! a zero) times weights packed as `[block of 16 outputs][pair of rows][output][2]`. A few windows are gathered at a time;
//! those of a 1×1 convolution at stride 1 with an even number of channels lie in the image as they are.

use super::instructions::{BLOCK, Instructions, Kernel, Pairs, dispatch};
use super::{Geometry, Sink};

/// Output pixels computed together, beyond which registers run out.
const TILE: usize = 12;
/// … where there are half as many registers, or pixels are left over.
const SMALL_TILE: usize = 4;

/// A convolution over all channels, its weights packed.
#[derive(Clone, Debug)]
pub struct Dense {
    geometry: Geometry,
    packed: Vec<i16>,
}

impl Dense {
    /// Packs `weights`, `[kernel², channels, output channels]`.
    ///
    /// # Panics
    /// If there are more or fewer weights than that.
    pub fn new(geometry: Geometry, weights: &[i8]) -> Self {
        let (rows, width) = (geometry.taps() * geometry.channels, geometry.output_channels);
        assert_eq!(weights.len(), rows * width, "weights of a dense convolution");
        let mut packed = vec![0; width.div_ceil(BLOCK) * rows.div_ceil(2) * 2 * BLOCK];
        for (index, &weight) in weights.iter().enumerate() {
            let (row, output) = (index / width, index % width);
            let pair = output / BLOCK * rows.div_ceil(2) + row / 2;
            packed[(pair * BLOCK + output % BLOCK) * 2 + row % 2] = weight.into();
        }
        Self { geometry, packed }
    }

    /// One image of `[size, size, channels]` values.
    ///
    /// # Panics
    /// If there are more or fewer values than that.
    pub fn run(&self, values: &[i16], sink: &mut impl Sink) {
        self.run_with(Instructions::chosen(), values, sink);
    }

    pub(super) fn run_with(&self, instructions: Instructions, values: &[i16], sink: &mut impl Sink) {
        assert_eq!(values.len(), self.geometry.input_len(), "values of a dense convolution");
        dispatch(instructions, Run { layer: self, values, sink });
    }

    /// Numbers of one window, with the zero that makes them even.
    fn depth(&self) -> usize {
        (self.geometry.taps() * self.geometry.channels).next_multiple_of(2)
    }

    /// Whether windows lie in the image as they are.
    fn in_place(&self) -> bool {
        let Geometry { kernel, stride, padding, channels, .. } = self.geometry;
        (kernel, stride, padding, channels % 2) == (1, 1, 0, 0)
    }

    #[inline(always)]
    fn gather(&self, values: &[i16], first: usize, taps: &mut Vec<(usize, usize)>, windows: &mut [i16]) {
        let channels = self.geometry.channels;
        for (window, pixel) in windows.chunks_exact_mut(self.depth()).zip(first..) {
            self.geometry.window(pixel, taps);
            if taps.len() < self.geometry.taps() {
                window.fill(0);
            }
            for &(tap, place) in taps.iter() {
                let to = &mut window[tap * channels..][..channels];
                to.copy_from_slice(&values[place * channels..][..channels]);
            }
        }
    }
}

struct Run<'a, S> {
    layer: &'a Dense,
    values: &'a [i16],
    sink: &'a mut S,
}

impl<S: Sink> Kernel for Run<'_, S> {
    #[inline(always)]
    unsafe fn run<P: Pairs>(self) {
        let Run { layer, values, sink } = self;
        let (depth, width, pixels) = (layer.depth(), layer.geometry.output_channels, layer.geometry.pixels());
        let mut windows = vec![0; TILE * depth];
        let mut sums = vec![0; TILE * width];
        let mut taps = Vec::with_capacity(layer.geometry.taps());
        let mut pixel = 0;
        while pixel < pixels {
            let left = pixels - pixel;
            let count = match left {
                _ if left >= TILE && P::LANES == BLOCK => TILE,
                SMALL_TILE.. => SMALL_TILE,
                _ => 1,
            };
            let tile = if layer.in_place() {
                &values[pixel * depth..][..count * depth]
            } else {
                layer.gather(values, pixel, &mut taps, &mut windows[..count * depth]);
                &windows[..count * depth]
            };
            let sums = &mut sums[..count * width];
            // SAFETY: the caller has the instructions of `P`.
            unsafe {
                match count {
                    TILE => product::<P, TILE>(&layer.packed, depth, tile, sums),
                    SMALL_TILE => product::<P, SMALL_TILE>(&layer.packed, depth, tile, sums),
                    _ => product::<P, 1>(&layer.packed, depth, tile, sums),
                }
            }
            sink.take(sums);
            pixel += count;
        }
    }
}

/// Sums of `ROWS` windows, block by block of outputs.
#[inline(always)]
unsafe fn product<P: Pairs, const ROWS: usize>(
    packed: &[i16],
    depth: usize,
    windows: &[i16],
    sums: &mut [i32],
) {
    let width = sums.len() / ROWS;
    let mut block = [[0; BLOCK]; ROWS];
    for (index, weights) in packed.chunks_exact(depth * BLOCK).enumerate() {
        for lane in (0..BLOCK).step_by(P::LANES) {
            // SAFETY: the caller has the instructions of `P`; a block has `BLOCK` lanes, of which `P::LANES` start here.
            unsafe { lanes::<P, ROWS>(weights, depth, windows, lane, &mut block) }
        }
        let (start, outputs) = (index * BLOCK, BLOCK.min(width - index * BLOCK));
        for (row, block) in sums.chunks_exact_mut(width).zip(&block) {
            row[start..start + outputs].copy_from_slice(&block[..outputs]);
        }
    }
}

/// Sums of `P::LANES` outputs from `lane` on.
#[inline(always)]
unsafe fn lanes<P: Pairs, const ROWS: usize>(
    weights: &[i16],
    depth: usize,
    windows: &[i16],
    lane: usize,
    block: &mut [[i32; BLOCK]; ROWS],
) {
    assert!(weights.len() >= depth * BLOCK && windows.len() >= ROWS * depth && lane + P::LANES <= BLOCK);
    // SAFETY: `depth` is even; pair `p` of row `r` lies at `r · depth + 2p < ROWS · depth`, its weights at
    // `2 · (p · BLOCK + lane)` with `2 · P::LANES` numbers, below `depth · BLOCK`: both checked above.
    unsafe {
        let mut sums = [P::no_sums(); ROWS];
        for pair in 0..depth / 2 {
            let weights = P::load(weights.as_ptr().add(2 * (pair * BLOCK + lane)));
            for (row, sum) in sums.iter_mut().enumerate() {
                let value = P::splat(windows.as_ptr().add(row * depth + 2 * pair));
                *sum = P::add_products(*sum, value, weights);
            }
        }
        for (row, sum) in block.iter_mut().zip(sums) {
            P::store(sum, row.as_mut_ptr().add(lane));
        }
    }
}
