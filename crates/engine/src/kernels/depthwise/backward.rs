//! Backward pass over the images of one chunk: weight gradient, input gradient, and the producer's epilogue.

use super::forward::gather;
use super::{Geometry, Planes, Row, Sink};
use crate::kernels::elementwise::{
    Epilogue, EpilogueSums, EpilogueVector, Load, NormGradient, NormGradientVector, RangeGradients, add_lanes,
};
use crate::kernels::{Kernel, Vector};

/// Arguments.
pub(crate) struct Backward<'a> {
    pub geometry: Geometry,
    /// How the input is read.
    pub load: Load<'a>,
    /// The input, whole images.
    pub input: &'a [f32],
    /// From kept gradient and convolution output to the gradient of the convolution output.
    pub gradient: NormGradient<'a>,
    /// Kept gradient, whole output images.
    pub kept: &'a [f32],
    /// Convolution output, whole images.
    pub raw: &'a [f32],
    /// `[taps] × [weight_row]`.
    pub weight: &'a [f32],
    /// At least the pitch.
    pub weight_row: usize,
    /// `[taps] × [pitch]`, added to.
    pub weight_gradient: &'a mut [f32],
    /// At least [`Geometry::scratch_length`].
    pub scratch: &'a mut [f32],
    /// The producer's part; `None` when the input is the image.
    pub input_gradient: Option<InputGradient<'a>>,
}

/// Where the input gradient goes.
pub(crate) struct InputGradient<'a> {
    /// To the kept gradient of the producer.
    pub epilogue: Epilogue<'a>,
    /// Written: whole input images.
    pub output: &'a mut [f32],
    /// Σ g per channel, added to.
    pub first: &'a mut [f64],
    /// Σ g · (y - mean) per channel, added to.
    pub second: &'a mut [f64],
}

impl Kernel for Backward<'_> {
    type Output = RangeGradients;

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) -> RangeGradients {
        self.check();
        let geometry = self.geometry;
        let (group, border, vectors) =
            (geometry.group(V::LANES), geometry.kernel / 2, geometry.pitch / V::LANES);
        let (inputs, rest) = Planes::new(self.scratch, geometry.input, border, V::LANES, group);
        let (gradients, kernels) = Planes::new(rest, geometry.output, border, V::LANES, group);
        let mut ranges = RangeGradients::default();
        for start in (0..vectors).step_by(group) {
            let (count, channel) = (group.min(vectors - start), start * V::LANES);
            // SAFETY: `check` has shown every slice to be long enough for all images and the pitch; planes and
            // kernels lie in scratch, whose length was checked too.
            unsafe {
                for vector in 0..count {
                    let kernel = &mut kernels[vector * geometry.kernel.pow(2) * V::LANES..];
                    let channel = channel + vector * V::LANES;
                    flip_kernel::<V>(&geometry, &self.weight[channel..], self.weight_row, kernel);
                }
                for image in 0..self.input.len() / geometry.input_length() {
                    let (at_input, at_output) =
                        (image * geometry.input_length(), image * geometry.output_length());
                    let from = self.input.as_ptr().add(at_input + channel);
                    gather::<V>(&self.load, from, geometry.pitch, channel, count, &inputs);
                    for vector in 0..count {
                        let channel = channel + vector * V::LANES;
                        let kept = self.kept.as_ptr().add(at_output + channel);
                        let raw = self.raw.as_ptr().add(at_output + channel);
                        let numbers = self.gradient.at::<V>(channel);
                        gather_gradient(
                            &self.gradient,
                            &numbers,
                            kept,
                            raw,
                            geometry.pitch,
                            vector,
                            &gradients,
                        );
                        let pass = Pass { geometry, inputs, gradients, vector };
                        pass.weight_gradient::<V>(self.weight_gradient.as_mut_ptr().add(channel));
                        if let Some(into) = &mut self.input_gradient {
                            let kernel = kernels.as_ptr().add(vector * geometry.kernel.pow(2) * V::LANES);
                            ranges.add(pass.input_gradient::<V>(kernel, into, at_input, channel));
                        }
                    }
                }
            }
        }
        ranges
    }
}

impl Backward<'_> {
    fn check(&self) {
        let geometry = &self.geometry;
        let images = self.input.len() / geometry.input_length();
        assert_eq!(self.input.len(), images * geometry.input_length());
        assert!([self.kept.len(), self.raw.len()].iter().all(|&l| l == images * geometry.output_length()));
        self.gradient.check(geometry.pitch);
        let taps = geometry.kernel.pow(2);
        assert!(self.weight_row >= geometry.pitch);
        assert!(self.weight.len() >= (taps - 1) * self.weight_row + geometry.pitch);
        assert!(self.weight_gradient.len() >= taps * geometry.pitch);
        assert!(self.scratch.len() >= geometry.scratch_length());
        assert!(
            self.load.norm.is_none_or(|n| n.scale.len() >= geometry.pitch && n.shift.len() >= geometry.pitch)
        );
        if let Some(into) = &self.input_gradient {
            into.epilogue.check(self.input.len(), geometry.pitch);
            assert_eq!(into.output.len(), self.input.len());
            assert!(into.first.len() >= geometry.pitch && into.second.len() >= geometry.pitch);
        }
    }
}

/// Taps along one axis that input positions of one parity meet, and where they start in the padded gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Phase {
    /// Largest tap; the others follow downwards, a stride apart.
    last: usize,
    /// How many.
    taps: usize,
    /// Padded position of the gradient under `last`, for the first input position of this parity.
    start: usize,
}

impl Phase {
    fn new(geometry: &Geometry, parity: usize) -> Self {
        let (kernel, stride, border) = (geometry.kernel, geometry.stride, geometry.kernel / 2);
        let lowest = (parity + border) % stride;
        let taps = if lowest < kernel { (kernel - lowest).div_ceil(stride) } else { 0 };
        let last = lowest + taps.saturating_sub(1) * stride;
        // (parity + border - last) / stride + border, kept above zero; exact, since last ≡ parity + border.
        let start = (parity + border + stride * border).saturating_sub(last) / stride;
        Self { last, taps, start }
    }
}

/// Kernels of the phases, one after another, each flipped, `[tap][lane]`.
#[inline(always)]
unsafe fn flip_kernel<V: Vector>(geometry: &Geometry, weight: &[f32], weight_row: usize, kernel: &mut [f32]) {
    let mut to = kernel.chunks_exact_mut(V::LANES);
    for (vertical, horizontal) in phases(geometry) {
        for i in 0..vertical.taps {
            for j in 0..horizontal.taps {
                let row = vertical.last - i * geometry.stride;
                let tap = row * geometry.kernel + horizontal.last - j * geometry.stride;
                if let Some(to) = to.next() {
                    to.copy_from_slice(&weight[tap * weight_row..tap * weight_row + V::LANES]);
                }
            }
        }
    }
}

fn phases(geometry: &Geometry) -> impl Iterator<Item = (Phase, Phase)> + use<> {
    let geometry = *geometry;
    let stride = geometry.stride;
    (0..stride * stride).map(move |i| (Phase::new(&geometry, i / stride), Phase::new(&geometry, i % stride)))
}

/// Gathers the gradient of the convolution output of one vector of channels into its plane.
///
/// # Safety
/// `kept` and `raw` point at the first channel of an image of the planes' size, with rows of `pitch`.
#[inline(always)]
unsafe fn gather_gradient<V: Vector>(
    gradient: &NormGradient,
    numbers: &NormGradientVector<V>,
    kept: *const f32,
    raw: *const f32,
    pitch: usize,
    vector: usize,
    planes: &Planes,
) {
    for row in 0..planes.image {
        // SAFETY: the caller's images have size² pixels of `pitch`; the planes have room inside the border.
        unsafe {
            let to = planes.at(vector, row + planes.border, planes.border);
            for column in 0..planes.image {
                let at = (row * planes.image + column) * pitch;
                let value = gradient.value(V::load(kept.add(at)), V::load(raw.add(at)), numbers);
                value.store(to.add(column * V::LANES));
            }
        }
    }
}

/// One image, one vector of channels.
struct Pass {
    geometry: Geometry,
    inputs: Planes,
    gradients: Planes,
    vector: usize,
}

/// Puts input gradients through the producer's epilogue.
struct Into<'a, V> {
    epilogue: &'a Epilogue<'a>,
    numbers: EpilogueVector<V>,
    sums: EpilogueSums<V>,
    output: *mut f32,
    /// Element of column 0.
    start: usize,
    /// Elements between columns.
    step: usize,
}

impl<V: Vector> Sink<V> for Into<'_, V> {
    #[inline(always)]
    unsafe fn put(&mut self, column: usize, value: V) {
        let at = self.start + column * self.step;
        // SAFETY: the column is one of the row's, so `at` lies in the input image.
        unsafe { self.epilogue.apply(value, at, &self.numbers, &mut self.sums).store(self.output.add(at)) };
    }
}

impl Pass {
    /// All phases of the input gradient.
    #[inline(always)]
    unsafe fn input_gradient<V: Vector>(
        &self,
        mut kernel: *const f32,
        into: &mut InputGradient,
        image: usize,
        channel: usize,
    ) -> RangeGradients {
        let Geometry { input, stride, pitch, .. } = self.geometry;
        // SAFETY: phases, rows and columns cover exactly the input image at `image`; the planes hold every gradient
        // they meet, see `Phase`; the kernels of the phases follow each other.
        unsafe {
            let (numbers, sums) = (into.epilogue.at::<V>(channel), EpilogueSums::zero());
            let output = into.output.as_mut_ptr();
            let mut sink =
                Into { epilogue: &into.epilogue, numbers, sums, output, start: 0, step: stride * pitch };
            for (phase, (vertical, horizontal)) in phases(&self.geometry).enumerate() {
                let (down, right) = (phase / stride, phase % stride);
                for row in (down..input).step_by(stride) {
                    sink.start = image + (row * input + right) * pitch + channel;
                    let row = Row {
                        input: self.gradients.at(
                            self.vector,
                            row / stride + vertical.start,
                            horizontal.start,
                        ),
                        input_row: self.gradients.row(),
                        kernel,
                        count: (input - right.min(input)).div_ceil(stride),
                    };
                    correlate(row, [vertical.taps, horizontal.taps], &mut sink);
                }
                kernel = kernel.wrapping_add(vertical.taps * horizontal.taps * V::LANES);
            }
            add_lanes(sink.sums.first, &mut into.first[channel..]);
            add_lanes(sink.sums.second, &mut into.second[channel..]);
            sink.sums.ranges()
        }
    }

    /// Adds this image to the gradient of every tap.
    #[inline(always)]
    unsafe fn weight_gradient<V: Vector>(&self, to: *mut f32) {
        let Geometry { kernel, stride, .. } = self.geometry;
        let many = V::REGISTERS >= 32;
        // SAFETY: `to` has kernel² rows of `pitch`; the row ranges below cover the kernel once.
        unsafe {
            match (kernel, stride) {
                (3, 1) => self.taps::<V, 3, 3, 1>(0, to),
                (3, 2) => self.taps::<V, 3, 3, 2>(0, to),
                (5, 1) if many => self.taps::<V, 5, 5, 1>(0, to),
                (5, 2) if many => self.taps::<V, 5, 5, 2>(0, to),
                (7, 1) if many => {
                    self.taps::<V, 3, 7, 1>(0, to);
                    self.taps::<V, 4, 7, 1>(3, to);
                }
                (7, 2) if many => {
                    self.taps::<V, 3, 7, 2>(0, to);
                    self.taps::<V, 4, 7, 2>(3, to);
                }
                (5, 1) => {
                    for row in 0..5 {
                        self.taps::<V, 1, 5, 1>(row, to);
                    }
                }
                (5, 2) => {
                    for row in 0..5 {
                        self.taps::<V, 1, 5, 2>(row, to);
                    }
                }
                (7, 1) => {
                    for row in 0..7 {
                        self.taps::<V, 1, 7, 1>(row, to);
                    }
                }
                (7, 2) => {
                    for row in 0..7 {
                        self.taps::<V, 1, 7, 2>(row, to);
                    }
                }
                _ => self.any_taps::<V>(to),
            }
        }
    }

    /// Adds to the gradients of `H` rows of taps, from row `first`.
    #[inline(always)]
    unsafe fn taps<V: Vector, const H: usize, const W: usize, const S: usize>(
        &self,
        first: usize,
        to: *mut f32,
    ) {
        let Geometry { output, pitch, .. } = self.geometry;
        // SAFETY: as `weight_gradient`; inputs and gradients under all taps lie in their planes.
        unsafe {
            let to = to.add(first * W * pitch);
            let mut total = [[V::zero(); W]; H];
            for row in 0..output {
                let mut input = self.inputs.at(self.vector, row * S + first, 0).cast_const();
                let border = self.gradients.border;
                let mut gradient = self.gradients.at(self.vector, row + border, border).cast_const();
                for _ in 0..output / 2 {
                    add_taps::<V, H, W, S, 2>(input, self.inputs.row(), gradient, &mut total);
                    (input, gradient) =
                        (input.wrapping_add(2 * S * V::LANES), gradient.wrapping_add(2 * V::LANES));
                }
                if output % 2 == 1 {
                    add_taps::<V, H, W, S, 1>(input, self.inputs.row(), gradient, &mut total);
                }
            }
            for i in 0..H {
                for j in 0..W {
                    let to = to.add((i * W + j) * pitch);
                    total[i][j].add(V::load(to)).store(to);
                }
            }
        }
    }

    /// The same for any kernel, one tap at a time.
    #[inline(always)]
    unsafe fn any_taps<V: Vector>(&self, to: *mut f32) {
        let Geometry { output, pitch, kernel, stride, .. } = self.geometry;
        let border = self.gradients.border;
        for tap in 0..kernel * kernel {
            // SAFETY: as `taps`.
            unsafe {
                let to = to.add(tap * pitch);
                let mut total = V::load(to);
                for pixel in 0..output * output {
                    let (row, column) = (pixel / output, pixel % output);
                    let (down, right) = (row * stride + tap / kernel, column * stride + tap % kernel);
                    let x = V::load(self.inputs.at(self.vector, down, right));
                    total = x.mul_add(
                        V::load(self.gradients.at(self.vector, row + border, column + border)),
                        total,
                    );
                }
                total.store(to);
            }
        }
    }
}

/// `total[i][j] += Σ_t input[i, t·S + j] · gradient[t]` for T neighbours.
#[inline(always)]
unsafe fn add_taps<V: Vector, const H: usize, const W: usize, const S: usize, const T: usize>(
    input: *const f32,
    input_row: usize,
    gradient: *const f32,
    total: &mut [[V; W]; H],
) {
    // SAFETY: the caller's inputs and gradients exist.
    unsafe {
        let mut gradients = [V::zero(); T];
        for (t, value) in gradients.iter_mut().enumerate() {
            *value = V::load(gradient.add(t * V::LANES));
        }
        for i in 0..H {
            for j in 0..W {
                for t in 0..T {
                    let x = V::load(input.add(i * input_row + (t * S + j) * V::LANES));
                    total[i][j] = x.mul_add(gradients[t], total[i][j]);
                }
            }
        }
    }
}

/// A stride-1 correlation with any of the kernels that phases have.
///
/// # Safety
/// As [`Row::run`].
#[inline(always)]
unsafe fn correlate<V: Vector>(row: Row, taps: [usize; 2], sink: &mut impl Sink<V>) {
    // SAFETY: as the caller's.
    unsafe {
        match taps {
            [1, 1] => row.run::<V, 1, 1, 1>(sink),
            [1, 2] => row.run::<V, 1, 2, 1>(sink),
            [2, 1] => row.run::<V, 2, 1, 1>(sink),
            [2, 2] => row.run::<V, 2, 2, 1>(sink),
            [2, 3] => row.run::<V, 2, 3, 1>(sink),
            [3, 2] => row.run::<V, 3, 2, 1>(sink),
            [3, 3] => row.run::<V, 3, 3, 1>(sink),
            [3, 4] => row.run::<V, 3, 4, 1>(sink),
            [4, 3] => row.run::<V, 4, 3, 1>(sink),
            [4, 4] => row.run::<V, 4, 4, 1>(sink),
            [5, 5] => row.run::<V, 5, 5, 1>(sink),
            [7, 7] => row.run::<V, 7, 7, 1>(sink),
            _ => row.run_any::<V>(taps, 1, sink),
        }
    }
}
