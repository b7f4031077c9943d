//! # Going backward through single elements
//!
//! [`NormGradient`] and [`Epilogue`] of the [parent](super), whose header has their equations.

use super::*;
use crate::network::RELU_CEILING;

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
        let Norm { mean, scale, shift, .. } = self.norm;
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
        let Norm { mean, scale, shift, .. } = self.norm;
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
                    _ => z.clamp(V::zero(), V::splat(RELU_CEILING)),
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
                g = g.where_inside(z, V::zero(), V::splat(RELU_CEILING));
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
