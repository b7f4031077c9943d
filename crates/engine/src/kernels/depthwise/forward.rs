//! Forward pass over the images of one chunk.

use super::{Geometry, Planes, Row, Sink};
use crate::kernels::elementwise::{Load, LoadVector};
use crate::kernels::{Kernel, LANE_BLOCK, Vector};
use crate::sums::{Block, ChannelSums, merge};

/// Elements of a channel after which shifted sums are merged.
const BLOCK_ELEMENTS: usize = 1024;

/// Arguments.
pub(crate) struct Forward<'a, 'b> {
    pub geometry: Geometry,
    /// How the input is read.
    pub load: Load<'a>,
    /// Whole images, rows of `pitch`.
    pub input: &'a [f32],
    /// `[taps] × [weight_row]`.
    pub weight: &'a [f32],
    /// At least the pitch.
    pub weight_row: usize,
    /// Written: whole images, rows of `pitch`.
    pub output: &'a mut [f32],
    /// At least [`Geometry::scratch_length`].
    pub scratch: &'a mut [f32],
    /// Statistics of the output.
    pub sums: Option<&'a mut ChannelSums<'b>>,
}

struct Store<V> {
    to: *mut f32,
    step: usize,
    shift: V,
    first: V,
    second: V,
}

impl<V: Vector> Sink<V> for Store<V> {
    #[inline(always)]
    unsafe fn put(&mut self, column: usize, value: V) {
        // SAFETY: the column is one of the row's, so its place lies in the output.
        unsafe {
            value.store(self.to.add(column * self.step));
            let distance = value.sub(self.shift);
            self.first = self.first.add(distance);
            self.second = distance.mul_add(distance, self.second);
        }
    }
}

impl Kernel for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        self.check();
        let Self { geometry, load, input, weight, weight_row, output, scratch, mut sums } = self;
        let group = geometry.group(V::LANES);
        let border = geometry.kernel / 2;
        let (planes, kernels) = Planes::new(scratch, geometry.input, border, V::LANES, group);
        let vectors = geometry.pitch / V::LANES;
        for start in (0..vectors).step_by(group) {
            let count = group.min(vectors - start);
            let channel = start * V::LANES;
            // SAFETY: `check` has shown that every image, kernel row and channel array is long enough; planes and
            // kernels lie in scratch, whose length was checked too.
            unsafe {
                copy_kernels::<V>(&geometry, weight, weight_row, channel, count, kernels);
                for image in 0..input.len() / geometry.input_length() {
                    let from = input.as_ptr().add(image * geometry.input_length() + channel);
                    gather::<V>(&load, from, geometry.pitch, channel, count, &planes);
                    let to = output.as_mut_ptr().add(image * geometry.output_length());
                    for vector in 0..count {
                        let pass = Pass { geometry, planes, vector, kernels: kernels.as_ptr(), image };
                        pass.run::<V>(channel + vector * V::LANES, to, sums.as_deref_mut());
                    }
                }
            }
        }
    }
}

impl Forward<'_, '_> {
    fn check(&self) {
        let geometry = &self.geometry;
        let images = self.input.len() / geometry.input_length();
        assert_eq!(self.input.len(), images * geometry.input_length());
        assert_eq!(self.output.len(), images * geometry.output_length());
        assert!(self.weight_row >= geometry.pitch);
        assert!(self.weight.len() >= (geometry.kernel.pow(2) - 1) * self.weight_row + geometry.pitch);
        assert!(self.scratch.len() >= geometry.scratch_length());
        assert!(
            self.load.norm.is_none_or(|n| n.scale.len() >= geometry.pitch && n.shift.len() >= geometry.pitch)
        );
        let long =
            |sums: &ChannelSums| sums.mean.len() >= geometry.pitch && sums.square.len() >= geometry.pitch;
        assert!(self.sums.as_deref().is_none_or(long));
    }
}

/// One image, one vector of channels.
struct Pass {
    geometry: Geometry,
    planes: Planes,
    vector: usize,
    kernels: *const f32,
    image: usize,
}

impl Pass {
    #[inline(always)]
    unsafe fn run<V: Vector>(&self, channel: usize, to: *mut f32, sums: Option<&mut ChannelSums>) {
        let size = self.geometry.output;
        let row_length = size * self.geometry.pitch;
        // SAFETY: as the caller's; rows and the channel lie inside the output image.
        unsafe {
            let to = to.add(channel);
            let new = |to, shift| Store {
                to,
                step: self.geometry.pitch,
                shift,
                first: V::zero(),
                second: V::zero(),
            };
            let Some(sums) = sums else {
                // Plain loops here and elsewhere: a closure that is not inlined is compiled without the instructions.
                for row in 0..size {
                    self.row(row, &mut new(to.add(row * row_length), V::zero()));
                }
                return;
            };
            let lanes = channel..channel + V::LANES;
            let (mean, square) = (&mut sums.mean[lanes.clone()], &mut sums.square[lanes]);
            let mut counted = self.image * size * size;
            if counted == 0 {
                let mut first_row = new(to, V::zero());
                self.row(0, &mut first_row);
                store_mean(first_row.first, size, mean);
            }
            let rows = (BLOCK_ELEMENTS / size).max(1);
            for start in (0..size).step_by(rows) {
                let end = (start + rows).min(size);
                let mut shift = [0.0; LANE_BLOCK];
                shift.iter_mut().zip(mean.iter()).for_each(|(s, &m)| *s = m as f32);
                let mut store = new(to, V::load(shift.as_ptr()));
                for row in start..end {
                    store.to = to.add(row * row_length);
                    self.row(row, &mut store);
                }
                let [mut first, mut second] = [[0.0; LANE_BLOCK]; 2];
                store.first.store(first.as_mut_ptr());
                store.second.store(second.as_mut_ptr());
                let block =
                    Block { shift: &shift, first: &first, second: &second, rows: (end - start) * size };
                merge(mean, square, counted, &block);
                counted += block.rows;
            }
        }
    }

    #[inline(always)]
    unsafe fn row<V: Vector>(&self, row: usize, store: &mut Store<V>) {
        let Geometry { kernel, stride, output, .. } = self.geometry;
        // SAFETY: row·stride + kernel rows and all columns lie in the plane; the kernels of this vector in theirs.
        unsafe {
            let row = Row {
                input: self.planes.at(self.vector, row * stride, 0),
                input_row: self.planes.row(),
                kernel: self.kernels.add(self.vector * kernel * kernel * V::LANES),
                count: output,
            };
            match (kernel, stride) {
                (3, 1) => row.run::<V, 3, 3, 1>(store),
                (5, 1) => row.run::<V, 5, 5, 1>(store),
                (7, 1) => row.run::<V, 7, 7, 1>(store),
                (3, 2) => row.run::<V, 3, 3, 2>(store),
                (5, 2) => row.run::<V, 5, 5, 2>(store),
                (7, 2) => row.run::<V, 7, 7, 2>(store),
                _ => row.run_any::<V>([kernel; 2], stride, store),
            }
        }
    }
}

#[inline(always)]
unsafe fn store_mean<V: Vector>(sum: V, count: usize, mean: &mut [f64]) {
    let mut lanes = [0.0f32; LANE_BLOCK];
    // SAFETY: a vector has at most LANE_BLOCK lanes.
    unsafe { sum.store(lanes.as_mut_ptr()) };
    mean.iter_mut().zip(&lanes).for_each(|(m, &v)| *m = f64::from(v) / count as f64);
}

/// Copies the taps of `count` vectors of channels to `[vector][tap][lane]`.
///
/// # Safety
/// The weight rows reach `channel + count` vectors.
#[inline(always)]
unsafe fn copy_kernels<V: Vector>(
    geometry: &Geometry,
    weight: &[f32],
    weight_row: usize,
    channel: usize,
    count: usize,
    kernels: &mut [f32],
) {
    let taps = geometry.kernel * geometry.kernel;
    for (vector, kernel) in kernels.chunks_exact_mut(taps * V::LANES).take(count).enumerate() {
        for (tap, to) in kernel.chunks_exact_mut(V::LANES).enumerate() {
            let from = tap * weight_row + channel + vector * V::LANES;
            to.copy_from_slice(&weight[from..from + V::LANES]);
        }
    }
}

/// Gathers `count` vectors of channels of one image into planes, as they are loaded.
///
/// # Safety
/// `from` points at the first channel of an image of the planes' size, with rows of `pitch`.
#[inline(always)]
pub(super) unsafe fn gather<V: Vector>(
    load: &Load,
    from: *const f32,
    pitch: usize,
    channel: usize,
    count: usize,
    planes: &Planes,
) {
    // SAFETY: the caller's image has size² pixels of `pitch`; the planes have room for its pixels inside the border.
    unsafe {
        let (size, border) = (planes.image, planes.border);
        match count {
            1 => gather_vectors::<V, 1>(load, from, pitch, channel, planes, 0),
            2 => gather_vectors::<V, 2>(load, from, pitch, channel, planes, 0),
            3 => gather_vectors::<V, 3>(load, from, pitch, channel, planes, 0),
            4 => gather_vectors::<V, 4>(load, from, pitch, channel, planes, 0),
            _ => {
                for vector in 0..count {
                    let (from, channel) = (from.add(vector * V::LANES), channel + vector * V::LANES);
                    gather_vectors::<V, 1>(load, from, pitch, channel, planes, vector);
                }
            }
        }
        debug_assert!(size > 0 || border > 0);
    }
}

#[inline(always)]
unsafe fn gather_vectors<V: Vector, const N: usize>(
    load: &Load,
    from: *const f32,
    pitch: usize,
    channel: usize,
    planes: &Planes,
    first: usize,
) {
    // SAFETY: as `gather`.
    unsafe {
        let mut numbers: [LoadVector<V>; N] = [load.at(channel); N];
        for (n, numbers) in numbers.iter_mut().enumerate() {
            *numbers = load.at(channel + n * V::LANES);
        }
        let plane = planes.at(1, 0, 0).offset_from(planes.at(0, 0, 0)) as usize;
        for row in 0..planes.image {
            let mut to = planes.at(first, row + planes.border, planes.border);
            let mut from = from.add(row * planes.image * pitch);
            for _ in 0..planes.image {
                for (n, numbers) in numbers.iter().enumerate() {
                    let value = load.quantized(V::load(from.add(n * V::LANES)), numbers);
                    value.store(to.add(n * plane));
                }
                from = from.wrapping_add(pitch);
                to = to.wrapping_add(V::LANES);
            }
        }
    }
}
