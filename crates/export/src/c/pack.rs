//! Weights as bit streams: lowest bits first, each output channel starting on a byte.

use crate::graph::Weights;

/// One row per output channel, `[out][rows]`, of `[rows, out]` weights.
pub(super) fn rows(weights: &Weights) -> Vec<Vec<i8>> {
    let channels = weights.scales.len();
    let row = |channel: usize| weights.values.iter().skip(channel).step_by(channels).copied().collect();
    (0..channels).map(row).collect()
}

/// Two's complement of `bits` bits.
pub(super) fn pack(rows: &[Vec<i8>], bits: u8) -> Vec<u8> {
    rows.iter().flat_map(|row| pack_row(row, bits)).collect()
}

fn pack_row(row: &[i8], bits: u8) -> Vec<u8> {
    let mut bytes = vec![0u8; (row.len() * usize::from(bits)).div_ceil(8)];
    for (index, &value) in row.iter().enumerate() {
        for bit in 0..usize::from(bits) {
            let place = index * usize::from(bits) + bit;
            bytes[place / 8] |= ((value as u8 >> bit) & 1) << (place % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_takes_its_bits_and_channels_start_on_bytes() {
        struct Case {
            bits: u8,
            rows: Vec<Vec<i8>>,
            bytes: Vec<u8>,
        }
        for case in [
            Case { bits: 8, rows: vec![vec![-1, 3]], bytes: vec![0xff, 3] },
            Case { bits: 4, rows: vec![vec![-7, 7, 1], vec![2]], bytes: vec![0x79, 0x01, 0x02] },
            Case { bits: 2, rows: vec![vec![1, -1, 0, 1, -1]], bytes: vec![0b01_00_11_01, 0b11] },
            Case { bits: 6, rows: vec![vec![-31, 31, 1]], bytes: vec![0b11_100001, 0b0001_0111, 0b00] },
        ] {
            assert_eq!(pack(&case.rows, case.bits), case.bytes, "{} bits", case.bits);
        }
    }
}
