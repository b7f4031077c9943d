//! Units: candidates' numbers, standardised.

use std::ops::Range;

use super::Table;

/// Mean and reciprocal standard deviation of every number; 0 for a constant one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Units {
    pub mean: Vec<f64>,
    pub factor: Vec<f64>,
    /// Numbers per group that vary.
    pub counts: Vec<f64>,
}

impl Units {
    pub fn of(table: &Table) -> Self {
        let (count, width) = (table.rows.len() as f64, table.rows[0].len());
        let mean: Vec<f64> =
            (0..width).map(|i| table.rows.iter().map(|row| row[i]).sum::<f64>() / count).collect();
        let factor: Vec<f64> = (0..width)
            .map(|i| {
                let variance = table.rows.iter().map(|row| (row[i] - mean[i]).powi(2)).sum::<f64>() / count;
                if variance > 1e-18 { 1.0 / variance.sqrt() } else { 0.0 }
            })
            .collect();
        let varying =
            |group: &Range<usize>| factor[group.clone()].iter().filter(|&&f| f > 0.0).count().max(1) as f64;
        let counts = table.groups.iter().map(varying).collect();
        Self { mean, factor, counts }
    }

    pub fn apply(&self, row: &[f64]) -> Vec<f64> {
        row.iter()
            .zip(&self.mean)
            .zip(&self.factor)
            .map(|((value, mean), factor)| (value - mean) * factor)
            .collect()
    }
}
