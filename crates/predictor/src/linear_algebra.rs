//! Cholesky factors of small symmetric positive-definite matrices, row-major, in f64.

/// Lower-triangular `L` with `L·Lᵀ = matrix`; `None` if the matrix is not positive definite.
pub(crate) fn cholesky(matrix: &[f64], size: usize) -> Option<Vec<f64>> {
    let mut lower = matrix.to_vec();
    for row in 0..size {
        for column in 0..=row {
            let (before, current) = lower.split_at_mut(row * size);
            let left = &current[..column];
            let sum =
                if column == row { dot(left, left) } else { dot(left, &before[column * size..][..column]) };
            let rest = current[column] - sum;
            current[column] = if column < row {
                rest / before[column * size + column]
            } else if rest > 0.0 {
                rest.sqrt()
            } else {
                return None;
            };
        }
        lower[row * size + row + 1..(row + 1) * size].fill(0.0);
    }
    Some(lower)
}

/// `x` with `L·x = b`.
pub(crate) fn forward_substitute(lower: &[f64], size: usize, b: &[f64]) -> Vec<f64> {
    let mut x: Vec<f64> = Vec::with_capacity(size);
    for row in 0..size {
        let rest = b[row] - dot(&lower[row * size..][..row], &x);
        x.push(rest / lower[row * size + row]);
    }
    x
}

/// `x` with `Lᵀ·x = b`.
pub(crate) fn back_substitute(lower: &[f64], size: usize, b: &[f64]) -> Vec<f64> {
    let mut x = b.to_vec();
    for row in (0..size).rev() {
        x[row] /= lower[row * size + row];
        let value = x[row];
        let (head, _) = x.split_at_mut(row);
        head.iter_mut().zip(&lower[row * size..]).for_each(|(x, factor)| *x -= factor * value);
    }
    x
}

/// Inverse of `L·Lᵀ`.
pub(crate) fn inverse(lower: &[f64], size: usize) -> Vec<f64> {
    // Rows of `half` are the columns of L⁻¹, which are zero before the diagonal.
    let mut half = vec![0.0; size * size];
    for column in 0..size {
        let out = &mut half[column * size..(column + 1) * size];
        out[column] = 1.0 / lower[column * size + column];
        for row in column + 1..size {
            let factors = &lower[row * size..];
            let sum = dot(&factors[column..row], &out[column..row]);
            out[row] = -sum / factors[row];
        }
    }
    let mut inverse = vec![0.0; size * size];
    for row in 0..size {
        for column in 0..=row {
            let value = dot(
                &half[row * size + row..(row + 1) * size],
                &half[column * size + row..(column + 1) * size],
            );
            inverse[row * size + column] = value;
            inverse[column * size + row] = value;
        }
    }
    inverse
}

/// Eight partial sums: a fixed order that can be vectorised.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        (0..8).for_each(|lane| sums[lane] += x[lane] * y[lane]);
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROUNDING: f64 = 1e-8;

    proptest! {
        #[test]
        fn factors_solve_and_invert(size in 1usize..20, seed in proptest::collection::vec(-1.0f64..1.0, 400)) {
            let at = |i: usize, j: usize| seed[i * 20 + j];
            let product = |i, j| (0..size).map(|k| at(i, k) * at(j, k)).sum::<f64>() + if i == j { 0.5 } else { 0.0 };
            let matrix: Vec<f64> = (0..size * size).map(|p| product(p / size, p % size)).collect();
            let lower = cholesky(&matrix, size).expect("positive definite");
            let b: Vec<f64> = (0..size).map(|i| at(i, 19)).collect();
            let x = back_substitute(&lower, size, &forward_substitute(&lower, size, &b));
            let inverse = inverse(&lower, size);
            for i in 0..size {
                prop_assert!((dot(&matrix[i * size..][..size], &x) - b[i]).abs() < ROUNDING);
                prop_assert!((dot(&inverse[i * size..][..size], &b) - x[i]).abs() < ROUNDING);
            }
        }
    }

    #[test]
    fn an_indefinite_matrix_has_no_factor() {
        assert_eq!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2), None);
    }
}
