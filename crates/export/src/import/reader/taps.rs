//! # Any window as a square one with the same padding everywhere
//!
//! A kernel of h × w taps, some pixels apart, with padding that may differ from side to side, computes what a larger
//! square kernel computes that has zeros between and around the taps. A pool has no zeros to give: its padding may only
//! differ between the first sides (top, left) and the last (bottom, right).

use super::graph::{integer, integers, square, text, unsupported};
use crate::error::Result;
use crate::onnx::message::Node;

/// Largest side of a kernel.
pub(super) const LARGEST_KERNEL: usize = 31;
/// Most weights of a layer that is padded with zeros.
pub(super) const MOST_WEIGHTS: usize = 1 << 24;

/// Pixels at the top, the left, the bottom and the right, in this order.
pub(super) type Sides = [usize; 4];

/// The taps of a convolution as the file has them.
pub(super) struct Taps {
    /// How many, in height and width.
    count: [usize; 2],
    /// Pixels from one to the next.
    apart: [usize; 2],
    sides: Sides,
    /// Same in both directions.
    pub stride: usize,
}

/// A square kernel that computes the same.
pub(super) struct Square {
    pub kernel: usize,
    /// On all sides.
    pub padding: usize,
    /// Rows and columns of zeros before the first tap.
    before: [usize; 2],
}

impl Taps {
    /// Reads strides, dilations and padding; `around` are zeros that are around the image already.
    pub fn of(node: &Node, count: [usize; 2], around: Sides, size: usize) -> Result<Self> {
        let stride = square(node, "strides", 1)?;
        let apart = dilations(node)?;
        if stride == 0 {
            return Err(unsupported(node, "no stride"));
        }
        let mut taps = Self { count, apart, sides: around, stride };
        let own = sides(node, taps.reach(), stride, framed(size, around))?;
        taps.sides.iter_mut().zip(own).for_each(|(side, own)| *side += own);
        let [top, left, bottom, right] = taps.sides;
        let fits = |reach: usize, before: usize, after: usize| {
            reach <= size + before + after && before < reach && after < reach
        };
        let [height, width] = taps.reach();
        if fits(height, top, bottom) && fits(width, left, right) {
            return Ok(taps);
        }
        let kernel = taps.kernel();
        Err(unsupported(node, format!("a kernel of {kernel} with padding {:?} on {size} pixels", taps.sides)))
    }

    /// Pixels from the first tap to the last, both included.
    fn reach(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.count[axis] - 1) * self.apart[axis] + 1)
    }

    /// For messages.
    fn kernel(&self) -> String {
        let [height, width] = self.count;
        let count = if height == width { height.to_string() } else { format!("{height}×{width}") };
        match self.apart {
            [1, 1] => count,
            [rows, columns] if rows == columns => format!("{count}, {rows} apart"),
            apart => format!("{count}, {apart:?} apart"),
        }
    }

    /// The smallest square kernel with equal padding that computes the same.
    pub fn squared(&self, node: &Node) -> Result<Square> {
        let ([height, width], [top, left, bottom, right]) = (self.reach(), self.sides);
        let padding = top.max(left).max(bottom).max(right);
        let kernel = height + 2 * padding - top - bottom;
        if kernel == width + 2 * padding - left - right && kernel <= LARGEST_KERNEL {
            return Ok(Square { kernel, padding, before: [padding - top, padding - left] });
        }
        let what = format!(
            "a kernel of {} with padding {:?} that no square kernel of up to {LARGEST_KERNEL} makes up for",
            self.kernel(),
            self.sides
        );
        Err(unsupported(node, what))
    }

    /// What the zeros cost, if there are any.
    pub fn note(&self, square: &Square) -> Option<String> {
        let (now, before) = (square.kernel * square.kernel, self.count[0] * self.count[1]);
        let more = now as f64 / before as f64;
        let what = format!(
            "a kernel of {} instead of {}: {more:.1} times the products",
            square.kernel,
            self.kernel()
        );
        (now > before).then_some(what)
    }

    /// `[…, kernel, kernel]` of `[…, height, width]`.
    pub fn spread(&self, node: &Node, square: &Square, values: Vec<f32>) -> Result<Vec<f32>> {
        let [height, width] = self.count;
        let (kernel, taps) = (square.kernel, square.kernel * square.kernel);
        if taps == height * width {
            return Ok(values);
        }
        let filters = values.len() / (height * width);
        if filters > MOST_WEIGHTS / taps {
            return Err(unsupported(node, format!("{filters} filters that would take a kernel of {kernel}")));
        }
        let mut all = vec![0.0; filters * taps];
        for (to, from) in all.chunks_exact_mut(taps).zip(values.chunks_exact(height * width)) {
            for (index, &value) in from.iter().enumerate() {
                let row = square.before[0] + index / width * self.apart[0];
                let column = square.before[1] + index % width * self.apart[1];
                to[row * kernel + column] = value;
            }
        }
        Ok(all)
    }
}

/// The window of a pool.
pub(super) struct Window {
    pub kernel: usize,
    pub stride: usize,
    /// Above and on the left; below and on the right.
    pub padding: [usize; 2],
    /// Whether some of it is the node's own.
    pub own_padding: bool,
    /// Height and width of what comes out.
    pub output_size: usize,
}

impl Window {
    /// Reads a pool; `around` are zeros that are around the image already.
    pub fn of(node: &Node, around: Sides, size: usize) -> Result<Self> {
        let (kernel, stride) = (square(node, "kernel_shape", 0)?, square(node, "strides", 1)?);
        let own = match kernel.min(stride) {
            0 => [0; 4],
            _ => sides(node, [kernel; 2], stride, framed(size, around))?,
        };
        let [top, left, bottom, right] = std::array::from_fn(|side| own[side] + around[side]);
        if top != left || bottom != right {
            let what = format!(
                "a pool with padding {:?} that makes the image longer than wide",
                [top, left, bottom, right]
            );
            return Err(unsupported(node, what));
        }
        let padded = size + top + bottom;
        let usable = kernel > top.max(bottom) && stride > 0 && kernel <= padded && dilations(node)? == [1; 2];
        if !usable {
            let what = format!(
                "a window of {kernel}, stride {stride}, padding {:?} on {size} pixels",
                [top, bottom]
            );
            return Err(unsupported(node, what));
        }
        // Rounding up adds a window, unless it would begin behind the image.
        let ceiling = integer(node, "ceil_mode", 0) != 0;
        let steps = if ceiling { (padded - kernel).div_ceil(stride) } else { (padded - kernel) / stride };
        let last = if steps * stride < size + top { steps } else { steps - 1 };
        let bottom = bottom.max((last * stride + kernel).saturating_sub(size + top));
        let own_padding = own != [0; 4] || bottom > around[2];
        Ok(Self { kernel, stride, padding: [top, bottom], own_padding, output_size: last + 1 })
    }
}

/// Height and width of an image with zeros around it.
fn framed(size: usize, [top, left, bottom, right]: Sides) -> [usize; 2] {
    [size + top + bottom, size + left + right]
}

fn dilations(node: &Node) -> Result<[usize; 2]> {
    let Some(values) = integers(node, "dilations") else { return Ok([1; 2]) };
    let usable =
        |&value: &i64| usize::try_from(value).ok().filter(|value| (1..=LARGEST_KERNEL).contains(value));
    match values.iter().map(usable).collect::<Option<Vec<_>>>().as_deref() {
        Some(&[rows, columns]) => Ok([rows, columns]),
        _ => Err(unsupported(node, format!("`dilations` {values:?}"))),
    }
}

/// Padding as it is written, or as `auto_pad` asks for it.
fn sides(node: &Node, reach: [usize; 2], stride: usize, sizes: [usize; 2]) -> Result<Sides> {
    let last = |axis: usize| (sizes[axis].div_ceil(stride) - 1) * stride + reach[axis];
    let total = [0, 1].map(|axis| last(axis).saturating_sub(sizes[axis]));
    let ([top, left], [bottom, right]) = (total.map(|total| total / 2), total.map(|total| total.div_ceil(2)));
    match text(node, "auto_pad") {
        Some(b"SAME_UPPER") => Ok([top, left, bottom, right]),
        Some(b"SAME_LOWER") => Ok([bottom, right, top, left]),
        Some(b"VALID") => Ok([0; 4]),
        _ => pads(node),
    }
}

fn pads(node: &Node) -> Result<Sides> {
    let Some(pads) = integers(node, "pads") else { return Ok([0; 4]) };
    match pads.iter().map(|&pad| pixels(pad)).collect::<Option<Vec<_>>>().as_deref() {
        Some(&[top, left, bottom, right]) => Ok([top, left, bottom, right]),
        _ => Err(unsupported(node, format!("`pads` {pads:?}"))),
    }
}

/// A side of padding, if it is one.
pub(super) fn pixels(pad: i64) -> Option<usize> {
    usize::try_from(pad).ok().filter(|&pad| pad <= LARGEST_KERNEL)
}
