//! The layer operations, forward and backward side by side, one file each.
//!
//! Operations work on the images of one chunk; [`crate::executor`] runs the chunks in parallel and adds up their
//! partial sums in a fixed order.

pub(crate) mod columns;
pub(crate) mod convolution;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod expansion;
pub(crate) mod head;
pub(crate) mod kernel_transform;
pub(crate) mod moments;
pub(crate) mod norm;
pub(crate) mod pointwise;
pub(crate) mod quantizer;
pub(crate) mod weights;
