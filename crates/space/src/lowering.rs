//! # Lowering: from a candidate to the layers that run
//!
//! Stem 3×3 (and, where the space has one, a fixed separable block), then per active block expand 1×1 →
//! depthwise k×k → project 1×1, then the head's 1×1 and the classifier. Fixed layers run at 8 bits when the
//! candidate has a policy, everything at 32 bits when it has none.
//!
//! If an explicit option list skips a block that changes the tensor's shape, the next active block takes the
//! stage's stride over; such spaces can be predicted on but not trained
//! ([`SearchSpace::check_trainable`]).

use crate::candidate::{Block, BlockBits, Candidate};
use crate::search_space::SearchSpace;
use crate::workload::{Layer, Role, Workload};

const FIXED_BITS: u8 = 8;
const FULL_PRECISION: u8 = 32;

impl SearchSpace {
    /// The layers of a candidate in execution order.
    pub fn lower(&self, candidate: &Candidate) -> Workload {
        let mut builder = Builder::new(self, candidate.policy.is_some());
        builder.stem();
        for (index, choices) in self.blocks().iter().enumerate() {
            match candidate.subnet.blocks.get(index).copied().flatten() {
                Some(block) => {
                    let bits = candidate.policy.as_ref().map(|policy| policy.blocks[index]);
                    builder.block(index, block, bits.unwrap_or(BlockBits::uniform(FULL_PRECISION)));
                }
                None => builder.pending_stride *= choices.stride,
            }
        }
        builder.head();
        Workload { layers: builder.layers }
    }

    /// The layers of one active block in its usual place, as [`lower`](Self::lower) makes them.
    pub fn lower_block(&self, index: usize, block: Block, bits: Option<BlockBits>) -> Vec<Layer> {
        let choices = &self.blocks()[index];
        let mut builder = Builder::new(self, bits.is_some());
        (builder.channels, builder.size) = (choices.in_channels, choices.input_size);
        builder.signed = index > 0 || self.stem().separable_out_channels.is_some();
        builder.block(index, block, bits.unwrap_or(BlockBits::uniform(FULL_PRECISION)));
        builder.layers
    }

    /// The layers that every candidate has: stem, fixed separable block, head, classifier.
    pub fn lower_fixed(&self, quantized: bool) -> Vec<Layer> {
        let mut builder = Builder::new(self, quantized);
        builder.stem();
        if let Some(last) = self.blocks().last() {
            (builder.channels, builder.size) = (last.out_channels, last.input_size.div_ceil(last.stride));
        }
        builder.head();
        builder.layers
    }
}

/// Follows the tensor's shape while layers are added.
struct Builder<'a> {
    space: &'a SearchSpace,
    fixed_bits: u8,
    channels: usize,
    size: usize,
    pending_stride: usize,
    signed: bool,
    layers: Vec<Layer>,
}

/// What differs between the layers of a network.
struct Shape {
    name: String,
    role: Role,
    out_channels: usize,
    kernel: usize,
    stride: usize,
    depthwise: bool,
    relu: bool,
    bits: (u8, u8),
}

impl<'a> Builder<'a> {
    fn new(space: &'a SearchSpace, quantized: bool) -> Self {
        let input = space.input();
        let fixed_bits = if quantized { FIXED_BITS } else { FULL_PRECISION };
        Self {
            space,
            fixed_bits,
            channels: input.channels,
            size: input.size,
            pending_stride: 1,
            signed: true,
            layers: vec![],
        }
    }

    fn stem(&mut self) {
        let stem = self.space.stem();
        let bits = (self.fixed_bits, self.fixed_bits);
        let name = |suffix: &str| format!("stem{suffix}");
        let plain = Shape {
            name: name(""),
            role: Role::Stem,
            out_channels: stem.out_channels,
            kernel: 3,
            stride: stem.stride,
            depthwise: false,
            relu: true,
            bits,
        };
        let channels = plain.out_channels;
        self.push(Shape { ..plain });
        if let Some(out_channels) = stem.separable_out_channels {
            let depthwise = Shape {
                name: name(".depthwise"),
                role: Role::StemDepthwise,
                out_channels: channels,
                kernel: 3,
                stride: 1,
                depthwise: true,
                relu: true,
                bits,
            };
            self.push(depthwise);
            self.push(Shape {
                name: name(".project"),
                role: Role::StemProject,
                out_channels,
                kernel: 1,
                stride: 1,
                depthwise: false,
                relu: false,
                bits,
            });
        }
    }

    fn block(&mut self, index: usize, block: Block, bits: BlockBits) {
        let choices = &self.space.blocks()[index];
        let name = |part: &str| format!("stage{}.block{}.{part}", choices.stage, choices.position);
        let pointwise = (bits.pointwise_weight, bits.pointwise_activation);
        let stride = choices.stride * std::mem::replace(&mut self.pending_stride, 1);
        // What is added must come from a linear layer: a block right after the stem's ReLU6 has no residual.
        let residual = stride == 1 && self.channels == choices.out_channels && self.signed;
        self.push(Shape {
            name: name("expand"),
            role: Role::Expand { block: index },
            out_channels: block.width,
            kernel: 1,
            stride: 1,
            depthwise: false,
            relu: true,
            bits: pointwise,
        });
        let depthwise = (bits.depthwise_weight, bits.depthwise_activation);
        self.push(Shape {
            name: name("depthwise"),
            role: Role::Depthwise { block: index },
            out_channels: block.width,
            kernel: block.kernel,
            stride,
            depthwise: true,
            relu: true,
            bits: depthwise,
        });
        self.push(Shape {
            name: name("project"),
            role: Role::Project { block: index },
            out_channels: choices.out_channels,
            kernel: 1,
            stride: 1,
            depthwise: false,
            relu: false,
            bits: pointwise,
        });
        if let Some(project) = self.layers.last_mut() {
            project.residual = residual;
        }
    }

    fn head(&mut self) {
        let bits = (self.fixed_bits, self.fixed_bits);
        self.push(Shape {
            name: "head".into(),
            role: Role::Head,
            out_channels: self.space.head().channels,
            kernel: 1,
            stride: 1,
            depthwise: false,
            relu: true,
            bits,
        });
        self.size = 1;
        self.push(Shape {
            name: "classifier".into(),
            role: Role::Classifier,
            out_channels: self.space.input().classes,
            kernel: 1,
            stride: 1,
            depthwise: false,
            relu: false,
            bits,
        });
    }

    fn push(&mut self, shape: Shape) {
        let layer = Layer {
            name: shape.name,
            role: shape.role,
            in_channels: self.channels,
            out_channels: shape.out_channels,
            input_size: self.size,
            kernel: shape.kernel,
            stride: shape.stride,
            padding: shape.kernel / 2,
            groups: if shape.depthwise { self.channels } else { 1 },
            weight_bits: shape.bits.0,
            activation_bits: shape.bits.1,
            signed_input: self.signed,
            relu: shape.relu,
            residual: false,
            first: shape.role == Role::Stem,
        };
        (self.channels, self.size) = (layer.out_channels, layer.output_size());
        self.signed = !layer.relu;
        self.layers.push(layer);
    }
}
