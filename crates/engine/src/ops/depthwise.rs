//! # Depthwise convolution
//!
//! Equations and loops are in [`crate::kernels::depthwise`]; here is their order. An image goes through in groups of
//! channel blocks whose planes stay in the second-level cache. The group's input is gathered from the stored tensor, or
//! made on the spot from the input of the pointwise layer before, see [`super::expansion`].

use super::convolution::{Backward, Forward, InputOutputs, Outputs};
use super::expansion::{self, Expansion};
use crate::kernels::depthwise::correlate::Correlate;
use crate::kernels::depthwise::moves::{EpiloguePixels, Gather, GatherGradient, Scatter};
use crate::kernels::depthwise::taps::Taps;
use crate::kernels::depthwise::{Geometry, Plane, block_kernels, flipped_kernels};
use crate::kernels::elementwise::{Epilogue, RangeGradients};
use crate::kernels::product::Ahead;
use crate::kernels::{LANE_BLOCK, dispatch, pitch};
use crate::network::Layer;
use crate::plan::LayerPlan;
use crate::sums::ChannelSums;

/// Floats that the tensors of a group should not exceed (well inside a second-level cache of 1 MB).
const GROUP_BUDGET: usize = 160 << 10;
/// Outputs of a correlation that are kept in the first-level cache before they go on.
const BUFFER_PIXELS: usize = 256;
/// Elements of a channel after which shifted sums are merged.
const MERGE_ELEMENTS: usize = 1024;

/// Sizes of a depthwise layer.
pub(crate) fn geometry(layer: &Layer) -> Geometry {
    Geometry {
        input: layer.input_size,
        output: layer.output_size(),
        kernel: layer.convolution.kernel(),
        stride: layer.convolution.stride(),
        pitch: pitch(layer.out_channels),
    }
}

/// How the work is cut.
#[derive(Clone, Copy)]
struct Cut {
    geometry: Geometry,
    inputs: Plane,
    outputs: Plane,
    /// Blocks of channels that go through together.
    group: usize,
    /// Floats of the buffer between correlation and what follows.
    buffer: usize,
}

impl Cut {
    fn new(layer: &Layer) -> Self {
        let geometry = geometry(layer);
        let (inputs, outputs) = (geometry.plane(geometry.input), geometry.plane(geometry.output));
        let floats = inputs.length() + outputs.length() + 2 * geometry.input.pow(2) * LANE_BLOCK;
        let blocks = geometry.pitch / LANE_BLOCK;
        let groups = blocks.div_ceil((GROUP_BUDGET / floats).clamp(1, blocks));
        let buffer = BUFFER_PIXELS.max(geometry.input) * LANE_BLOCK;
        Self { geometry, inputs, outputs, group: blocks.div_ceil(groups), buffer }
    }

    /// First channel and number of blocks of each group.
    fn groups(self) -> impl Iterator<Item = (usize, usize)> {
        let blocks = self.geometry.pitch / LANE_BLOCK;
        (0..blocks).step_by(self.group).map(move |i| (i * LANE_BLOCK, self.group.min(blocks - i)))
    }

    /// Calls `visit(first row, rows)` for blocks of `rows` rows of `count` that fit the buffer.
    fn row_blocks(self, rows: usize, count: usize) -> impl Iterator<Item = (usize, usize)> {
        let step = (self.buffer / LANE_BLOCK / count.max(1)).max(1);
        (0..rows).step_by(step).map(move |row| (row, step.min(rows - row)))
    }
}

/// Floats of scratch for one chunk, forward or backward.
pub(crate) fn scratch_length(layer: &Layer, expanded: Option<&LayerPlan>) -> usize {
    let cut = Cut::new(layer);
    let width = cut.group * LANE_BLOCK;
    cut.geometry.taps() * cut.geometry.pitch
        + cut.group * cut.inputs.length()
        + cut.group * cut.outputs.length()
        + cut.buffer
        + expanded.map_or(0, |plan| expansion::scratch_length(plan, width))
}

/// Brings an image into the second-level cache from end to end, because groups of channels then touch it pixel by pixel:
/// memory gives lines in a row much faster than lines a pixel apart. (In inference it is there already.)
fn fetch(image: &[f32]) {
    let line = |line: &[f32]| line[0].to_bits();
    std::hint::black_box(image.chunks_exact(LANE_BLOCK).map(line).fold(0, |all: u32, bits| all ^ bits));
}

/// Takes floats from the front of scratch.
fn take<'a>(scratch: &mut &'a mut [f32], length: usize) -> &'a mut [f32] {
    let (front, rest) = std::mem::take(scratch).split_at_mut(length);
    *scratch = rest;
    front
}

pub(crate) fn forward(
    op: &Forward,
    input: &[f32],
    output: &mut [f32],
    mut sums: Option<&mut ChannelSums>,
    mut scratch: &mut [f32],
) {
    let cut = Cut::new(op.layer);
    let kernels = take(&mut scratch, cut.geometry.taps() * cut.geometry.pitch);
    block_kernels(&cut.geometry, op.weight, op.plan.weight_row, kernels);
    let planes = take(&mut scratch, cut.group * cut.inputs.length());
    cut.inputs.clear_borders(planes);
    let buffer = take(&mut scratch, cut.buffer);
    let unit = op.expansion.map_or(op.plan.input_unit(), |e| e.plan.input_unit());
    let images = input.chunks_exact(unit).zip(output.chunks_exact_mut(op.plan.unit()));
    let count = images.len();
    let mut pending = 0;
    for (index, (image, output)) in images.enumerate() {
        if let Some(sums) = sums.as_deref_mut().filter(|_| pending == 0) {
            sums.begin();
        }
        let ahead = if sums.is_some() { Ahead::after([output, &[], &[]]) } else { Ahead::NONE };
        if sums.is_some() && (index == 0 || op.expansion.is_none()) {
            fetch(output);
        }
        let mut source = Source::new(op.expansion.as_ref(), op, image, scratch, ahead);
        for (channel, blocks) in cut.groups() {
            source.gather(op, &cut, channel, blocks, planes);
            let pass = Pass { op, cut, first_image: index == 0 };
            for block in 0..blocks {
                let (plane, channel) = (&planes[block * cut.inputs.length()..], channel + block * LANE_BLOCK);
                pass.convolve(plane, channel, kernels, buffer, output, sums.as_deref_mut());
            }
        }
        pending += op.plan.pixels;
        if let Some(sums) = sums.as_deref_mut().filter(|_| pending >= MERGE_ELEMENTS || index + 1 == count) {
            sums.end(pending);
            pending = 0;
        }
    }
}

/// Where a group's input comes from.
enum Source<'a, 'e> {
    Stored(&'a [f32]),
    Expanded(expansion::Image<'a, 'e>),
}

impl<'a, 'e> Source<'a, 'e> {
    fn new(
        expansion: Option<&'e Expansion<'e>>,
        op: &Forward,
        image: &'a [f32],
        scratch: &'a mut [f32],
        ahead: Ahead,
    ) -> Self {
        match expansion {
            Some(expansion) => {
                Self::Expanded(expansion::Image::new(expansion, op.level, image, scratch, ahead))
            }
            None => Self::Stored(image),
        }
    }

    fn gather(&mut self, op: &Forward, cut: &Cut, channel: usize, blocks: usize, planes: &mut [f32]) {
        let (input, pitch) = match self {
            Self::Stored(image) => (&image[channel..], cut.geometry.pitch),
            Self::Expanded(image) => (image.expand(channel, blocks * LANE_BLOCK), blocks * LANE_BLOCK),
        };
        let gather =
            Gather { load: op.load, channel, blocks, input, pitch, plane: cut.inputs, output: planes };
        dispatch(op.level, gather);
    }
}

/// Forward pass over one image.
struct Pass<'a> {
    op: &'a Forward<'a>,
    cut: Cut,
    /// Of its chunk.
    first_image: bool,
}

impl Pass<'_> {
    /// One block of channels.
    fn convolve(
        &self,
        plane: &[f32],
        channel: usize,
        kernels: &[f32],
        buffer: &mut [f32],
        output: &mut [f32],
        mut sums: Option<&mut ChannelSums>,
    ) {
        let Cut { geometry, inputs, .. } = self.cut;
        let (size, stride, taps) = (geometry.output, geometry.stride, geometry.taps());
        for (row, rows) in self.cut.row_blocks(size, size) {
            let values = &mut buffer[..rows * size * LANE_BLOCK];
            let correlate = Correlate {
                taps: [geometry.kernel; 2],
                stride,
                input: &plane[inputs.at(row * stride, 0)..inputs.length()],
                input_row: inputs.row(),
                kernel: &kernels[channel * taps..],
                rows,
                count: size,
                output: values,
            };
            dispatch(self.op.level, correlate);
            let sums = sums.as_deref_mut().map(|sums| {
                if self.first_image && row == 0 {
                    sums.prime_block(channel, values);
                }
                sums.block(channel)
            });
            let output = &mut output[row * size * geometry.pitch + channel..];
            dispatch(self.op.level, Scatter { values, output, pitch: geometry.pitch, sums });
        }
    }
}

pub(crate) fn backward(op: &Backward, outputs: Outputs, mut scratch: &mut [f32]) -> RangeGradients {
    let cut = Cut::new(op.layer);
    let kernels = take(&mut scratch, cut.geometry.taps() * cut.geometry.pitch);
    flipped_kernels(&cut.geometry, op.weight, op.plan.weight_row, kernels);
    let inputs = take(&mut scratch, cut.group * cut.inputs.length());
    let gradients = take(&mut scratch, cut.group * cut.outputs.length());
    cut.inputs.clear_borders(inputs);
    cut.outputs.clear_borders(gradients);
    let buffer = take(&mut scratch, cut.buffer);
    let (weight, expansion_weight) = outputs.weight.split_at_mut(op.plan.weight_gradient(op.layer));
    let mut back = Back { op, cut, kernels, inputs, gradients, buffer, weight };
    match (&op.expansion, outputs.input) {
        (Some(expansion), Some(into)) => back.expanded(expansion, into, expansion_weight, scratch),
        (_, into) => back.stored(into),
    }
}

/// Backward pass over a chunk.
struct Back<'a> {
    op: &'a Backward<'a>,
    cut: Cut,
    kernels: &'a [f32],
    inputs: &'a mut [f32],
    gradients: &'a mut [f32],
    buffer: &'a mut [f32],
    weight: &'a mut [f32],
}

/// Where the input gradient of an image's group of channels goes.
struct Target<'a> {
    epilogue: Epilogue<'a>,
    /// Floats between the pixels of the epilogue's tensors and of `output`.
    pitch: usize,
    /// Place of the group's first channel there.
    start: usize,
    output: &'a mut [f32],
    scaled: bool,
    first: &'a mut [f64],
    second: &'a mut [f64],
}

impl Back<'_> {
    /// The input is a stored tensor.
    fn stored(&mut self, mut into: Option<InputOutputs>) -> RangeGradients {
        let geometry = self.cut.geometry;
        let (unit, mut ranges) = (geometry.input_length(), RangeGradients::default());
        for image in 0..self.op.input.len() / unit {
            let place = image * unit..(image + 1) * unit;
            let [kept, raw] = self.read(image);
            fetch(kept);
            fetch(raw);
            for (channel, blocks) in self.cut.groups() {
                let input = &self.op.input[place.start + channel..place.end];
                self.gather(input, geometry.pitch, channel, blocks);
                let mut target = into.as_mut().map(|into| Target {
                    epilogue: into.epilogue.part(place.clone()),
                    pitch: geometry.pitch,
                    start: channel,
                    output: &mut into.kept[place.clone()],
                    scaled: false,
                    first: into.first,
                    second: into.second,
                });
                ranges.add(self.group(image, channel, blocks, target.as_mut()));
            }
        }
        ranges
    }

    /// The input is made from that of the pointwise layer before.
    fn expanded(
        &mut self,
        expansion: &Expansion,
        into: InputOutputs,
        weight: &mut [f32],
        scratch: &mut [f32],
    ) -> RangeGradients {
        let (unit, level, mut ranges) =
            (expansion.plan.input_unit(), self.op.level, RangeGradients::default());
        let width = self.cut.group * LANE_BLOCK;
        let (scaled, scratch) = scratch.split_at_mut(expansion.plan.pixels * width);
        let images = self.op.input.chunks_exact(unit).zip(into.kept.chunks_exact_mut(unit));
        for (index, (image, kept)) in images.enumerate() {
            let [gradients, outputs] = self.read(index);
            if index == 0 {
                fetch(gradients);
                fetch(outputs);
            }
            let ahead = Ahead::after([gradients, outputs, &[]]);
            let mut image = expansion::Image::new(expansion, level, image, scratch, ahead);
            for (channel, blocks) in self.cut.groups() {
                let width = blocks * LANE_BLOCK;
                let raw = image.expand(channel, width);
                self.gather(raw, width, channel, blocks);
                let mut target = Target {
                    epilogue: Epilogue { raw, ..into.epilogue },
                    pitch: width,
                    start: 0,
                    output: scaled,
                    scaled: true,
                    first: into.first,
                    second: into.second,
                };
                ranges.add(self.group(index, channel, blocks, Some(&mut target)));
                image.gradients(scaled, channel, width, weight, kept);
            }
        }
        ranges
    }

    /// What one image of the output gradient is made of.
    fn read(&self, image: usize) -> [&[f32]; 2] {
        let unit = self.cut.geometry.output_length();
        let place = image * unit..(image + 1) * unit;
        [&self.op.kept[place.clone()], &self.op.raw[place]]
    }

    fn gather(&mut self, input: &[f32], pitch: usize, channel: usize, blocks: usize) {
        let (load, plane) = (self.op.load, self.cut.inputs);
        dispatch(self.op.level, Gather { load, channel, blocks, input, pitch, plane, output: self.inputs });
    }

    /// Weight and input gradients of a gathered group of channels.
    fn group(
        &mut self,
        image: usize,
        channel: usize,
        blocks: usize,
        mut target: Option<&mut Target>,
    ) -> RangeGradients {
        let mut ranges = RangeGradients::default();
        self.gather_gradient(image, channel, blocks);
        for block in 0..blocks {
            let channel = channel + block * LANE_BLOCK;
            self.taps(block, channel);
            if let Some(target) = target.as_deref_mut() {
                ranges.add(self.input_gradient(block, channel, target));
            }
        }
        ranges
    }

    fn gather_gradient(&mut self, image: usize, channel: usize, blocks: usize) {
        let pitch = self.cut.geometry.pitch;
        let from = image * self.cut.geometry.output_length() + channel;
        let gather = GatherGradient {
            gradient: self.op.gradient,
            channel,
            blocks,
            kept: &self.op.kept[from..],
            raw: &self.op.raw[from..],
            pitch,
            plane: self.cut.outputs,
            output: self.gradients,
        };
        dispatch(self.op.level, gather);
    }

    fn taps(&mut self, block: usize, channel: usize) {
        let Cut { geometry, inputs, outputs, .. } = self.cut;
        let taps = Taps {
            kernel: geometry.kernel,
            stride: geometry.stride,
            output: geometry.output,
            input: &self.inputs[block * inputs.length()..][..inputs.length()],
            input_row: inputs.row(),
            gradient: &self.gradients
                [block * outputs.length() + outputs.at(outputs.border, outputs.border)..],
            gradient_row: outputs.row(),
            to: &mut self.weight[channel..],
            to_row: geometry.pitch,
        };
        dispatch(self.op.level, taps);
    }

    /// All phases of a block's input gradient.
    fn input_gradient(&mut self, block: usize, channel: usize, target: &mut Target) -> RangeGradients {
        let Cut { geometry, outputs, .. } = self.cut;
        let Geometry { input, stride, .. } = geometry;
        let gradients = &self.gradients[block * outputs.length()..][..outputs.length()];
        let (mut kernel, mut ranges) =
            (&self.kernels[channel * geometry.taps()..], RangeGradients::default());
        for [vertical, horizontal] in geometry.phases() {
            for (row, rows) in self.cut.row_blocks(vertical.count, horizontal.count) {
                let values = &mut self.buffer[..rows * horizontal.count * LANE_BLOCK];
                let correlate = Correlate {
                    taps: [vertical.taps, horizontal.taps],
                    stride: 1,
                    input: &gradients[outputs.at(vertical.start + row, horizontal.start)..],
                    input_row: outputs.row(),
                    kernel,
                    rows,
                    count: horizontal.count,
                    output: values,
                };
                dispatch(self.op.level, correlate);
                let pixel = (vertical.first + row * stride) * input + horizontal.first;
                let epilogue = EpiloguePixels {
                    epilogue: target.epilogue,
                    channel,
                    gradient: values,
                    count: horizontal.count,
                    start: pixel * target.pitch + target.start + block * LANE_BLOCK,
                    row_step: stride * input * target.pitch,
                    step: stride * target.pitch,
                    output: target.output,
                    scaled: target.scaled,
                    first: &mut target.first[channel..],
                    second: &mut target.second[channel..],
                };
                ranges.add(dispatch(self.op.level, epilogue));
            }
            kernel = &kernel[vertical.taps * horizontal.taps * LANE_BLOCK..];
        }
        ranges
    }
}
