//! Single-threaded `f32` matrix products on strided slices; every access is checked first.

use crate::error::EngineError;
use crate::kernels::{LANE_BLOCK, pitch, product};
use crate::simd;

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

/// Rows of the right matrix that are packed at once.
const DEPTH_BLOCK: usize = 128;
/// Its columns.
const COLUMN_BLOCK: usize = 240;
/// Rows of the result that go through a buffer at once.
const ROW_BLOCK: usize = 48;

/// `c = a · b`, or `c += a · b` with `accumulate`. Single-threaded, so the result does not depend on any pool.
///
/// # Errors
/// Shapes that do not fit, or a matrix that reaches past its slice.
pub fn gemm(a: Matrix, b: Matrix, c: MatrixMut, accumulate: bool) -> Result<(), EngineError> {
    check(&a, &b, &c)?;
    if c.rows == 0 || c.columns == 0 {
        return Ok(());
    }
    // Vectors run along the result's contiguous axis.
    if c.column_stride == 1 || c.row_stride != 1 {
        blocks(a, b, c, accumulate);
    } else {
        let (rows, columns) = (c.columns, c.rows);
        let c = MatrixMut { rows, columns, row_stride: c.column_stride, column_stride: 1, ..c };
        blocks(b.transposed(), a.transposed(), c, accumulate);
    }
    Ok(())
}

/// Multiplies column block by column block; a right matrix whose rows are not whole vectors is packed first.
fn blocks(a: Matrix, b: Matrix, mut c: MatrixMut, accumulate: bool) {
    if a.columns == 0 && !accumulate {
        return fill_zero(&mut c);
    }
    let as_it_is = is_packed(&b);
    let width = pitch(b.columns.min(COLUMN_BLOCK));
    let mut packed = vec![0.0; if as_it_is { 0 } else { DEPTH_BLOCK.min(b.rows) * width }];
    let mut buffer = vec![0.0; ROW_BLOCK.min(a.rows) * width];
    for column in (0..b.columns).step_by(COLUMN_BLOCK) {
        let columns = COLUMN_BLOCK.min(b.columns - column);
        for depth in (0..b.rows).step_by(DEPTH_BLOCK) {
            let right = part(b, [depth, column], [DEPTH_BLOCK.min(b.rows - depth), columns]);
            let left = part(a, [0, depth], [a.rows, right.rows]);
            let accumulate = accumulate || depth > 0;
            let panel = if as_it_is {
                Panel { rows: right.data, pitch: right.row_stride, column, columns }
            } else {
                pack(right, &mut packed, width);
                Panel { rows: &packed, pitch: width, column, columns }
            };
            multiply(left, panel, &mut c, &mut buffer, accumulate);
        }
    }
}

/// Whether the kernel can read a matrix where it stands: whole vectors, and rows an odd number of cache lines apart, so that
/// a column block spreads over all sets of the first cache.
fn is_packed(b: &Matrix) -> bool {
    let spread = b.row_stride.is_multiple_of(LANE_BLOCK) && !(b.row_stride / LANE_BLOCK).is_multiple_of(2);
    b.column_stride == 1 && b.columns.is_multiple_of(LANE_BLOCK) && spread
}

/// Some columns of the right matrix, their rows padded to whole vectors.
#[derive(Clone, Copy)]
struct Panel<'a> {
    rows: &'a [f32],
    /// Distance between the rows.
    pitch: usize,
    /// First column in the result.
    column: usize,
    columns: usize,
}

/// Straight into the result where its rows are whole vectors, else through a buffer.
fn multiply(a: Matrix, panel: Panel, c: &mut MatrixMut, buffer: &mut [f32], accumulate: bool) {
    if c.column_stride == 1 && panel.columns == pitch(panel.columns) {
        let (start, row) = (panel.column, c.row_stride.max(panel.columns));
        return product(a, panel, (&mut c.data[start..], row), accumulate);
    }
    for start in (0..a.rows).step_by(ROW_BLOCK) {
        let rows = ROW_BLOCK.min(a.rows - start);
        let width = pitch(panel.columns);
        product(part(a, [start, 0], [rows, a.columns]), panel, (buffer, width), false);
        for (r, row) in buffer.chunks_exact(width).take(rows).enumerate() {
            for (j, &v) in row[..panel.columns].iter().enumerate() {
                let at = (start + r) * c.row_stride + (panel.column + j) * c.column_stride;
                c.data[at] = if accumulate { c.data[at] + v } else { v };
            }
        }
    }
}

fn product(a: Matrix, panel: Panel, (c, c_row): (&mut [f32], usize), accumulate: bool) {
    let left = (a.data, a.row_stride, a.column_stride);
    let sizes = [a.rows, panel.columns, a.columns];
    product::multiply(simd::level(), sizes, left, (panel.rows, panel.pitch), (c, c_row), accumulate);
}

/// The submatrix of `size` from row and column `from` on.
fn part<'a>(matrix: Matrix<'a>, from: [usize; 2], size: [usize; 2]) -> Matrix<'a> {
    let start = from[0] * matrix.row_stride + from[1] * matrix.column_stride;
    let data = matrix.data.get(start..).unwrap_or_default();
    Matrix { data, rows: size[0], columns: size[1], ..matrix }
}

fn pack(b: Matrix, to: &mut [f32], width: usize) {
    for (r, to) in to.chunks_exact_mut(width).take(b.rows).enumerate() {
        let (row, padding) = to.split_at_mut(b.columns);
        for (j, to) in row.iter_mut().enumerate() {
            *to = b.data[r * b.row_stride + j * b.column_stride];
        }
        padding.fill(0.0);
    }
}

fn fill_zero(c: &mut MatrixMut) {
    for r in 0..c.rows {
        for j in 0..c.columns {
            c.data[r * c.row_stride + j * c.column_stride] = 0.0;
        }
    }
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
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (16, 9, 2), (2, 0, 3), (13, 17, 16)] {
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
    fn blocks_and_transposed_results_equal_naive_loops() {
        let data: Vec<f32> = (0..160_000).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        for (m, k, n) in [(70, 300, 250), (5, 257, 496), (33, 3, 31), (7, 260, 272)] {
            let (a, b) = (Matrix::dense(&data, m, k), Matrix::dense(&data[3..], k, n));
            let mut c = vec![f32::NAN; m * n];
            let transposed = MatrixMut { data: &mut c, rows: m, columns: n, row_stride: 1, column_stride: m };
            gemm(a, b, transposed, false).unwrap();
            for (i, got) in c.iter().enumerate() {
                let expected = naive(&a, &b, i % m, i / m);
                assert!((got - expected).abs() < TOLERANCE * 10.0, "{m} {k} {n} at {i}: {got} {expected}");
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_those_beside_it() {
        let data: Vec<f32> = (0..160_000).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let (a, b) = (Matrix::dense(&data, 61, 400), Matrix::dense(&data, 400, 400));
        let mut together = vec![0.0; 61 * 400];
        gemm(a, b, MatrixMut::dense(&mut together, 61, 400), false).unwrap();
        for count in [1, 5, 8, 13] {
            for (rows, expected) in data[..61 * 400].chunks(400 * count).zip(together.chunks(400 * count)) {
                let mut alone = vec![0.0; rows.len()];
                let a = Matrix::dense(rows, rows.len() / 400, 400);
                gemm(a, b, MatrixMut::dense(&mut alone, rows.len() / 400, 400), false).unwrap();
                assert_eq!(alone, expected, "{count} rows at a time");
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
