//! # Matrix product on register tiles
//!
//! `C[r, c] (+)= Σ_k A[r, k] · B[k, c]`: a tile of rows × vectors of C stays in registers while k runs; A is read one
//! broadcast number at a time (any strides), B and C a vector at a time. Columns outermost: the B panel of a tile stays
//! in the first cache while the rows pass. The epilogue can gather shifted channel sums `Σ(c - s)` and `Σ(c - s)²`
//! while the results are still in registers, see [`crate::sums`].

use super::{Kernel, Vector};

/// Arguments of the product.
pub(crate) struct Product<'a> {
    /// Rows of A and C.
    pub rows: usize,
    /// Columns of B and C, a multiple of the lane block.
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
    /// Channel sums of the new C.
    pub sums: Option<TileSums<'a>>,
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
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        self.check();
        if self.rows == 0 {
            return;
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
        let mut column = 0;
        while column < self.columns {
            // SAFETY: `check` has shown that rows × columns × depth of A, B, C and the sums lie inside their slices;
            // the panels below cover exactly the columns up to `columns`.
            unsafe {
                let sums = sums.map(|s| SumPointers {
                    shift: s.shift.add(column),
                    first: s.first.add(column),
                    second: s.second.add(column),
                });
                let (b, c) = (b.add(column), c.add(column));
                column += match panel::<V>((self.columns - column) / V::LANES) {
                    1 if V::REGISTERS >= 32 => rows::<V, 16, 1>(self.rows, strides, a, b, c, sums),
                    1 => rows::<V, 6, 1>(self.rows, strides, a, b, c, sums),
                    2 if V::REGISTERS >= 32 => rows::<V, 12, 2>(self.rows, strides, a, b, c, sums),
                    2 => rows::<V, 6, 2>(self.rows, strides, a, b, c, sums),
                    _ => rows::<V, 8, 3>(self.rows, strides, a, b, c, sums),
                };
            }
        }
    }
}

impl Product<'_> {
    fn check(&self) {
        let last = |rows: usize, stride: usize, columns: usize| rows.saturating_sub(1) * stride + columns;
        assert!(self.columns.is_multiple_of(super::LANE_BLOCK));
        if self.depth > 0 {
            assert!(
                (self.rows.saturating_sub(1)) * self.a_row + (self.depth - 1) * self.a_depth < self.a.len()
            );
            assert!(last(self.depth, self.b_row, self.columns) <= self.b.len());
        }
        assert!(last(self.rows, self.c_row, self.columns) <= self.c.len() && self.c_row >= self.columns);
        if let Some(sums) = &self.sums {
            let lengths = [sums.shift.len(), sums.first.len(), sums.second.len()];
            assert!(lengths.iter().all(|&length| length >= self.columns));
        }
    }
}

/// Vectors in the next column panel, given how many are left.
#[inline(always)]
fn panel<V: Vector>(left: usize) -> usize {
    if V::REGISTERS < 16 {
        1
    } else if V::REGISTERS < 32 || left == 4 {
        left.min(2)
    } else {
        left.min(3)
    }
}

/// All rows of one column panel; returns its width.
#[inline(always)]
unsafe fn rows<V: Vector, const R: usize, const N: usize>(
    rows: usize,
    strides: Strides,
    a: *const f32,
    b: *const f32,
    c: *mut f32,
    sums: Option<SumPointers>,
) -> usize {
    let mut row = 0;
    // SAFETY: the caller gives pointers to matrices of these sizes; every tile covers rows below `rows`.
    unsafe {
        while row + R <= rows {
            tile::<V, R, N>(strides, a.add(row * strides.a_row), b, c.add(row * strides.c_row), sums);
            row += R;
        }
        while row + 4 <= rows {
            tile::<V, 4, N>(strides, a.add(row * strides.a_row), b, c.add(row * strides.c_row), sums);
            row += 4;
        }
        let (a, c) = (a.add(row * strides.a_row), c.add(row * strides.c_row));
        match rows - row {
            0 => {}
            1 => tile::<V, 1, N>(strides, a, b, c, sums),
            2 => tile::<V, 2, N>(strides, a, b, c, sums),
            _ => tile::<V, 3, N>(strides, a, b, c, sums),
        }
    }
    N * V::LANES
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize>(
    strides: Strides,
    mut a: *const f32,
    mut b: *const f32,
    c: *mut f32,
    sums: Option<SumPointers>,
) {
    // SAFETY: the caller gives R rows and N vectors of columns that exist in A, B, C and the sums.
    unsafe {
        let mut total = [[V::zero(); N]; R];
        for _ in 0..strides.depth {
            let mut row = [V::zero(); N];
            for n in 0..N {
                row[n] = V::load(b.add(n * V::LANES));
            }
            for r in 0..R {
                let value = V::splat(*a.add(r * strides.a_row));
                for n in 0..N {
                    total[r][n] = value.mul_add(row[n], total[r][n]);
                }
            }
            (a, b) = (a.wrapping_add(strides.a_depth), b.wrapping_add(strides.b_row));
        }
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
            add_sums::<V, R, N>(&total, sums);
        }
    }
}

#[inline(always)]
unsafe fn add_sums<V: Vector, const R: usize, const N: usize>(total: &[[V; N]; R], sums: SumPointers) {
    // SAFETY: the caller gives N vectors of sums.
    unsafe {
        for n in 0..N {
            let at = n * V::LANES;
            let shift = V::load(sums.shift.add(at));
            let (mut first, mut second) = (V::load(sums.first.add(at)), V::load(sums.second.add(at)));
            for row in total {
                let distance = row[n].sub(shift);
                first = first.add(distance);
                second = distance.mul_add(distance, second);
            }
            first.store(sums.first.add(at));
            second.store(sums.second.add(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch;
    use crate::simd::Level;

    const TOLERANCE: f32 = 2e-5;

    fn data(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 7919 + seed * 104729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn every_level_equals_naive_loops() {
        for level in Level::all_available() {
            for (rows, columns, depth) in [(1, 16, 1), (23, 48, 5), (37, 64, 16), (13, 112, 9), (50, 80, 33)]
            {
                let (a, b) = (data(rows * 40, 1), data(depth * 128, 2));
                let mut c = data(rows * 112, 3);
                let before = c.clone();
                let (shift, mut first, mut second) = (data(112, 4), vec![0.0; 112], vec![0.0; 112]);
                let sums = Some(TileSums { shift: &shift, first: &mut first, second: &mut second });
                let (a_row, a_depth, b_row, c_row) = (40, 1, 128, 112);
                let (a, b, c_slice) = (&a[..], &b[..], &mut c[..]);
                let product = Product {
                    rows,
                    columns,
                    depth,
                    a,
                    a_row,
                    a_depth,
                    b,
                    b_row,
                    c: c_slice,
                    c_row,
                    accumulate: true,
                    sums,
                };
                dispatch(level, product);
                for column in 0..columns {
                    let mut sum = 0.0;
                    for row in 0..rows {
                        let dot: f32 = (0..depth).map(|k| a[row * 40 + k] * b[k * 128 + column]).sum();
                        let at = row * 112 + column;
                        assert!(
                            (c[at] - before[at] - dot).abs() < TOLERANCE,
                            "{level:?} {rows}x{columns}x{depth}"
                        );
                        sum += c[at] - shift[column];
                    }
                    assert!((first[column] - sum).abs() < TOLERANCE * rows as f32);
                }
            }
        }
    }
}
