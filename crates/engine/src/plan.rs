//! Where every tensor of a network lies, for a batch of a given size.
//!
//! Three arenas: activations (image, convolution outputs, finished linear outputs and, going backward, kept
//! gradients), packed weights, and norm numbers. Tensors that are no longer needed give their place to later ones:
//! training keeps all activations and lets kept gradients share places; forward-only runs share activations too.

use std::ops::Range;

use crate::arena::ALIGNMENT;
use crate::kernels::{pitch, scratch_stride};
use crate::network::{Activation, Convolution, Layer, Network};
use crate::ops::{dense, depthwise, moments, norm};

/// Batches are cut into at most this many chunks, whatever the number of threads, so that it changes no sum.
const CHUNKS: usize = 16;
/// Rows of a matrix product that are worked on together, so that they stay in cache.
pub(crate) const ROW_BLOCK: usize = 128;
/// Elements per channel from which statistics may follow from the moments of the input; with fewer, the gradient of
/// the norm is a small difference of large numbers.
const MOMENT_ELEMENTS: usize = 64;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Forward and backward.
    Train,
    /// Forward with batch statistics.
    Recalibrate,
    /// Forward with given statistics.
    Infer,
    /// Forward, and every tensor is looked at.
    Observe,
}

impl Purpose {
    /// Whether the statistics are given and nothing is learnt.
    fn is_final(self) -> bool {
        matches!(self, Self::Infer | Self::Observe)
    }
}

/// Places and sizes of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LayerPlan {
    /// Activations: what the layer loads from.
    pub input: Range<usize>,
    /// Activations: convolution output.
    pub raw: Range<usize>,
    /// Activations: final output; the same as `raw` for ReLU6 layers.
    pub output: Range<usize>,
    /// Activations: kept gradient.
    pub gradient: Range<usize>,
    /// Weights: as the convolution reads them.
    pub weight: Range<usize>,
    /// Floats between their rows.
    pub weight_row: usize,
    /// Weights: transposed, for the input gradient.
    pub transposed: Range<usize>,
    /// Floats between their rows.
    pub transposed_row: usize,
    /// Norms: mean, scale, shift, slope, gradient mean.
    pub norm: Range<usize>,
    /// Floats per input pixel.
    pub input_pitch: usize,
    /// Floats per output pixel.
    pub pitch: usize,
    /// Pixels per input image.
    pub input_pixels: usize,
    /// Pixels per output image.
    pub pixels: usize,
    /// The output is not stored: the next layer makes it from this one's input, see [`crate::ops::expansion`].
    pub expands: bool,
    /// The layer convolves whole numbers: weights, and inputs that are quantized, are counted in steps.
    pub in_steps: bool,
}

impl LayerPlan {
    /// Floats per input image.
    pub(crate) fn input_unit(&self) -> usize {
        self.input_pixels * self.input_pitch
    }

    /// Floats per output image.
    pub(crate) fn unit(&self) -> usize {
        self.pixels * self.pitch
    }

    /// Rows of the weight matrix as convolved.
    pub(crate) fn depth(layer: &Layer) -> usize {
        match layer.convolution {
            Convolution::Dense { kernel, .. } => kernel * kernel * layer.in_channels,
            Convolution::Pointwise => layer.in_channels,
            Convolution::Depthwise { kernel, .. } => kernel * kernel,
        }
    }

    /// Floats of the packed weight gradient: depth × pitch.
    pub(crate) fn weight_gradient(&self, layer: &Layer) -> usize {
        Self::depth(layer) * self.pitch
    }
}

/// Places of a whole network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Images in the batch.
    pub batch: usize,
    /// Images in a chunk; the last one may have fewer.
    pub chunk: usize,
    /// Per layer.
    pub layers: Vec<LayerPlan>,
    /// Activations: the image.
    pub image: Range<usize>,
    /// Activations: gradient of the image, only where its quantizer has a range to train.
    pub image_gradient: Range<usize>,
    /// Norms: as many zeros as an image pixel has floats, three times.
    pub image_norm: Range<usize>,
    /// Floats per image pixel.
    pub image_pitch: usize,
    /// Floats of activations.
    pub activations: usize,
    /// Floats of weights.
    pub weights: usize,
    /// Floats of norm numbers.
    pub norms: usize,
    /// Floats of scratch per thread.
    pub scratch: usize,
    live: Vec<(Range<usize>, usize)>,
}

impl Plan {
    /// Plans anew; keeps the allocations of the plan before. The network must have passed its check.
    pub(crate) fn make(&mut self, network: &Network, batch: usize, purpose: Purpose) {
        let first_is_dense = matches!(network.layers[0].convolution, Convolution::Dense { .. });
        let channels = network.image_channels;
        let dense = first_is_dense && network.layers[0].input_quantizer.is_none();
        self.image_pitch = if dense { channels } else { pitch(channels) };
        (self.batch, self.chunk) = (batch, batch.div_ceil(CHUNKS));
        (self.activations, self.weights, self.norms, self.scratch) = (0, 0, 0, 0);
        self.live.clear();
        self.layers.resize_with(network.layers.len(), LayerPlan::default);
        self.sizes(network, purpose);
        self.activation_places(network, purpose);
        if purpose == Purpose::Train {
            self.gradient_places(network);
        }
        self.weight_places(network, purpose);
    }

    /// Number of chunks.
    pub(crate) fn chunks(&self) -> usize {
        self.batch.div_ceil(self.chunk.max(1))
    }

    /// Floats of the packed weight gradients that a layer's backward pass computes: its own, and behind it that of the
    /// expansion before it.
    pub(crate) fn gradient_width(&self, network: &Network, index: usize) -> usize {
        let width = |index: usize| self.layers[index].weight_gradient(&network.layers[index]);
        let before = index.checked_sub(1).filter(|&before| self.layers[before].expands);
        width(index) + before.map_or(0, width)
    }

    fn sizes(&mut self, network: &Network, purpose: Purpose) {
        let mut input_pitch = self.image_pitch;
        for (index, layer) in network.layers.iter().enumerate() {
            let expands = expands(network, index, self.batch, purpose);
            let plan = &mut self.layers[index];
            plan.input_pitch = input_pitch;
            plan.pitch = pitch(layer.out_channels);
            plan.input_pixels = layer.input_size * layer.input_size;
            plan.pixels = layer.output_size() * layer.output_size();
            plan.expands = expands;
            input_pitch = plan.pitch;
            let before = index.checked_sub(1).map(|i| &self.layers[i]).filter(|before| before.expands);
            self.scratch = self.scratch.max(scratch(layer, &self.layers[index], before));
        }
    }

    /// The last layer that reads the output of layer `index`, other than as a residual.
    fn reader(&self, index: usize) -> usize {
        index + 1 + usize::from(self.layers.get(index + 1).is_some_and(|next| next.expands))
    }

    fn activation_places(&mut self, network: &Network, purpose: Purpose) {
        let keep = |until: usize| if purpose == Purpose::Train { usize::MAX } else { until };
        self.image = self.place(self.batch * network.image_size.pow(2) * self.image_pitch, 0, keep(0));
        let mut input = self.image.clone();
        for (index, layer) in network.layers.iter().enumerate() {
            let stored = if self.layers[index].expands { 0 } else { self.batch };
            let (length, reader) = (stored * self.layers[index].unit(), self.reader(index));
            let linear = layer.activation == Activation::Linear;
            let raw = self.place(length, index, keep(if linear { index } else { reader }));
            let user = network.layers.iter().rposition(|other| other.residual == Some(index)).unwrap_or(0);
            let output = if linear { self.place(length, index, keep(user.max(reader))) } else { raw.clone() };
            let plan = &mut self.layers[index];
            (plan.input, plan.raw, plan.output) = (input.clone(), raw, output.clone());
            // Behind an expansion the next layer reads what the expansion reads.
            input = if plan.expands { input } else { output };
        }
    }

    /// Going backward, layer i runs at time n - i; the gradient it reads was written by the layer that read its output.
    fn gradient_places(&mut self, network: &Network) {
        let count = network.layers.len();
        for index in (0..count).rev() {
            let now = count.saturating_sub(self.reader(index));
            let residual = network.layers[index].residual.map_or(0, |source| count - source - 1);
            let stored = if self.layers[index].expands { 0 } else { self.batch };
            let length = stored * self.layers[index].unit();
            self.layers[index].gradient = self.place(length, now, residual.max(count - index));
        }
        let quantized = network.layers[0].input_quantizer.is_some();
        let length = if quantized { self.image.len() } else { 0 };
        self.image_gradient = self.place(length, count, count);
    }

    fn weight_places(&mut self, network: &Network, purpose: Purpose) {
        self.image_norm = take(&mut self.norms, 3 * self.image_pitch);
        for (index, (plan, layer)) in self.layers.iter_mut().zip(&network.layers).enumerate() {
            let depth = LayerPlan::depth(layer);
            let depthwise = matches!(layer.convolution, Convolution::Depthwise { .. });
            plan.weight_row = if depthwise { plan.pitch } else { scratch_stride(plan.pitch) };
            plan.weight = take(&mut self.weights, depth * plan.weight_row);
            let wanted = index > 0 || layer.input_quantizer.is_some();
            let transposed = purpose == Purpose::Train && !depthwise && wanted;
            plan.in_steps = purpose.is_final() && layer.weight_quantizer.is_some();
            plan.transposed_row = scratch_stride(pitch(depth));
            let rows = if transposed { layer.out_channels } else { 0 };
            plan.transposed = take(&mut self.weights, rows * plan.transposed_row);
            plan.norm = take(&mut self.norms, norm::ARRAYS * plan.pitch);
        }
    }

    /// The lowest place that is free from `now` on; it is taken until `until`.
    fn place(&mut self, length: usize, now: usize, until: usize) -> Range<usize> {
        self.live.retain(|&(_, end)| end >= now);
        self.live.sort_unstable_by_key(|(range, _)| range.start);
        let length = length.next_multiple_of(ALIGNMENT);
        let mut start = 0;
        for (range, _) in &self.live {
            if start + length <= range.start {
                break;
            }
            start = start.max(range.end);
        }
        self.live.push((start..start + length, until));
        self.activations = self.activations.max(start + length);
        start..start + length
    }
}

fn take(total: &mut usize, length: usize) -> Range<usize> {
    let start = *total;
    *total += length.next_multiple_of(ALIGNMENT);
    start..start + length
}

/// Whether a layer is an expansion whose output need not be stored.
fn expands(network: &Network, index: usize, batch: usize, purpose: Purpose) -> bool {
    let layer = &network.layers[index];
    let next = network.layers.get(index + 1).map(|next| next.convolution);
    let elements = batch * layer.output_size().pow(2);
    let allowed = match purpose {
        Purpose::Train | Purpose::Recalibrate => elements >= MOMENT_ELEMENTS,
        Purpose::Infer => true,
        Purpose::Observe => false,
    };
    allowed
        && index > 0
        && layer.convolution == Convolution::Pointwise
        && layer.activation == Activation::Relu6
        && matches!(next, Some(Convolution::Depthwise { .. }))
}

/// Floats of scratch that a layer needs, forward or backward; `expansion` is the layer before, if it is one.
fn scratch(layer: &Layer, plan: &LayerPlan, expansion: Option<&LayerPlan>) -> usize {
    let sums = 3 * plan.pitch;
    let block = |columns: usize| ROW_BLOCK * scratch_stride(columns);
    let depth = LayerPlan::depth(layer);
    sums + match layer.convolution {
        Convolution::Pointwise if plan.expands => moments::scratch_length(plan).max(block(plan.input_pitch)),
        Convolution::Pointwise => block(plan.pitch) + block(plan.input_pitch),
        Convolution::Dense { .. } => {
            let padded = dense::window(layer, plan.input_pitch).padded_length();
            plan.input_unit() + padded + block(plan.pitch) + 2 * block(pitch(depth))
        }
        Convolution::Depthwise { .. } => depthwise::scratch_length(layer, expansion),
    }
}
