//! # Parameters: where every weight lies in one flat buffer
//!
//! A layout names the numbers of a network. The *elastic* layout of a search space holds every block at its widest
//! and with its largest kernel, and one matrix per kernel step (7→5→3); a subnet is a set of views on it. The
//! *fixed* layout of a workload holds exactly that network, nothing elastic.
//!
//! | array | shape |
//! |---|---|
//! | `<layer>.weight` | `[k·k·in, out]` dense, `[in, out]` pointwise, `[k·k, channels]` depthwise |
//! | `<layer>.gamma`, `<layer>.beta` | `[out]` |
//! | `<layer>.transform<n>` | `[n·n, n·n]`, the step to kernel n |
//! | `classifier.weight`, `classifier.bias` | `[in, classes]`, `[classes]` |

use std::collections::BTreeMap;

use sartor_engine::network::{TransformStep, WeightView};
use sartor_space::{Block, Candidate, Layer, LayerKind, Options, Role, SearchSpace, Workload};

use crate::archive::{Archive, NamedArray};
use crate::error::{Result, SupernetError};

mod initialise;

pub use initialise::initialise;

/// What kind of number an array holds; decides its first values and whether weight decay applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Convolution weights with this many inputs per output.
    Weight {
        /// Products summed into one output.
        fan_in: usize,
    },
    /// Factors of a batch norm.
    Gamma,
    /// Shifts of a batch norm.
    Beta,
    /// A kernel transform, square of this side.
    Transform {
        /// Rows and columns.
        side: usize,
    },
    /// Weights of the classifier with this many inputs.
    Classifier {
        /// Features.
        fan_in: usize,
    },
    /// Bias of the classifier.
    Bias,
}

/// One array of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the array.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Index of the first number in the buffer.
    pub offset: usize,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// The numbers' place in the buffer.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.shape.iter().product::<usize>()
    }
}

/// Where one layer's numbers lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSlot {
    /// The weight matrix at full size.
    pub weight: WeightView,
    /// Rows stored.
    pub rows: usize,
    /// Columns stored.
    pub columns: usize,
    /// Side of the stored kernel.
    pub kernel: usize,
    /// Kernel steps, falling.
    pub steps: Vec<TransformStep>,
    /// Offset of the norm's factors (of the bias, for the classifier).
    pub gamma: usize,
    /// Offset of the norm's shifts (of the bias, for the classifier).
    pub beta: usize,
}

/// The arrays of a network and the places of its layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    entries: Vec<Entry>,
    slots: BTreeMap<String, LayerSlot>,
    length: usize,
}

impl Layout {
    /// Layout of all elastic weights of a space.
    pub fn elastic(space: &SearchSpace) -> Self {
        let largest = Candidate { subnet: space.largest(), policy: None };
        let mut layout = Self::default();
        for layer in &space.lower(&largest).layers {
            layout.add(&stretched(layer, space), &kernels(layer, space));
        }
        layout
    }

    /// Layout of exactly one network.
    pub fn fixed(workload: &Workload) -> Self {
        let mut layout = Self::default();
        workload.layers.iter().for_each(|layer| layout.add(layer, &[layer.kernel]));
        layout
    }

    /// Numbers in the buffer.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no numbers.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All arrays in buffer order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The place of a layer's numbers.
    pub fn slot(&self, layer: &str) -> Result<&LayerSlot> {
        self.slots.get(layer).ok_or_else(|| SupernetError::MissingLayer { layer: layer.to_string() })
    }

    /// Whether weight decay applies to each number: to weights and transforms, not to norms and biases.
    pub fn decay_mask(&self) -> Vec<bool> {
        let mut mask = vec![false; self.length];
        for entry in &self.entries {
            mask[entry.range()].fill(!matches!(entry.kind, Kind::Gamma | Kind::Beta | Kind::Bias));
        }
        mask
    }

    /// The buffer as named arrays, each name with this prefix.
    pub fn arrays(&self, values: &[f32], prefix: &str) -> Vec<NamedArray> {
        let array = |entry: &Entry| {
            NamedArray::new(format!("{prefix}{}", entry.name), &entry.shape, &values[entry.range()])
        };
        self.entries.iter().map(array).collect()
    }

    /// The buffer back from named arrays; every array must be there.
    pub fn read(&self, archive: &Archive, prefix: &str) -> Result<Vec<f32>> {
        let mut values = vec![0.0; self.length];
        for entry in &self.entries {
            let stored = archive.array(&format!("{prefix}{}", entry.name), &entry.shape)?;
            values[entry.range()].copy_from_slice(stored);
        }
        Ok(values)
    }

    fn add(&mut self, layer: &Layer, kernels: &[usize]) {
        if layer.kind() == LayerKind::Linear {
            return self.add_classifier(layer);
        }
        let (rows, columns) = (rows(layer), layer.out_channels);
        let weight = self.push(layer, "weight", &[rows, columns], Kind::Weight { fan_in: rows });
        let gamma = self.push(layer, "gamma", &[columns], Kind::Gamma);
        let beta = self.push(layer, "beta", &[columns], Kind::Beta);
        let steps = kernels.iter().skip(1).map(|&kernel| self.add_transform(layer, kernel)).collect();
        let weight = WeightView { offset: weight, row_stride: columns };
        let slot = LayerSlot { weight, rows, columns, kernel: layer.kernel, steps, gamma, beta };
        self.slots.insert(layer.name.clone(), slot);
    }

    fn add_classifier(&mut self, layer: &Layer) {
        let (rows, columns) = (layer.in_channels, layer.out_channels);
        let weight = self.push(layer, "weight", &[rows, columns], Kind::Classifier { fan_in: rows });
        let bias = self.push(layer, "bias", &[columns], Kind::Bias);
        let weight = WeightView { offset: weight, row_stride: columns };
        let slot = LayerSlot { weight, rows, columns, kernel: 1, steps: vec![], gamma: bias, beta: bias };
        self.slots.insert(layer.name.clone(), slot);
    }

    fn add_transform(&mut self, layer: &Layer, kernel: usize) -> TransformStep {
        let side = kernel * kernel;
        let name = format!("transform{kernel}");
        TransformStep {
            kernel,
            matrix_offset: self.push(layer, &name, &[side, side], Kind::Transform { side }),
        }
    }

    fn push(&mut self, layer: &Layer, array: &str, shape: &[usize], kind: Kind) -> usize {
        let offset = self.length;
        let name = format!("{}.{array}", layer.name);
        self.length += shape.iter().product::<usize>();
        self.entries.push(Entry { name, shape: shape.to_vec(), offset, kind });
        offset
    }
}

/// Rows of a layer's weight matrix.
pub fn rows(layer: &Layer) -> usize {
    layer.kernel * layer.kernel * layer.in_channels / layer.groups.max(1)
}

/// The layer with its block at its widest and with its largest kernel.
fn stretched(layer: &Layer, space: &SearchSpace) -> Layer {
    let mut layer = layer.clone();
    match layer.role {
        Role::Expand { block } => layer.out_channels = widths(space, block)[0],
        Role::Project { block } => layer.in_channels = widths(space, block)[0],
        Role::Depthwise { block } => {
            let width = widths(space, block)[0];
            (layer.in_channels, layer.out_channels, layer.groups) = (width, width, width);
            layer.kernel = block_kernels(space, block)[0];
        }
        _ => {}
    }
    layer
}

fn kernels(layer: &Layer, space: &SearchSpace) -> Vec<usize> {
    match layer.role {
        Role::Depthwise { block } => block_kernels(space, block),
        _ => vec![layer.kernel],
    }
}

/// Expanded widths that a block may take, widest first.
pub fn widths(space: &SearchSpace, block: usize) -> Vec<usize> {
    match &space.blocks()[block].options {
        Options::Grid { widths, .. } => falling(widths.iter().copied()),
        Options::List(blocks) => falling(blocks.iter().map(|block: &Block| block.width)),
    }
}

/// Kernels that a block may take, largest first.
pub fn block_kernels(space: &SearchSpace, block: usize) -> Vec<usize> {
    match &space.blocks()[block].options {
        Options::Grid { kernels, .. } => falling(kernels.iter().copied()),
        Options::List(blocks) => falling(blocks.iter().map(|block: &Block| block.kernel)),
    }
}

fn falling(values: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut values: Vec<usize> = values.collect();
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.dedup();
    values
}
