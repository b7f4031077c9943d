//! Zeros around the image as a node of their own: the convolution or pool behind it takes them in.

use super::graph::{float, integers, text, unsupported};
use super::taps::{Sides, pixels};
use super::{Known, Reader};
use crate::error::Result;
use crate::onnx::message::Node;

/// Where height and width stand among the axes.
const HEIGHT: i64 = 2;
const WIDTH: i64 = 3;

impl Reader<'_> {
    pub(super) fn pad(&self, node: &Node) -> Result<Known> {
        let known = self.framed(node, 0)?;
        let value = self.names.scalar(node, 2)?.or(float(node, "value")).unwrap_or(0.0);
        let constant = matches!(text(node, "mode"), None | Some(b"constant"));
        if known.flat || value != 0.0 || !constant {
            return Err(unsupported(node, "something else than zeros around an image"));
        }
        let more = self.sides(node)?;
        Ok(Known { around: std::array::from_fn(|side| known.around[side] + more[side]), ..known })
    }

    /// `pads` has all beginnings, then all ends, of the axes in the order in which they are named.
    fn sides(&self, node: &Node) -> Result<Sides> {
        let pads = integers(node, "pads").map(<[i64]>::to_vec).or_else(|| self.names.integers(node, 1));
        let pads = pads.unwrap_or_default();
        let axes = self.names.integers(node, 3).unwrap_or_else(|| (0..4).collect());
        let mut sides = [0; 4];
        let mut place = |axis: i64, pad: i64, end: bool| match if axis < 0 { axis + 4 } else { axis } {
            HEIGHT => pixels(pad).map(|pad| sides[if end { 2 } else { 0 }] = pad),
            WIDTH => pixels(pad).map(|pad| sides[if end { 3 } else { 1 }] = pad),
            _ => (pad == 0).then_some(()),
        };
        let (starts, ends) = pads.split_at(pads.len() / 2);
        let mut both = axes.iter().zip(starts.iter().zip(ends));
        let placed = both.all(|(&axis, (&start, &end))| {
            place(axis, start, false).is_some() && place(axis, end, true).is_some()
        });
        match placed && pads.len() == 2 * axes.len() {
            true => Ok(sides),
            false => Err(unsupported(node, format!("`pads` {pads:?} of the axes {axes:?}"))),
        }
    }
}
