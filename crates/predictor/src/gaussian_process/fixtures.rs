//! A made-up function of two groups of numbers.

use super::Table;

/// So many rows, and the function's values.
pub(super) fn wave(count: usize) -> (Table, Vec<f64>) {
    let number = |i: usize, k: usize| ((i * (7 + 4 * k) + k) as f64 * 0.618).sin();
    let rows: Vec<Vec<f64>> = (0..count).map(|i| (0..3).map(|k| number(i, k)).collect()).collect();
    let values =
        rows.iter().map(|row| 0.5 + 0.1 * (row[0] + row[1] * row[2] + (2.0 * row[2]).sin())).collect();
    (Table { rows, groups: vec![0..1, 1..3] }, values)
}
