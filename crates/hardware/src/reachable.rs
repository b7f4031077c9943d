//! # Which layers a space can reach
//!
//! Where every block keeps its place, a block's layers depend on nothing but its own choices. Where a block that
//! changes the tensor's shape may be skipped, they also depend on what came before: its [`Context`].

use std::collections::HashSet;

use sartor_space::{Block, BlockBits, Depth, Layer, SearchSpace};

use crate::table::LayerKey;

/// What a block finds: the tensor, and the stride that skipped blocks left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Context {
    pub(crate) channels: usize,
    pub(crate) size: usize,
    pub(crate) pending_stride: usize,
    /// Whether no block has been active yet, so that the stem feeds this one.
    pub(crate) after_stem: bool,
}

impl Context {
    pub(crate) fn start(space: &SearchSpace) -> Self {
        let size = space.blocks().first().map_or(1, |block| block.input_size);
        Self { channels: space.stem().final_channels(), size, pending_stride: 1, after_stem: true }
    }

    pub(crate) fn skip(self, space: &SearchSpace, index: usize) -> Self {
        Self { pending_stride: self.pending_stride * space.blocks()[index].stride, ..self }
    }

    pub(crate) fn activate(self, space: &SearchSpace, index: usize) -> Self {
        let choices = &space.blocks()[index];
        let size = self.size.div_ceil(choices.stride * self.pending_stride);
        Self { channels: choices.out_channels, size, pending_stride: 1, after_stem: false }
    }
}

/// Every context of every block, and at the end those of the head.
pub(crate) fn contexts(space: &SearchSpace) -> Vec<Vec<Context>> {
    let mut all = vec![vec![Context::start(space)]];
    for index in 0..space.blocks().len() {
        let mut next: Vec<Context> = vec![];
        let mut reach = |context: Context| {
            if !next.contains(&context) {
                next.push(context);
            }
        };
        for context in &all[index] {
            reach(context.activate(space, index));
            if may_skip(space, index) {
                reach(context.skip(space, index));
            }
        }
        all.push(next);
    }
    all
}

/// Whether some subnet skips the block.
pub(crate) fn may_skip(space: &SearchSpace, index: usize) -> bool {
    let choices = &space.blocks()[index];
    match &space.stages()[choices.stage].depth {
        Depth::Prefix(depths) => depths.iter().any(|&depth| depth <= choices.position),
        Depth::AnyBlock => choices.skippable,
    }
}

/// The three layers of an active block in a context.
pub(crate) fn block_layers(
    space: &SearchSpace,
    context: Context,
    index: usize,
    block: Block,
    bits: Option<BlockBits>,
) -> Vec<Layer> {
    let mut layers = space.lower_block(index, block, bits);
    let choices = &space.blocks()[index];
    let stride = choices.stride * context.pending_stride;
    if let [expand, depthwise, project] = layers.as_mut_slice() {
        (expand.in_channels, expand.input_size) = (context.channels, context.size);
        expand.signed_input = !context.after_stem || space.stem().separable_out_channels.is_some();
        (depthwise.input_size, depthwise.stride) = (context.size, stride);
        project.input_size = depthwise.output_size();
        project.residual = expand.signed_input && stride == 1 && context.channels == choices.out_channels;
    }
    layers
}

/// The fixed layers before and after the blocks, the latter in a context.
pub(crate) fn fixed_layers(
    space: &SearchSpace,
    context: Context,
    quantized: bool,
) -> (Vec<Layer>, Vec<Layer>) {
    let mut stem = space.lower_fixed(quantized);
    let mut head = stem.split_off(stem.len() - HEAD_LAYERS);
    (head[0].in_channels, head[0].input_size) = (context.channels, context.size);
    head[0].signed_input = !context.after_stem || space.stem().separable_out_channels.is_some();
    (stem, head)
}

/// The 1×1 convolution and the classifier.
const HEAD_LAYERS: usize = 2;

/// Every distinct layer any candidate of the space lowers to, in network order.
///
/// A space with bit-widths is taken at its widths, one without at full precision. Forbidden combinations are left
/// out.
pub fn reachable_layers(space: &SearchSpace) -> Vec<Layer> {
    let mut reached = Reached::default();
    let contexts = contexts(space);
    let quantized = space.bits().is_some();
    reached.extend(fixed_layers(space, contexts[0][0], quantized).0);
    for (index, contexts) in contexts.iter().enumerate().take(space.blocks().len()) {
        contexts.iter().for_each(|&context| reached.block(space, context, index));
    }
    for &context in &contexts[space.blocks().len()] {
        reached.extend(fixed_layers(space, context, quantized).1);
    }
    reached.layers
}

/// Layers without repeats.
#[derive(Default)]
struct Reached {
    layers: Vec<Layer>,
    keys: HashSet<LayerKey>,
}

impl Reached {
    fn extend(&mut self, layers: impl IntoIterator<Item = Layer>) {
        let fresh = layers.into_iter().filter(|layer| self.keys.insert(LayerKey::of(layer)));
        self.layers.extend(fresh);
    }

    /// Each option's three layers at every pair of widths the option may have.
    fn block(&mut self, space: &SearchSpace, context: Context, index: usize) {
        for block in space.blocks()[index].options.all() {
            let widest = space.bits().map(|bits| bits.widest());
            let layers = block_layers(space, context, index, block, widest);
            let (pointwise, depthwise) = width_pairs(space, block.kernel);
            self.at_widths(&layers[0], &pointwise);
            self.at_widths(&layers[1], &depthwise);
            self.at_widths(&layers[2], &pointwise);
        }
    }

    fn at_widths(&mut self, layer: &Layer, pairs: &[(u8, u8)]) {
        let widths =
            |&(weight_bits, activation_bits)| Layer { weight_bits, activation_bits, ..layer.clone() };
        let layers: Vec<Layer> = pairs.iter().map(widths).collect();
        self.extend(layers);
    }
}

/// Widths of (weight, activation), without repeats.
pub(crate) type WidthPairs = Vec<(u8, u8)>;

/// The widths of the 1×1 and of the depthwise convolutions with this kernel.
pub(crate) fn width_pairs(space: &SearchSpace, kernel: usize) -> (WidthPairs, WidthPairs) {
    let Some(bits) = space.bits() else {
        return (vec![(FULL_PRECISION, FULL_PRECISION)], vec![(FULL_PRECISION, FULL_PRECISION)]);
    };
    let distinct = |pair: fn(&BlockBits) -> (u8, u8)| {
        let mut pairs: Vec<_> = bits.legal(kernel).iter().map(pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    };
    (
        distinct(|bits| (bits.pointwise_weight, bits.pointwise_activation)),
        distinct(|bits| (bits.depthwise_weight, bits.depthwise_activation)),
    )
}

const FULL_PRECISION: u8 = 32;
