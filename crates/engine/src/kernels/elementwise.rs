//! # What happens to single elements
//!
//! Four functions of a pixel's channels, each usable from other kernels one vector at a time:
//!
//! - [`Load`]: x = quantize(clamp(scale · y + shift, 0, 6)), or without norm for tensors that are stored finished;
//! - [`Finish`]: the stored output of a linear layer, `quantize(quantize(scale · y + shift) + residual)`;
//! - [`NormGradient`]: the gradient of the convolution output, `scale · (g - gradient_mean) + slope · (y - mean)`;
//! - [`Epilogue`]: from the gradient of what a layer loads to the gradient g that its producer keeps, and the sums
//!   `Σ g` and `Σ g · (y - mean)` that the producer's norm needs, and the gradients of the ranges.
//!
//! Here they run over row blocks; the depthwise kernels use them on planes.

use super::{Kernel, LANE_BLOCK, Vector};
use crate::network::MAXIMUM_RIVALS;

/// A fake quantizer with its numbers worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantizer {
    /// Lowest value kept.
    pub low: f32,
    /// Highest value kept.
    pub high: f32,
    /// Distance between levels.
    pub step: f32,
    /// Its inverse.
    pub inverse: f32,
}

impl Quantizer {
    /// `round(clamp(x) / step) * step`.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector>(&self, x: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            x.clamp(V::splat(self.low), V::splat(self.high))
                .mul(V::splat(self.inverse))
                .round()
                .mul(V::splat(self.step))
        }
    }

    /// The gradient that passes straight through.
    #[inline(always)]
    pub(crate) unsafe fn pass<V: Vector>(&self, g: V, x: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe { g.where_inside(x, V::splat(self.low), V::splat(self.high)) }
    }

    /// The gradient of the range.
    #[inline(always)]
    pub(crate) unsafe fn range<V: Vector>(&self, g: V, x: V) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            let above = g.where_at_least(x, V::splat(self.high));
            if self.low < 0.0 { above.sub(g.where_at_most(x, V::splat(self.low))) } else { above }
        }
    }
}

/// Widths that compete with a quantizer; only the backward pass looks at them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RivalQuantizers {
    /// How many.
    pub count: usize,
    /// The first `count` are meant.
    pub all: [Quantizer; MAXIMUM_RIVALS],
}

/// What an epilogue knows about quantization of what the consumer loads.
pub(crate) const UNQUANTIZED: u8 = 0;
/// There is an input quantizer, or the producer is linear.
pub(crate) const QUANTIZED: u8 = 1;
/// There are rivals beside it.
pub(crate) const CONTESTED: u8 = 2;

/// Per-channel numbers of a layer's norm, each padded to the pitch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm<'a> {
    /// Batch mean.
    pub mean: &'a [f32],
    /// gamma / sqrt(variance + epsilon).
    pub scale: &'a [f32],
    /// beta - mean · scale.
    pub shift: &'a [f32],
}

/// How a layer reads its input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    /// Norm and ReLU6 to apply; `None` for the image and finished linear outputs.
    pub norm: Option<Norm<'a>>,
    /// Then this.
    pub quantizer: Option<Quantizer>,
}

impl Load<'_> {
    /// Whether the stored values are what is loaded.
    pub(crate) fn is_plain(&self) -> bool {
        self.norm.is_none() && self.quantizer.is_none()
    }

    pub(crate) fn check(&self, pitch: usize) {
        assert!(self.norm.is_none_or(|norm| norm.scale.len() >= pitch && norm.shift.len() >= pitch));
    }

    /// The numbers for one vector of channels.
    ///
    /// # Safety
    /// `channel + LANES` is at most the pitch that was checked.
    #[inline(always)]
    pub(crate) unsafe fn at<V: Vector>(&self, channel: usize) -> LoadVector<V> {
        // SAFETY: the caller's channel lies in the checked range.
        unsafe {
            let (scale, shift) = match &self.norm {
                Some(n) => (V::load(n.scale.as_ptr().add(channel)), V::load(n.shift.as_ptr().add(channel))),
                None => (V::zero(), V::zero()),
            };
            LoadVector { scale, shift }
        }
    }

    /// One stored vector as it is loaded, before the quantizer.
    #[inline(always)]
    pub(crate) unsafe fn value<V: Vector>(&self, stored: V, numbers: &LoadVector<V>) -> V {
        if self.norm.is_none() {
            return stored;
        }
        // SAFETY: the caller has the instructions of V.
        unsafe { stored.mul_add(numbers.scale, numbers.shift).clamp(V::zero(), V::splat(6.0)) }
    }

    /// One stored vector as the convolution sees it.
    #[inline(always)]
    pub(crate) unsafe fn quantized<V: Vector>(&self, stored: V, numbers: &LoadVector<V>) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            let value = self.value(stored, numbers);
            match &self.quantizer {
                Some(quantizer) => quantizer.apply(value),
                None => value,
            }
        }
    }
}

/// Scale and shift of one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct LoadVector<V> {
    scale: V,
    shift: V,
}

/// Loads a block of rows into scratch.
pub(crate) struct LoadRows<'a> {
    /// How.
    pub load: Load<'a>,
    /// Rows of `pitch` stored values.
    pub input: &'a [f32],
    /// Channels with padding.
    pub pitch: usize,
    /// Written, rows `stride` apart.
    pub output: &'a mut [f32],
    /// Distance between output rows.
    pub stride: usize,
}

impl Kernel for LoadRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let rows = self.input.len() / self.pitch;
        self.load.check(self.pitch);
        assert!(
            self.stride >= self.pitch
                && rows.saturating_sub(1) * self.stride + self.pitch <= self.output.len()
        );
        let (from, to) = (self.input.as_ptr(), self.output.as_mut_ptr());
        for row in 0..rows {
            let mut channel = 0;
            while channel < self.pitch {
                // SAFETY: row and channel lie inside input and output, as asserted.
                unsafe {
                    let stored = V::load(from.add(row * self.pitch + channel));
                    let value = self.load.quantized(stored, &self.load.at(channel));
                    value.store(to.add(row * self.stride + channel));
                }
                channel += V::LANES;
            }
        }
    }
}

/// Subtracts a shift from rows, and sums the differences.
pub(crate) struct Centre<'a> {
    /// Rows.
    pub input: &'a [f32],
    /// Floats between them.
    pub row: usize,
    /// How many.
    pub rows: usize,
    /// Subtracted, one number per channel.
    pub shift: &'a [f32],
    /// Written, rows `stride` apart.
    pub output: &'a mut [f32],
    /// Floats between output rows.
    pub stride: usize,
    /// Written: Σ (x - shift) per channel.
    pub first: &'a mut [f32],
}

impl Kernel for Centre<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let pitch = self.shift.len();
        let last = self.rows.saturating_sub(1);
        assert!(last * self.row + pitch <= self.input.len() && pitch <= self.row);
        assert!(last * self.stride + pitch <= self.output.len() && pitch <= self.stride);
        assert!(self.first.len() >= pitch && pitch.is_multiple_of(LANE_BLOCK));
        for channel in (0..pitch).step_by(V::LANES) {
            // SAFETY: rows and channels lie inside all slices, as asserted.
            unsafe {
                let (shift, mut first) = (V::load(self.shift.as_ptr().add(channel)), V::zero());
                for row in 0..self.rows {
                    let value = V::load(self.input.as_ptr().add(row * self.row + channel)).sub(shift);
                    value.store(self.output.as_mut_ptr().add(row * self.stride + channel));
                    first = first.add(value);
                }
                first.store(self.first.as_mut_ptr().add(channel));
            }
        }
    }
}

/// Writes the finished output of a linear layer.
pub(crate) struct Finish<'a> {
    /// Convolution output.
    pub raw: &'a [f32],
    /// Its norm.
    pub norm: Norm<'a>,
    /// After the norm.
    pub output_quantizer: Option<Quantizer>,
    /// Added then.
    pub residual: Option<&'a [f32]>,
    /// After that.
    pub sum_quantizer: Option<Quantizer>,
    /// Channels with padding.
    pub pitch: usize,
    /// Written.
    pub output: &'a mut [f32],
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let length = self.output.len();
        assert!(self.raw.len() == length && length.is_multiple_of(self.pitch));
        assert!(self.norm.scale.len() >= self.pitch && self.norm.shift.len() >= self.pitch);
        assert!(self.residual.is_none_or(|residual| residual.len() == length));
        let mut channel = 0;
        for at in (0..length).step_by(V::LANES) {
            // SAFETY: `at` is a multiple of LANES below the length of every slice; the channel is below the pitch.
            unsafe {
                let scale = V::load(self.norm.scale.as_ptr().add(channel));
                let shift = V::load(self.norm.shift.as_ptr().add(channel));
                let mut value = V::load(self.raw.as_ptr().add(at)).mul_add(scale, shift);
                if let Some(quantizer) = &self.output_quantizer {
                    value = quantizer.apply(value);
                }
                if let Some(residual) = self.residual {
                    value = value.add(V::load(residual.as_ptr().add(at)));
                }
                if let Some(quantizer) = &self.sum_quantizer {
                    value = quantizer.apply(value);
                }
                value.store(self.output.as_mut_ptr().add(at));
            }
            channel = if channel + V::LANES == self.pitch { 0 } else { channel + V::LANES };
        }
    }
}

/// The backward pass of a layer's norm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormGradient<'a> {
    /// Its forward numbers; the scale is also the factor of g.
    pub norm: Norm<'a>,
    /// Factor of y - mean.
    pub slope: &'a [f32],
    /// Mean of g.
    pub gradient_mean: &'a [f32],
    /// Masks g by the normalised value, when the layer has an output quantizer.
    pub output_quantizer: Option<Quantizer>,
}

/// The numbers of [`NormGradient`] for one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct NormGradientVector<V> {
    mean: V,
    scale: V,
    shift: V,
    slope: V,
    gradient_mean: V,
}

impl NormGradient<'_> {
    pub(crate) fn check(&self, pitch: usize) {
        let Norm { mean, scale, shift } = self.norm;
        assert!(
            [mean, scale, shift, self.slope, self.gradient_mean].iter().all(|numbers| numbers.len() >= pitch)
        );
    }

    /// The numbers for one vector of channels.
    ///
    /// # Safety
    /// `channel + LANES` is at most the pitch that was checked.
    #[inline(always)]
    pub(crate) unsafe fn at<V: Vector>(&self, channel: usize) -> NormGradientVector<V> {
        // SAFETY: the caller's channel lies in the checked range.
        unsafe {
            NormGradientVector {
                mean: V::load(self.norm.mean.as_ptr().add(channel)),
                scale: V::load(self.norm.scale.as_ptr().add(channel)),
                shift: V::load(self.norm.shift.as_ptr().add(channel)),
                slope: V::load(self.slope.as_ptr().add(channel)),
                gradient_mean: V::load(self.gradient_mean.as_ptr().add(channel)),
            }
        }
    }

    /// Gradient of the convolution output.
    #[inline(always)]
    pub(crate) unsafe fn value<V: Vector>(&self, mut g: V, y: V, numbers: &NormGradientVector<V>) -> V {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            if let Some(quantizer) = &self.output_quantizer {
                g = quantizer.pass(g, y.mul_add(numbers.scale, numbers.shift));
            }
            let correction = y.sub(numbers.mean).mul(numbers.slope);
            g.sub(numbers.gradient_mean).mul_add(numbers.scale, correction)
        }
    }
}

/// Writes the gradient of the convolution output for a block of rows into scratch.
pub(crate) struct NormGradientRows<'a> {
    /// How.
    pub gradient: NormGradient<'a>,
    /// Kept gradient g, rows of `pitch`.
    pub kept: &'a [f32],
    /// Convolution output y, rows of `pitch`.
    pub raw: &'a [f32],
    /// Channels with padding.
    pub pitch: usize,
    /// Written, rows `stride` apart.
    pub output: &'a mut [f32],
    /// Distance between output rows.
    pub stride: usize,
}

impl Kernel for NormGradientRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let rows = self.kept.len() / self.pitch;
        self.gradient.check(self.pitch);
        assert!(self.raw.len() == self.kept.len() && self.stride >= self.pitch);
        assert!(rows.saturating_sub(1) * self.stride + self.pitch <= self.output.len());
        for row in 0..rows {
            let mut channel = 0;
            while channel < self.pitch {
                // SAFETY: row and channel lie inside the three slices, as asserted.
                unsafe {
                    let at = row * self.pitch + channel;
                    let (g, y) = (V::load(self.kept.as_ptr().add(at)), V::load(self.raw.as_ptr().add(at)));
                    let value = self.gradient.value(g, y, &self.gradient.at(channel));
                    value.store(self.output.as_mut_ptr().add(row * self.stride + channel));
                }
                channel += V::LANES;
            }
        }
    }
}

/// Gradients of quantizer ranges.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RangeGradients {
    /// Of the consumer's input quantizer.
    pub input: f64,
    /// Of the producer's output quantizer.
    pub output: f64,
    /// Of the producer's sum quantizer.
    pub sum: f64,
    /// Of the shares of the input quantizer's rivals.
    pub rivals: [f64; MAXIMUM_RIVALS],
}

impl RangeGradients {
    /// Adds another one's.
    pub(crate) fn add(&mut self, other: Self) {
        self.input += other.input;
        self.output += other.output;
        self.sum += other.sum;
        self.rivals.iter_mut().zip(other.rivals).for_each(|(to, v)| *to += v);
    }
}

/// Everything between the gradient of what a layer loads and the gradient its producer keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epilogue<'a> {
    /// The producer's convolution output.
    pub raw: &'a [f32],
    /// The producer's norm.
    pub norm: Norm<'a>,
    /// Whether the producer ends in ReLU6.
    pub relu: bool,
    /// The consumer's input quantizer.
    pub input_quantizer: Option<Quantizer>,
    /// The widths it competes with.
    pub rivals: Option<RivalQuantizers>,
    /// Linear: the producer's finished output.
    pub finished: Option<&'a [f32]>,
    /// Linear: the kept gradient of the layer that has the producer as residual.
    pub residual_gradient: Option<&'a [f32]>,
    /// Linear: the producer's own residual input.
    pub residual: Option<&'a [f32]>,
    /// Linear: the producer's output quantizer.
    pub output_quantizer: Option<Quantizer>,
    /// Linear: the producer's sum quantizer.
    pub sum_quantizer: Option<Quantizer>,
}

/// Running sums of one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct EpilogueSums<V> {
    pub first: V,
    pub second: V,
    input: V,
    output: V,
    sum: V,
    rivals: [V; MAXIMUM_RIVALS],
}

impl<V: Vector> EpilogueSums<V> {
    #[inline(always)]
    pub(crate) unsafe fn zero() -> Self {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            let zero = V::zero();
            let rivals = [zero; MAXIMUM_RIVALS];
            Self { first: zero, second: zero, input: zero, output: zero, sum: zero, rivals }
        }
    }

    #[inline(always)]
    pub(crate) unsafe fn ranges(&self) -> RangeGradients {
        // SAFETY: the caller has the instructions of V.
        unsafe {
            RangeGradients {
                input: total(self.input),
                output: total(self.output),
                sum: total(self.sum),
                rivals: self.rivals.map(|rival| total(rival)),
            }
        }
    }
}

#[inline(always)]
unsafe fn total<V: Vector>(vector: V) -> f64 {
    let mut lanes = [0.0f32; LANE_BLOCK];
    // SAFETY: a vector has at most LANE_BLOCK lanes.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    lanes[..V::LANES].iter().map(|&v| f64::from(v)).sum()
}

/// The numbers of [`Epilogue`] for one vector of channels.
#[derive(Clone, Copy)]
pub(crate) struct EpilogueVector<V> {
    mean: V,
    /// Also the factor from the gradient of the norm to its input's.
    pub scale: V,
    shift: V,
}

impl Epilogue<'_> {
    /// Which of [`UNQUANTIZED`], [`QUANTIZED`] and [`CONTESTED`] this is.
    pub(crate) fn quantization(&self) -> u8 {
        match (self.input_quantizer, self.rivals) {
            (Some(_), Some(_)) => CONTESTED,
            (None, _) if self.relu => UNQUANTIZED,
            _ => QUANTIZED,
        }
    }

    /// Checks that every slice reaches `length` elements, and every channel array the pitch.
    pub(crate) fn check(&self, length: usize, pitch: usize) {
        let Norm { mean, scale, shift } = self.norm;
        assert!([mean, scale, shift].iter().all(|numbers| numbers.len() >= pitch));
        assert!(self.raw.len() >= length);
        let optional = [self.finished, self.residual_gradient, self.residual];
        assert!(optional.iter().all(|slice| slice.is_none_or(|slice| slice.len() >= length)));
        assert!(self.relu || self.input_quantizer.is_none() || self.finished.is_some());
    }

    /// # Safety
    /// `channel + LANES` is at most the pitch that was checked.
    #[inline(always)]
    pub(crate) unsafe fn at<V: Vector>(&self, channel: usize) -> EpilogueVector<V> {
        // SAFETY: the caller's channel lies in the checked range.
        unsafe {
            EpilogueVector {
                mean: V::load(self.norm.mean.as_ptr().add(channel)),
                scale: V::load(self.norm.scale.as_ptr().add(channel)),
                shift: V::load(self.norm.shift.as_ptr().add(channel)),
            }
        }
    }

    /// The kept gradient of the vector that starts at element `at`. `RELU` must say what `relu` says,
    /// `QUANTIZATION` what [`Self::quantization`] does.
    ///
    /// # Safety
    /// `at + LANES` is at most the length that was checked.
    #[inline(always)]
    pub(crate) unsafe fn apply<V: Vector, const RELU: bool, const QUANTIZATION: u8>(
        &self,
        mut g: V,
        at: usize,
        numbers: &EpilogueVector<V>,
        sums: &mut EpilogueSums<V>,
    ) -> V {
        // SAFETY: `at` lies inside every slice that there is.
        unsafe {
            let y = V::load(self.raw.as_ptr().add(at));
            let z = y.mul_add(numbers.scale, numbers.shift);
            if QUANTIZATION != UNQUANTIZED
                && let Some(quantizer) = &self.input_quantizer
            {
                let x = match self.finished {
                    Some(finished) if !RELU => V::load(finished.as_ptr().add(at)),
                    _ => z.clamp(V::zero(), V::splat(6.0)),
                };
                if QUANTIZATION == CONTESTED
                    && let Some(rivals) = &self.rivals
                {
                    for (sum, rival) in sums.rivals.iter_mut().zip(&rivals.all[..rivals.count]) {
                        *sum = g.mul_add(rival.apply(x), *sum);
                    }
                }
                sums.input = sums.input.add(quantizer.range(g, x));
                g = quantizer.pass(g, x);
            }
            let kept = if RELU {
                g = g.where_inside(z, V::zero(), V::splat(6.0));
                g
            } else {
                self.linear(&mut g, z, at, sums)
            };
            sums.first = sums.first.add(g);
            sums.second = g.mul_add(y.sub(numbers.mean), sums.second);
            kept
        }
    }

    /// The linear case: returns the gradient of the sum (kept), leaves the gradient of the norm in `g`.
    #[inline(always)]
    unsafe fn linear<V: Vector>(&self, g: &mut V, z: V, at: usize, sums: &mut EpilogueSums<V>) -> V {
        // SAFETY: `at` lies inside every slice that there is.
        unsafe {
            if let Some(other) = self.residual_gradient {
                *g = g.add(V::load(other.as_ptr().add(at)));
            }
            if let Some(quantizer) = &self.sum_quantizer {
                let mut s = match &self.output_quantizer {
                    Some(inner) => inner.apply(z),
                    None => z,
                };
                if let Some(residual) = self.residual {
                    s = s.add(V::load(residual.as_ptr().add(at)));
                }
                sums.sum = sums.sum.add(quantizer.range(*g, s));
                *g = quantizer.pass(*g, s);
            }
            let kept = *g;
            if let Some(quantizer) = &self.output_quantizer {
                sums.output = sums.output.add(quantizer.range(*g, z));
                *g = quantizer.pass(*g, z);
            }
            kept
        }
    }
}

/// [`Epilogue`] over a block of rows, in place.
pub(crate) struct EpilogueRows<'a> {
    /// How.
    pub epilogue: Epilogue<'a>,
    /// Added to the gradient first, one number per channel.
    pub constant: Option<&'a [f32]>,
    /// Gradient of what was loaded; becomes the kept gradient. Rows of `pitch`.
    pub gradient: &'a mut [f32],
    /// Channels with padding.
    pub pitch: usize,
    /// Σ g per channel, added to.
    pub first: &'a mut [f64],
    /// Σ g · (y - mean) per channel, added to.
    pub second: &'a mut [f64],
}

impl Kernel for EpilogueRows<'_> {
    type Output = RangeGradients;

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) -> RangeGradients {
        let (length, pitch) = (self.gradient.len(), self.pitch);
        self.epilogue.check(length, pitch);
        assert!(length.is_multiple_of(pitch) && self.first.len() >= pitch && self.second.len() >= pitch);
        assert!(self.constant.is_none_or(|constant| constant.len() >= pitch));
        let mut ranges = RangeGradients::default();
        for channel in (0..pitch).step_by(V::LANES) {
            // SAFETY: the channel is below the pitch, every `at` a vector inside the slices, as checked.
            unsafe {
                let sums = match (self.epilogue.relu, self.epilogue.quantization()) {
                    (true, UNQUANTIZED) => self.channel::<V, true, UNQUANTIZED>(channel),
                    (true, QUANTIZED) => self.channel::<V, true, QUANTIZED>(channel),
                    (true, _) => self.channel::<V, true, CONTESTED>(channel),
                    (false, CONTESTED) => self.channel::<V, false, CONTESTED>(channel),
                    (false, _) => self.channel::<V, false, QUANTIZED>(channel),
                };
                add_lanes(sums.first, &mut self.first[channel..]);
                add_lanes(sums.second, &mut self.second[channel..]);
                ranges.add(sums.ranges());
            }
        }
        ranges
    }
}

impl EpilogueRows<'_> {
    #[inline(always)]
    unsafe fn channel<V: Vector, const RELU: bool, const QUANTIZATION: u8>(
        &mut self,
        channel: usize,
    ) -> EpilogueSums<V> {
        // SAFETY: as `run`.
        unsafe {
            let numbers = self.epilogue.at::<V>(channel);
            let constant = match self.constant {
                Some(constant) => V::load(constant.as_ptr().add(channel)),
                None => V::zero(),
            };
            let mut sums = EpilogueSums::zero();
            for at in (channel..self.gradient.len()).step_by(self.pitch) {
                let g = V::load(self.gradient.as_ptr().add(at)).add(constant);
                let kept = self.epilogue.apply::<V, RELU, QUANTIZATION>(g, at, &numbers, &mut sums);
                kept.store(self.gradient.as_mut_ptr().add(at));
            }
            sums
        }
    }
}

/// Adds the lanes of a vector to the front of `to`.
///
/// # Safety
/// The machine must have the instructions of V.
#[inline(always)]
pub(crate) unsafe fn add_lanes<V: Vector>(vector: V, to: &mut [f64]) {
    let mut lanes = [0.0f32; LANE_BLOCK];
    // SAFETY: a vector has at most LANE_BLOCK lanes.
    unsafe { vector.store(lanes.as_mut_ptr()) };
    to.iter_mut().zip(&lanes[..V::LANES]).for_each(|(t, &v)| *t += f64::from(v));
}

impl<'a> Epilogue<'a> {
    /// The same for a range of elements.
    pub(crate) fn part(&self, range: std::ops::Range<usize>) -> Self {
        let cut = |slice: Option<&'a [f32]>| slice.map(|slice| &slice[range.clone()]);
        Self {
            raw: &self.raw[range.clone()],
            finished: cut(self.finished),
            residual_gradient: cut(self.residual_gradient),
            residual: cut(self.residual),
            ..*self
        }
    }
}
