use proptest::prelude::*;

use super::instructions::Instructions;
use super::*;

struct Collected(Vec<i32>);

impl Sink for Collected {
    fn take(&mut self, sums: &[i32]) {
        self.0.extend_from_slice(sums);
    }
}

fn geometry(
    size: usize,
    (channels, output_channels): (usize, usize),
    kernel: usize,
    stride: usize,
) -> Geometry {
    let padding = kernel / 2;
    let output_size = (size + 2 * padding - kernel) / stride + 1;
    Geometry { size, channels, output_size, output_channels, kernel, stride, padding }
}

/// One sum after the other in 64 bits.
fn naive(g: Geometry, depthwise: bool, values: &[i16], weights: &[i8]) -> Vec<i32> {
    let mut result = vec![];
    for index in 0..g.output_size * g.output_size * g.output_channels {
        let (pixel, o) = (index / g.output_channels, index % g.output_channels);
        let (top, left) = (pixel / g.output_size * g.stride, pixel % g.output_size * g.stride);
        let mut sum = 0i64;
        for (ky, kx) in (0..g.kernel).flat_map(|ky| (0..g.kernel).map(move |kx| (ky, kx))) {
            let (y, x) = ((top + ky) as i64 - g.padding as i64, (left + kx) as i64 - g.padding as i64);
            if y < 0 || x < 0 || y >= g.size as i64 || x >= g.size as i64 {
                continue;
            }
            let (place, tap) = (y as usize * g.size + x as usize, ky * g.kernel + kx);
            for i in if depthwise { o..o + 1 } else { 0..g.channels } {
                let row = if depthwise { tap } else { tap * g.channels + i };
                let weight = weights[row * g.output_channels + o];
                sum += i64::from(values[place * g.channels + i]) * i64::from(weight);
            }
        }
        result.push(sum as i32);
    }
    result
}

fn every_level_is_exact(
    g: Geometry,
    depthwise: bool,
    value: impl Fn(usize) -> i16,
    weight: impl Fn(usize) -> i8,
) {
    let rows = if depthwise { 1 } else { g.channels };
    let values: Vec<i16> = (0..g.input_len()).map(value).collect();
    let weights: Vec<i8> = (0..g.taps() * rows * g.output_channels).map(weight).collect();
    let expected = naive(g, depthwise, &values, &weights);
    for instructions in Instructions::all_available() {
        let mut found = Collected(vec![]);
        if depthwise {
            Depthwise::new(g, &weights).run_with(instructions, &values, &mut found);
        } else {
            Dense::new(g, &weights).run_with(instructions, &values, &mut found);
        }
        assert!(found.0 == expected, "{instructions:?}, depthwise {depthwise}, {g:?}");
    }
}

/// Numbers that look random, the same ones every time.
fn mixed(index: usize, seed: usize) -> usize {
    (index.wrapping_add(seed << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % 511
}

#[test]
fn odd_shapes_are_exact() {
    const CHANNELS: [(usize, usize); 6] = [(2, 17), (1, 1), (3, 16), (16, 24), (31, 33), (64, 10)];
    // Miri takes a thousand times as long.
    let (sizes, channels): (&[usize], _) =
        if cfg!(miri) { (&[2], &CHANNELS[..1]) } else { (&[1, 2, 5, 8], &CHANNELS[..]) };
    for &size in sizes {
        for &channels in channels {
            for (kernel, stride) in [(1, 1), (1, 2), (3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2)] {
                let value = |i| mixed(i, 1) as i16 - 255;
                let weight = |i| (mixed(i, 2) % 256) as u8 as i8;
                every_level_is_exact(geometry(size, channels, kernel, stride), false, value, weight);
                let alone = geometry(size, (channels.1, channels.1), kernel, stride);
                every_level_is_exact(alone, true, value, weight);
            }
        }
    }
}

#[test]
fn extreme_values_do_not_saturate() {
    for (value, weight) in
        [(255, 127), (255, -128), (-255, -128), (-128, -128), (-128, 127), (127, 127), (0, -128)]
    {
        for (kernel, channels) in [(1, 512), (3, 80), (7, 33)] {
            let (dense, alone) =
                (geometry(3, (channels, 18), kernel, 1), geometry(9, (channels, channels), kernel, 1));
            every_level_is_exact(dense, false, |_| value, |_| weight);
            every_level_is_exact(alone, true, |_| value, |_| weight);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape_is_exact(
        size in 1usize..9, channels in (1usize..70, 1usize..70), kernel in 0usize..4, stride in 1usize..4,
        seed in any::<u16>(), zero_point in 0i16..256,
    ) {
        let value = |i| (mixed(i, seed.into()) % 256) as i16 - zero_point;
        let weight = |i| (mixed(i, usize::from(seed) + 1) % 256) as u8 as i8;
        every_level_is_exact(geometry(size, channels, 2 * kernel + 1, stride), false, value, weight);
        every_level_is_exact(geometry(size, (channels.0, channels.0), 2 * kernel + 1, stride), true, value, weight);
    }
}
