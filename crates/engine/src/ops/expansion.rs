//! # Expansion: a pointwise layer whose output is never stored
//!
//! The widest tensor of an inverted bottleneck is what its first layer makes and its depthwise layer reads. Writing and
//! reading it is most of the memory traffic of a step, so it is made again wherever it is needed, a few channels of one
//! image at a time. With x the layer's input, n pixels in the batch, `y = x W`, `a = relu6(norm(y))`:
//!
//! - The statistics of y follow from those of x: with the mean m and `S = Σ (x - m)ᵀ (x - m)`,
//!   `mean(y) = m W`, `n variance(y)_c = w_cᵀ S w_c` (see [`super::moments`]).
//! - The gradient of y is `dy = scale (g - gradient_mean) + slope (y - mean)`, see [`super::norm`]; gradient_mean and
//!   slope are known only after the whole batch. But what follows from dy is linear in it, so the batch pass uses
//!   `scale g`, and the rest is put right afterwards from x, which is small:
//!
//! ```text
//! dW = xᵀ (scale g) - n m ⊗ (scale gradient_mean) + S W slope
//! dx = (scale g) Wᵀ - W (scale gradient_mean) + (x - m) W slope Wᵀ
//! ```

use super::convolution::InputOutputs;
use super::pointwise::{Block, load_block};
use crate::kernels::elementwise::{EpilogueRows, Load, RangeGradients};
use crate::kernels::product::{Ahead, Product};
use crate::kernels::{dispatch, scratch_stride};
use crate::network::Layer;
use crate::plan::LayerPlan;
use crate::simd::Level;

/// The pointwise layer in front of a depthwise one.
#[derive(Clone, Copy)]
pub(crate) struct Expansion<'a> {
    pub layer: &'a Layer,
    pub plan: &'a LayerPlan,
    /// How its input is read.
    pub load: Load<'a>,
    /// Packed weights.
    pub weight: &'a [f32],
    /// Their transpose; empty going forward.
    pub transposed: &'a [f32],
}

/// Floats of scratch for groups of `width` channels.
pub(crate) fn scratch_length(plan: &LayerPlan, width: usize) -> usize {
    plan.input_pixels * (scratch_stride(plan.input_pitch) + 2 * width)
}

/// One image on its way through an expansion.
pub(crate) struct Image<'a, 'e> {
    expansion: &'e Expansion<'e>,
    level: Level,
    x: Block<'a>,
    raw: &'a mut [f32],
    ahead: Ahead,
}

impl<'a, 'e> Image<'a, 'e> {
    /// Loads an image of the input; its products ask for what is `ahead`.
    pub(crate) fn new(
        expansion: &'e Expansion<'e>,
        level: Level,
        input: &'a [f32],
        scratch: &'a mut [f32],
        ahead: Ahead,
    ) -> Self {
        let (rows, pitch) = (expansion.plan.input_pixels, expansion.plan.input_pitch);
        let (loaded, raw) = scratch.split_at_mut(rows * scratch_stride(pitch));
        let (x, x_row) = load_block(level, expansion.load, input, pitch, loaded);
        Self { expansion, level, x: Block { x, x_row, rows }, raw, ahead }
    }

    /// How many of `width` channels from `channel` on are no padding.
    fn used(&self, channel: usize, width: usize) -> usize {
        width.min(self.expansion.layer.out_channels - channel)
    }

    /// The convolution output, `width` channels from `channel` on; rows of `width`.
    pub(crate) fn expand(&mut self, channel: usize, width: usize) -> &[f32] {
        let product = Product {
            rows: self.x.rows,
            columns: self.used(channel, width),
            depth: self.expansion.layer.in_channels,
            a: self.x.x,
            a_row: self.x.x_row,
            a_depth: 1,
            b: &self.expansion.weight[channel..],
            b_row: self.expansion.plan.weight_row,
            c: self.raw,
            c_row: width,
            accumulate: false,
            sums: None,
            ahead: std::mem::replace(&mut self.ahead, Ahead::NONE),
        };
        self.ahead = dispatch(self.level, product);
        &self.raw[..self.x.rows * width]
    }

    /// Adds `xᵀ (scale g)` to the weight gradient, and to `dx` (writes, for the first channels) `(scale g) Wᵀ`.
    pub(crate) fn gradients(
        &mut self,
        scaled: &[f32],
        channel: usize,
        width: usize,
        weight: &mut [f32],
        dx: &mut [f32],
    ) {
        let Expansion { layer, plan, transposed, .. } = *self.expansion;
        let product = Product {
            rows: layer.in_channels,
            columns: self.used(channel, width),
            depth: self.x.rows,
            a: self.x.x,
            a_row: 1,
            a_depth: self.x.x_row,
            b: scaled,
            b_row: width,
            c: &mut weight[channel..],
            c_row: plan.pitch,
            accumulate: true,
            sums: None,
            ahead: std::mem::replace(&mut self.ahead, Ahead::NONE),
        };
        self.ahead = dispatch(self.level, product);
        let product = Product {
            rows: self.x.rows,
            columns: layer.in_channels,
            depth: self.used(channel, width),
            a: scaled,
            a_row: width,
            a_depth: 1,
            b: &transposed[channel * plan.transposed_row..],
            b_row: plan.transposed_row,
            c: dx,
            c_row: plan.input_pitch,
            accumulate: channel > 0,
            sums: None,
            ahead: std::mem::replace(&mut self.ahead, Ahead::NONE),
        };
        self.ahead = dispatch(self.level, product);
    }
}

/// What puts the input gradient right once the batch has passed.
#[derive(Debug, Default)]
pub(crate) struct Correction {
    sloped: Vec<f32>,
    /// `W slope Wᵀ`, `[in] × [input pitch]`.
    mix: Vec<f32>,
    /// `- W (scale gradient_mean) - m (W slope Wᵀ)`, per input channel.
    constant: Vec<f32>,
}

impl Correction {
    /// Works out the correction, given the mean of x, and norm numbers.
    pub(crate) fn prepare(
        &mut self,
        expansion: &Expansion,
        level: Level,
        mean: &[f64],
        norm: &super::norm::Arrays,
    ) {
        let Expansion { layer, plan, weight, transposed, .. } = *expansion;
        let (rows, columns) = (layer.in_channels, layer.out_channels);
        self.sloped.clear();
        for row in weight.chunks(plan.weight_row).take(rows) {
            self.sloped.extend(row[..columns].iter().zip(norm.slope).map(|(w, s)| w * s));
        }
        self.mix.clear();
        self.mix.resize(rows * plan.input_pitch, 0.0);
        let product = Product {
            rows,
            columns: rows,
            depth: columns,
            a: &self.sloped,
            a_row: columns,
            a_depth: 1,
            b: transposed,
            b_row: plan.transposed_row,
            c: &mut self.mix,
            c_row: plan.input_pitch,
            accumulate: false,
            sums: None,
            ahead: Ahead::NONE,
        };
        dispatch(level, product);
        self.constant.clear();
        self.constant.resize(plan.input_pitch, 0.0);
        for (k, row) in weight.chunks(plan.weight_row).take(rows).enumerate() {
            let factors = norm.scale.iter().zip(norm.gradient_mean);
            let lost: f64 =
                row.iter().zip(factors).map(|(&w, (&s, &g))| f64::from(w * s) * f64::from(g)).sum();
            let column = self.mix[k..].iter().step_by(plan.input_pitch);
            let moved: f64 = mean.iter().zip(column).map(|(m, &v)| m * f64::from(v)).sum();
            self.constant[k] = -(lost + moved) as f32;
        }
    }

    /// Corrects the input gradient of a chunk, and takes it through the producer's epilogue.
    pub(crate) fn apply(
        &self,
        expansion: &Expansion,
        level: Level,
        input: &[f32],
        into: InputOutputs,
        scratch: &mut [f32],
    ) -> RangeGradients {
        let (pitch, mut ranges) = (expansion.plan.input_pitch, RangeGradients::default());
        let block = crate::plan::ROW_BLOCK * pitch;
        for start in (0..input.len()).step_by(block) {
            let place = start..(start + block).min(input.len());
            let (x, x_row) = load_block(level, expansion.load, &input[place.clone()], pitch, scratch);
            let epilogue = into.epilogue.part(place.clone());
            let gradient = &mut into.kept[place.clone()];
            let ahead = Ahead::after([&input[place], gradient, epilogue.raw]);
            let product = Product {
                rows: gradient.len() / pitch,
                columns: expansion.layer.in_channels,
                depth: expansion.layer.in_channels,
                a: x,
                a_row: x_row,
                a_depth: 1,
                b: &self.mix,
                b_row: pitch,
                c: gradient,
                c_row: pitch,
                accumulate: true,
                sums: None,
                ahead,
            };
            dispatch(level, product);
            let epilogue = EpilogueRows {
                epilogue,
                constant: Some(&self.constant),
                gradient,
                pitch,
                first: into.first,
                second: into.second,
            };
            ranges.add(dispatch(level, epilogue));
        }
        ranges
    }
}
