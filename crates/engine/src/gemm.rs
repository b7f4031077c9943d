//! Single-threaded `f32` matrix products on strided slices, by the `gemm` crate; every access is checked first.

use crate::error::EngineError;

/// A strided matrix: element (r, c) is `data[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A dense row-major matrix.
    pub fn dense(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, on the same numbers.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A strided matrix to write to; no two elements may share a place.
#[derive(Debug)]
pub struct MatrixMut<'a> {
    /// The numbers.
    pub data: &'a mut [f32],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// A dense row-major matrix.
    pub fn dense(data: &'a mut [f32], rows: usize, columns: usize) -> Self {
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }
}

/// `c = a · b`, or `c += a · b` with `accumulate`. Single-threaded, so the result does not depend on any pool.
///
/// # Errors
/// Shapes that do not fit, or a matrix that reaches past its slice.
pub fn gemm(a: Matrix, b: Matrix, c: MatrixMut, accumulate: bool) -> Result<(), EngineError> {
    check(&a, &b, &c)?;
    if c.rows == 0 || c.columns == 0 {
        return Ok(());
    }
    let signed = |stride: usize| stride as isize;
    // SAFETY: `check` has shown that every element of a, b and c lies inside its slice, and that the elements of c
    // are distinct; c is borrowed mutably, so it overlaps neither a nor b.
    unsafe {
        gemm::gemm(
            c.rows,
            c.columns,
            a.columns,
            c.data.as_mut_ptr(),
            signed(c.column_stride),
            signed(c.row_stride),
            accumulate,
            a.data.as_ptr(),
            signed(a.column_stride),
            signed(a.row_stride),
            b.data.as_ptr(),
            signed(b.column_stride),
            signed(b.row_stride),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    Ok(())
}

fn check(a: &Matrix, b: &Matrix, c: &MatrixMut) -> Result<(), EngineError> {
    equal("inner size of the product", a.columns, b.rows)?;
    equal("rows of the result", a.rows, c.rows)?;
    equal("columns of the result", b.columns, c.columns)?;
    inside("left matrix", [a.rows, a.columns], [a.row_stride, a.column_stride], a.data.len())?;
    inside("right matrix", [b.rows, b.columns], [b.row_stride, b.column_stride], b.data.len())?;
    inside("result matrix", [c.rows, c.columns], [c.row_stride, c.column_stride], c.data.len())?;
    distinct(c)
}

fn equal(what: &'static str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got { Ok(()) } else { Err(EngineError::Length { what, expected, got }) }
}

fn inside(what: &'static str, size: [usize; 2], stride: [usize; 2], got: usize) -> Result<(), EngineError> {
    if size.contains(&0) {
        return Ok(());
    }
    let reach = |axis: usize| (size[axis] - 1).checked_mul(stride[axis]);
    let last =
        reach(0).zip(reach(1)).and_then(|(r, c)| r.checked_add(c)).filter(|&last| last < isize::MAX as usize);
    match last {
        Some(last) if last < got => Ok(()),
        _ => Err(EngineError::Length { what, expected: last.map_or(usize::MAX, |last| last + 1), got }),
    }
}

/// The larger stride must step over everything that the smaller one reaches.
fn distinct(c: &MatrixMut) -> Result<(), EngineError> {
    let mut axes = [(c.row_stride, c.rows), (c.column_stride, c.columns)];
    axes.sort();
    let [(small, small_count), (large, large_count)] = axes;
    let apart = (small_count <= 1 || small > 0) && (large_count <= 1 || large >= small * small_count.max(1));
    let clear = apart || (small_count <= 1 && (large_count <= 1 || large > 0));
    if clear {
        Ok(())
    } else {
        Err(EngineError::Length { what: "stride of the result", expected: small_count, got: large })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f32 = 1e-4;

    fn naive(a: &Matrix, b: &Matrix, r: usize, c: usize) -> f32 {
        let left = |k: usize| a.data[r * a.row_stride + k * a.column_stride];
        let right = |k: usize| b.data[k * b.row_stride + c * b.column_stride];
        (0..a.columns).map(|k| left(k) * right(k)).sum()
    }

    #[test]
    fn products_equal_naive_loops() {
        let data: Vec<f32> = (0..400).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (16, 9, 2), (2, 0, 3), (13, 17, 19)] {
            let a = Matrix { data: &data, rows: m, columns: k, row_stride: 20, column_stride: 1 };
            let b = Matrix { data: &data[7..], rows: n, columns: k, row_stride: 18, column_stride: 1 }
                .transposed();
            let mut c = vec![1.0; m * n];
            gemm(a, b, MatrixMut::dense(&mut c, m, n), true).unwrap();
            for (i, got) in c.iter().enumerate() {
                assert!((got - 1.0 - naive(&a, &b, i / n, i % n)).abs() < TOLERANCE, "{m} {k} {n} at {i}");
            }
        }
    }

    #[test]
    fn reaching_past_a_slice_is_an_error() {
        let (a, mut c) = ([0.0; 6], [0.0; 4]);
        let wide = Matrix { data: &a, rows: 2, columns: 3, row_stride: 4, column_stride: 1 };
        let good = Matrix::dense(&a, 3, 2);
        assert!(gemm(wide, good, MatrixMut::dense(&mut c, 2, 2), false).is_err());
        assert!(gemm(good, good, MatrixMut::dense(&mut c, 3, 2), false).is_err());
        let folded = MatrixMut { data: &mut c, rows: 2, columns: 2, row_stride: 1, column_stride: 1 };
        assert!(gemm(Matrix::dense(&a, 2, 3), good, folded, false).is_err());
    }
}
