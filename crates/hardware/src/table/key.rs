//! # What identifies a layer in a table

use std::fmt;

use sartor_space::{Layer, Role};
use serde::Serialize;

/// Shape, bit-widths, and whether it is the network's input layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct LayerKey {
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Side of the input in pixels.
    pub input_size: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Padding on every side.
    pub padding: usize,
    /// Channel groups.
    pub groups: usize,
    /// Bits of a weight.
    pub weight_bits: u8,
    /// Bits of an input activation.
    pub activation_bits: u8,
    /// Whether it is the network's input layer.
    pub first: bool,
}

impl LayerKey {
    /// The key of a layer.
    pub fn of(layer: &Layer) -> Self {
        Self {
            in_channels: layer.in_channels,
            out_channels: layer.out_channels,
            input_size: layer.input_size,
            kernel: layer.kernel,
            stride: layer.stride,
            padding: layer.padding,
            groups: layer.groups,
            weight_bits: layer.weight_bits,
            activation_bits: layer.activation_bits,
            first: layer.first,
        }
    }

    /// A layer with this key and a name, outside any network.
    pub fn layer(&self, name: &str) -> Layer {
        Layer {
            name: name.to_owned(),
            role: Role::Other,
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            input_size: self.input_size,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            groups: self.groups,
            weight_bits: self.weight_bits,
            activation_bits: self.activation_bits,
            signed_input: false,
            relu: false,
            residual: false,
            first: self.first,
        }
    }

    /// The nine shape and width columns, comma-separated.
    pub(crate) fn columns(&self) -> String {
        let shape = [self.in_channels, self.out_channels, self.input_size, self.kernel, self.stride];
        let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
        let (padding, groups) = (self.padding, self.groups);
        format!("{},{padding},{groups},{},{}", shape.join(","), self.weight_bits, self.activation_bits)
    }
}

impl fmt::Display for LayerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_channels, out_channels, input_size, kernel, stride, padding, groups, .. } = self;
        let (weight, activation) = (self.weight_bits, self.activation_bits);
        write!(
            formatter,
            "({in_channels}, {out_channels}, {input_size}, {kernel}, {stride}, {padding}, {groups})-W{weight}A{activation}"
        )?;
        formatter.write_str(if self.first { " (input layer)" } else { "" })
    }
}
