//! # Channel statistics
//!
//! Mean and variance of each channel over the batch, without a pass of their own and without the cancellation of
//! `E[x²] - E[x]²`: producers sum `x - s` and `(x - s)²` over a block of rows, with a shift s close to the mean, in `f32`;
//! blocks are merged in `f64` by the rule of Chan, Golub and LeVeque (1979):
//! `mean = mean_a + δ n_b / n`, `M2 = M2_a + M2_b + δ² n_a n_b / n`, δ = mean_b - mean_a.
//! The shift of a block is the mean so far; the first block of a chunk is primed with the mean of a few of its rows.

use crate::kernels::LANE_BLOCK;

/// Rows whose mean is the first shift.
pub(crate) const PRIMING_ROWS: usize = 8;

/// Running mean and centred sum of squares of one chunk of the batch.
#[derive(Debug)]
pub(crate) struct ChannelSums<'a> {
    /// Mean so far, per channel.
    pub mean: &'a mut [f64],
    /// Centred sum of squares so far, per channel.
    pub square: &'a mut [f64],
    /// Shift of the block at hand.
    pub shift: &'a mut [f32],
    /// Σ (x - shift) of the block at hand.
    pub first: &'a mut [f32],
    /// Σ (x - shift)² of the block at hand.
    pub second: &'a mut [f32],
    /// Elements per channel so far.
    pub count: usize,
}

impl ChannelSums<'_> {
    /// Starts a block with the mean so far as its shift.
    pub(crate) fn begin(&mut self) {
        self.shift.iter_mut().zip(self.mean.iter()).for_each(|(s, &m)| *s = m as f32);
        self.first.fill(0.0);
        self.second.fill(0.0);
    }

    /// Sets the mean so far from some rows of `pitch`, to be a good shift while nothing has been counted.
    pub(crate) fn prime(&mut self, rows: &[f32]) {
        let pitch = self.mean.len();
        self.mean.fill(0.0);
        let count = (rows.len() / pitch) as f64;
        for row in rows.chunks_exact(pitch) {
            self.mean.iter_mut().zip(row).for_each(|(m, &v)| *m += f64::from(v) / count);
        }
    }

    /// The same for one block of channels, once its shift is in use.
    pub(crate) fn prime_block(&mut self, channel: usize, rows: &[f32]) {
        let rows = &rows[..rows.len().min(PRIMING_ROWS * LANE_BLOCK)];
        let count = (rows.len() / LANE_BLOCK) as f64;
        for lane in 0..LANE_BLOCK {
            let sum: f64 = rows[lane..].iter().step_by(LANE_BLOCK).map(|&v| f64::from(v)).sum();
            self.mean[channel + lane] = sum / count;
            self.shift[channel + lane] = (sum / count) as f32;
        }
    }

    /// Shift and sums of one block of channels.
    pub(crate) fn block(&mut self, channel: usize) -> [&mut [f32]; 3] {
        let lanes = channel..channel + LANE_BLOCK;
        [&mut self.shift[lanes.clone()], &mut self.first[lanes.clone()], &mut self.second[lanes]]
    }

    /// Merges the block at hand, of `rows` elements per channel.
    pub(crate) fn end(&mut self, rows: usize) {
        let pitch = self.mean.len();
        let block = Block { shift: self.shift, first: self.first, second: self.second, rows };
        merge(&mut self.mean[..pitch], self.square, self.count, &block);
        self.count += rows;
    }
}

/// Shifted sums of a block.
pub(crate) struct Block<'a> {
    pub shift: &'a [f32],
    pub first: &'a [f32],
    pub second: &'a [f32],
    pub rows: usize,
}

/// Merges a block into mean and centred squares over `count` elements.
#[inline(always)]
pub(crate) fn merge(mean: &mut [f64], square: &mut [f64], count: usize, block: &Block) {
    let rows = block.rows as f64;
    let (weight, cross) = (rows / (count as f64 + rows), count as f64 * rows / (count as f64 + rows));
    for c in 0..mean.len() {
        let first = f64::from(block.first[c]) / rows;
        let block_mean = f64::from(block.shift[c]) + first;
        let block_square = f64::from(block.second[c]) - first * first * rows;
        let distance = block_mean - mean[c];
        let before = if count == 0 { 0.0 } else { square[c] };
        square[c] = before + block_square + distance * distance * cross;
        mean[c] = if count == 0 { block_mean } else { mean[c] + distance * weight };
    }
}

/// Merges the chunks of a batch in order: `chunks` yields (count, mean, square).
pub(crate) fn merge_chunks<'a>(
    chunks: impl Iterator<Item = (usize, &'a [f64], &'a [f64])>,
    mean: &mut [f64],
    square: &mut [f64],
) -> usize {
    let mut total = 0;
    mean.fill(0.0);
    square.fill(0.0);
    for (count, chunk_mean, chunk_square) in chunks {
        let sum = (total + count) as f64;
        let (weight, cross) = (count as f64 / sum, total as f64 * count as f64 / sum);
        for c in 0..mean.len() {
            let distance = chunk_mean[c] - mean[c];
            square[c] += chunk_square[c] + distance * distance * cross;
            mean[c] += distance * weight;
        }
        total += count;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATIVE_TOLERANCE: f64 = 1e-5;

    #[test]
    fn far_means_do_not_spoil_the_variance() {
        for offset in [0.0f32, 10.0, 4000.0] {
            let values: Vec<f32> = (0..512).map(|i| offset + ((i * 37) % 64) as f32 / 64.0).collect();
            let (mut mean, mut square) = (vec![0.0; 1], vec![0.0; 1]);
            let [mut shift, mut first, mut second] = [[0.0]; 3];
            let mut sums = ChannelSums {
                mean: &mut mean,
                square: &mut square,
                shift: &mut shift,
                first: &mut first,
                second: &mut second,
                count: 0,
            };
            sums.prime(&values[..4]);
            for block in values.chunks(100) {
                sums.begin();
                for v in block {
                    let d = v - sums.shift[0];
                    sums.first[0] += d;
                    sums.second[0] += d * d;
                }
                sums.end(block.len());
            }
            let exact_mean: f64 = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 512.0;
            let exact: f64 = values.iter().map(|&v| (f64::from(v) - exact_mean).powi(2)).sum();
            assert!((square[0] - exact).abs() < RELATIVE_TOLERANCE * exact, "offset {offset}");
            assert!((mean[0] - exact_mean).abs() < RELATIVE_TOLERANCE);
        }
    }

    #[test]
    fn chunks_merge_to_the_whole() {
        let (a, b) = ([1.0, 2.0, 6.0], [5.0]);
        let chunk = |v: &[f64]| {
            let m = v.iter().sum::<f64>() / v.len() as f64;
            ([m], [v.iter().map(|x| (x - m).powi(2)).sum::<f64>()])
        };
        let ((ma, sa), (mb, sb)) = (chunk(&a), chunk(&b));
        let (mut mean, mut square) = ([0.0], [0.0]);
        let count =
            merge_chunks([(3, &ma[..], &sa[..]), (1, &mb[..], &sb[..])].into_iter(), &mut mean, &mut square);
        assert_eq!(count, 4);
        assert!((mean[0] - 3.5).abs() < 1e-12 && (square[0] - 17.0).abs() < 1e-12);
    }
}
