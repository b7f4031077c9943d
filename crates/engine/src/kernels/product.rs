//! # Matrix product on register tiles
//!
//! `C[r, c] (+)= Σ_k A[r, k] · B[k, c]`: a tile of rows × vectors of C stays in registers while k runs; A is read one
//! broadcast number at a time (any strides), B and C a vector at a time. Columns outermost: the B panel of a tile stays
//! in the first cache while the rows pass. Where the last columns fill no more than half a vector, half vectors take
//! them: of 24 channels padded to 32, a quarter of the work would be padding. The epilogue can gather shifted channel
//! sums `Σ(c - s)` and `Σ(c - s)²` while the results are still in registers, see [`crate::sums`].

use std::ops::Range;

use super::{Kernel, LANE_BLOCK, Vector, dispatch, pitch, prefetch};
use crate::simd::Level;

/// Arguments of the product.
pub(crate) struct Product<'a> {
    /// Rows of A and C.
    pub rows: usize,
    /// Columns of B and C; both have zeros from here to the next multiple of the lane block, in C they are written.
    pub columns: usize,
    /// Columns of A, rows of B.
    pub depth: usize,
    /// A.
    pub a: &'a [f32],
    /// Distance between rows of A.
    pub a_row: usize,
    /// Distance between columns of A.
    pub a_depth: usize,
    /// B.
    pub b: &'a [f32],
    /// Distance between rows of B.
    pub b_row: usize,
    /// C.
    pub c: &'a mut [f32],
    /// Distance between rows of C.
    pub c_row: usize,
    /// Add to C instead of overwriting it.
    pub accumulate: bool,
    /// Channel sums of the new C, padded like its rows.
    pub sums: Option<TileSums<'a>>,
    /// What will be read or written next.
    pub ahead: Ahead,
}

/// Places that will be read or written next: while a product multiplies, memory has nothing to do, so it asks for two
/// cache lines of them at each step of depth (one was too few for products of 16 and 24 columns).
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    at: *const f32,
    end: *const f32,
    then: [Range<*const f32>; 2],
}

impl Ahead {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        at: std::ptr::null(),
        end: std::ptr::null(),
        then: [const { std::ptr::null()..std::ptr::null() }; 2],
    };

    /// What follows these blocks in memory, as much of it as they are long, one after the other.
    pub(crate) fn after(blocks: [&[f32]; 3]) -> Self {
        let [first, second, third] = blocks.map(|block| {
            let end = block.as_ptr_range().end;
            end..end.wrapping_add(block.len())
        });
        Self { at: first.start, end: first.end, then: [second, third] }
    }

    #[inline(always)]
    fn next_place(&mut self) {
        if self.at >= self.end {
            let [second, third] = self.then.clone();
            (self.at, self.end) = (second.start, second.end);
            self.then = [third, std::ptr::null()..std::ptr::null()];
        }
    }
}

/// `c (+)= a · b` for `[rows, columns, depth]`; a with row and depth strides, b and c with row strides, nothing besides.
pub(crate) fn multiply(
    level: Level,
    [rows, columns, depth]: [usize; 3],
    (a, a_row, a_depth): (&[f32], usize, usize),
    (b, b_row): (&[f32], usize),
    (c, c_row): (&mut [f32], usize),
    accumulate: bool,
) {
    let product = Product {
        rows,
        columns,
        depth,
        a,
        a_row,
        a_depth,
        b,
        b_row,
        c,
        c_row,
        accumulate,
        sums: None,
        ahead: Ahead::NONE,
    };
    dispatch(level, product);
}

/// Shift and sums, one entry per column.
pub(crate) struct TileSums<'a> {
    /// Subtracted before summing.
    pub shift: &'a [f32],
    /// Added to: Σ(c - shift).
    pub first: &'a mut [f32],
    /// Added to: Σ(c - shift)².
    pub second: &'a mut [f32],
}

#[derive(Clone, Copy)]
struct SumPointers {
    shift: *const f32,
    first: *mut f32,
    second: *mut f32,
}

impl SumPointers {
    /// Those of the columns from `column` on.
    #[inline(always)]
    unsafe fn from(self, column: usize) -> Self {
        // SAFETY: the caller's column lies within the sums.
        unsafe {
            Self {
                shift: self.shift.add(column),
                first: self.first.add(column),
                second: self.second.add(column),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Strides {
    depth: usize,
    a_row: usize,
    a_depth: usize,
    b_row: usize,
    c_row: usize,
    accumulate: bool,
}

impl Kernel for Product<'_> {
    /// What it did not come to ask for.
    type Output = Ahead;

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) -> Ahead {
        self.check();
        if self.rows == 0 {
            return self.ahead;
        }
        let strides = Strides {
            depth: self.depth,
            a_row: self.a_row,
            a_depth: self.a_depth,
            b_row: self.b_row,
            c_row: self.c_row,
            accumulate: self.accumulate,
        };
        let sums = self.sums.as_mut().map(|sums| SumPointers {
            shift: sums.shift.as_ptr(),
            first: sums.first.as_mut_ptr(),
            second: sums.second.as_mut_ptr(),
        });
        let (a, b, c) = (self.a.as_ptr(), self.b.as_ptr(), self.c.as_mut_ptr());
        let (mut later, mut column) = (std::mem::replace(&mut self.ahead, Ahead::NONE), 0);
        let ahead = &mut later;
        while column < self.columns {
            // SAFETY: `check` has shown that rows × columns × depth of A, B, C and the sums, with columns up to the
            // padding's end, lie inside their slices; the panels below cover whole and half vectors up to there.
            unsafe {
                let sums = sums.map(|sums| sums.from(column));
                let (b, c) = (b.add(column), c.add(column));
                column += match panel::<V>(self.columns - column) {
                    (0, _) => rows::<V, 16, 0, true>(self.rows, strides, a, b, c, sums, ahead),
                    (1, true) => rows::<V, 12, 1, true>(self.rows, strides, a, b, c, sums, ahead),
                    (2, true) => rows::<V, 8, 2, true>(self.rows, strides, a, b, c, sums, ahead),
                    (1, false) if V::REGISTERS >= 32 => {
                        rows::<V, 16, 1, false>(self.rows, strides, a, b, c, sums, ahead)
                    }
                    (1, false) => rows::<V, 6, 1, false>(self.rows, strides, a, b, c, sums, ahead),
                    (2, false) if V::REGISTERS >= 32 => {
                        rows::<V, 12, 2, false>(self.rows, strides, a, b, c, sums, ahead)
                    }
                    (2, false) => rows::<V, 6, 2, false>(self.rows, strides, a, b, c, sums, ahead),
                    _ => rows::<V, 8, 3, false>(self.rows, strides, a, b, c, sums, ahead),
                };
            }
        }
        let padding = column..pitch(self.columns);
        if !self.accumulate && !padding.is_empty() {
            // SAFETY: the instructions are there; padding ends with a lane block and starts with a half vector.
            unsafe { self.pad::<V>(padding) };
        }
        later
    }
}

impl Product<'_> {
    /// Writes zeros to these columns of C, whole half vectors of them.
    #[inline(always)]
    unsafe fn pad<V: Vector>(&mut self, padding: Range<usize>) {
        for row in self.c.chunks_mut(self.c_row).take(self.rows) {
            for half in row[padding.clone()].chunks_exact_mut(V::Half::LANES) {
                // SAFETY: the chunk has as many floats.
                unsafe { V::Half::zero().store(half.as_mut_ptr()) };
            }
        }
    }

    fn check(&self) {
        let last = |rows: usize, stride: usize, columns: usize| rows.saturating_sub(1) * stride + columns;
        let columns = pitch(self.columns);
        if self.depth > 0 {
            assert!(
                (self.rows.saturating_sub(1)) * self.a_row + (self.depth - 1) * self.a_depth < self.a.len()
            );
            assert!(last(self.depth, self.b_row, columns) <= self.b.len());
        }
        assert!(last(self.rows, self.c_row, columns) <= self.c.len() && self.c_row >= columns);
        if let Some(sums) = &self.sums {
            let lengths = [sums.shift.len(), sums.first.len(), sums.second.len()];
            assert!(lengths.iter().all(|&length| length >= columns));
        }
    }
}

/// Whole vectors of the next column panel, given the columns that are left, and whether half a vector ends it.
#[inline(always)]
fn panel<V: Vector>(columns: usize) -> (usize, bool) {
    let half = V::REGISTERS >= 32
        && V::Half::LANES < V::LANES
        && (1..=V::Half::LANES).contains(&(columns % V::LANES));
    let left = if half { columns / V::LANES } else { columns.div_ceil(V::LANES) };
    if V::REGISTERS < 16 {
        (1, false)
    } else if V::REGISTERS < 32 {
        (left.min(2), false)
    } else if half && left <= 2 {
        (left, true)
    } else if left == 4 || (half && left == 3) {
        (2, false)
    } else {
        (left.min(3), false)
    }
}

/// All rows of one column panel of `N` vectors and, with `HALF`, half a vector; returns its width.
#[inline(always)]
unsafe fn rows<V: Vector, const R: usize, const N: usize, const HALF: bool>(
    rows: usize,
    strides: Strides,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    sums: Option<SumPointers>,
    ahead: &mut Ahead,
) -> usize {
    let mut row = 0;
    // SAFETY: the caller gives pointers to matrices of these sizes; every tile covers rows below `rows`.
    unsafe {
        while row + R <= rows {
            tile::<V, R, N, HALF>(
                strides,
                a.add(row * strides.a_row),
                b,
                c.add(row * strides.c_row),
                sums,
                ahead,
            );
            row += R;
        }
        while row + 4 <= rows {
            tile::<V, 4, N, HALF>(
                strides,
                a.add(row * strides.a_row),
                b,
                c.add(row * strides.c_row),
                sums,
                ahead,
            );
            row += 4;
        }
        let (a, c) = (a.add(row * strides.a_row), c.add(row * strides.c_row));
        match rows - row {
            0 => {}
            1 => tile::<V, 1, N, HALF>(strides, a, b, c, sums, ahead),
            2 => tile::<V, 2, N, HALF>(strides, a, b, c, sums, ahead),
            _ => tile::<V, 3, N, HALF>(strides, a, b, c, sums, ahead),
        }
    }
    N * V::LANES + if HALF { V::Half::LANES } else { 0 }
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize, const HALF: bool>(
    strides: Strides,
    mut a: *const f32,
    mut b: *const f32,
    c: *mut f32,
    sums: Option<SumPointers>,
    ahead: &mut Ahead,
) {
    ahead.next_place();
    let (mut place, places_end) = (ahead.at, ahead.end);
    // SAFETY: the caller gives R rows and N vectors of columns (and half a one) that exist in A, B, C and the sums.
    unsafe {
        let (mut total, mut tail) = ([[V::zero(); N]; R], [[V::Half::zero(); 1]; R]);
        for _ in 0..strides.depth {
            let mut row = [V::zero(); N];
            for n in 0..N {
                row[n] = V::load(b.add(n * V::LANES));
            }
            let end = if HALF { V::Half::load(b.add(N * V::LANES)) } else { V::Half::zero() };
            for r in 0..R {
                let value = V::splat(*a.add(r * strides.a_row));
                for n in 0..N {
                    total[r][n] = value.mul_add(row[n], total[r][n]);
                }
                if HALF {
                    tail[r][0] = value.half().mul_add(end, tail[r][0]);
                }
            }
            if place < places_end {
                // A hint, also where the second line is beyond the end.
                prefetch(place);
                prefetch(place.wrapping_add(LANE_BLOCK));
                place = place.wrapping_add(2 * LANE_BLOCK);
            }
            (a, b) = (a.wrapping_add(strides.a_depth), b.wrapping_add(strides.b_row));
        }
        ahead.at = place;
        finish(&mut total, strides, c, sums);
        if HALF {
            let at = N * V::LANES;
            finish(&mut tail, strides, c.add(at), sums.map(|sums| sums.from(at)));
        }
    }
}

/// Stores a tile's columns of one vector type, and adds up their sums.
#[inline(always)]
unsafe fn finish<V: Vector, const R: usize, const N: usize>(
    total: &mut [[V; N]; R],
    strides: Strides,
    c: *mut f32,
    sums: Option<SumPointers>,
) {
    // SAFETY: the caller gives R rows and N vectors of columns that exist in C and the sums.
    unsafe {
        for r in 0..R {
            for n in 0..N {
                let to = c.add(r * strides.c_row + n * V::LANES);
                if strides.accumulate {
                    total[r][n] = total[r][n].add(V::load(to));
                }
                total[r][n].store(to);
            }
        }
        if let Some(sums) = sums {
            add_sums::<V, R, N>(total, sums);
        }
    }
}

#[inline(always)]
unsafe fn add_sums<V: Vector, const R: usize, const N: usize>(total: &[[V; N]; R], sums: SumPointers) {
    // SAFETY: the caller gives N vectors of sums.
    unsafe {
        for n in 0..N {
            let sums = sums.from(n * V::LANES);
            let shift = V::load(sums.shift);
            let (mut first, mut second) = (V::load(sums.first), V::load(sums.second));
            for row in total {
                let distance = row[n].sub(shift);
                first = first.add(distance);
                second = distance.mul_add(distance, second);
            }
            first.store(sums.first);
            second.store(sums.second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f32 = 2e-5;

    fn data(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 7919 + seed * 104729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn every_level_equals_naive_loops() {
        let sizes = [(1, 16, 1), (23, 48, 5), (37, 64, 16), (13, 112, 9), (50, 80, 33)];
        // Ends of half a vector after none, one, two, three, four and five whole ones, and ends within a half.
        let ragged = [
            (19, 8, 7),
            (37, 24, 5),
            (25, 40, 11),
            (3, 56, 4),
            (14, 72, 3),
            (9, 88, 6),
            (30, 27, 2),
            (5, 3, 9),
        ];
        for level in Level::all_available() {
            for size in sizes.into_iter().chain(ragged) {
                for accumulate in [false, true] {
                    compare(level, size, accumulate);
                }
            }
        }
    }

    fn compare(level: Level, (rows, columns, depth): (usize, usize, usize), accumulate: bool) {
        let padded = pitch(columns);
        let (a, mut b) = (data(rows * 40, 1), data(depth * 128, 2));
        b.chunks_mut(128).for_each(|row| row[columns..padded].fill(0.0));
        let mut c = data(rows * 112, 3);
        let before = c.clone();
        let (shift, mut first, mut second) = (data(112, 4), vec![0.0; 112], vec![0.0; 112]);
        let product = Product {
            rows,
            columns,
            depth,
            a: &a,
            a_row: 40,
            a_depth: 1,
            b: &b,
            b_row: 128,
            c: &mut c,
            c_row: 112,
            accumulate,
            sums: Some(TileSums { shift: &shift, first: &mut first, second: &mut second }),
            ahead: Ahead::after([&a, &b, &[]]),
        };
        dispatch(level, product);
        for column in 0..columns {
            let (mut sum, mut squares) = (0.0, 0.0);
            for row in 0..rows {
                let dot: f32 = (0..depth).map(|k| a[row * 40 + k] * b[k * 128 + column]).sum();
                let at = row * 112 + column;
                let expected = if accumulate { before[at] + dot } else { dot };
                assert!((c[at] - expected).abs() < TOLERANCE, "{level:?} {rows}x{columns}x{depth}");
                sum += c[at] - shift[column];
                squares += (c[at] - shift[column]).powi(2);
            }
            assert!((first[column] - sum).abs() < TOLERANCE * rows as f32);
            assert!((second[column] - squares).abs() < TOLERANCE * squares.max(rows as f32));
        }
        for (row, (c, before)) in c.chunks(112).zip(before.chunks(112)).enumerate() {
            let kept = if accumulate { columns } else { padded };
            assert!(c[kept..] == before[kept..], "{level:?}: row {row} written beyond {kept}");
            assert!(
                accumulate || c[columns..padded].iter().all(|&v| v == 0.0),
                "{level:?}: padding of row {row}"
            );
        }
    }
}
