//! # Rows between measured widths
//!
//! A space offers each layer at many channel widths that differ in nothing else: a line. Kernels work on groups of
//! channels, and some have a faster path for widths that fill them, so that a width and its neighbour can differ by a
//! factor; widths that are multiples of 16 and those that are not lie on lines apart. A few widths of each line are
//! measured, evenly spaced and with both ends, and the rest are linear between their neighbours. One more width of each
//! line, in the middle of those left out, is measured too and held out: how far the interpolation is from it is the
//! error that the table states. (The rows finally interpolated use it as well, so they are no worse.)

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::summary::quantile;
use crate::table::LayerKey;

/// Channels that kernels like to have together.
const GROUP: usize = 16;

/// Layers in lines of equal shape but for one width.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// Line → width → layer.
    lines: BTreeMap<LayerKey, BTreeMap<usize, LayerKey>>,
    per_line: usize,
}

/// Relative errors of interpolated rows that were measured after all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeldOut {
    /// Rows held out.
    pub rows: usize,
    /// Median error.
    pub median: f64,
    /// Largest error.
    pub worst: f64,
}

impl Lines {
    /// Sorts layers into lines of which at least two widths are measured.
    pub fn new(keys: &[LayerKey], per_line: usize) -> Self {
        let mut members: HashMap<LayerKey, usize> = HashMap::new();
        for line in keys.iter().flat_map(|key| lines_of(*key)).map(|(line, _)| line) {
            *members.entry(line).or_default() += 1;
        }
        let mut lines: BTreeMap<LayerKey, BTreeMap<usize, LayerKey>> = BTreeMap::new();
        for &key in keys {
            let longest = lines_of(key).into_iter().max_by_key(|(line, _)| members[line]);
            if let Some((line, width)) = longest {
                lines.entry(line).or_default().insert(width, key);
            }
        }
        Self { lines, per_line: per_line.max(2) }
    }

    /// Layers to measure, those to be held out last.
    pub fn to_measure(&self) -> Vec<LayerKey> {
        let held_out = self.lines.values().filter_map(|line| held_out(line, self.per_line));
        let measured = self.lines.values().flat_map(|line| ends_and_between(line, self.per_line));
        measured.chain(held_out).collect()
    }

    /// How far rows held out are from what the others say; `None` if none was both held out and measured.
    pub fn held_out(&self, measured: &HashMap<LayerKey, f64>) -> Option<HeldOut> {
        let error = |line: &BTreeMap<usize, LayerKey>| {
            let key = held_out(line, self.per_line)?;
            let truth = *measured.get(&key)?;
            let known = known(line, measured, Some(key));
            Some((between(&known, width_of(line, key)?)? / truth - 1.0).abs())
        };
        let mut errors: Vec<f64> = self.lines.values().filter_map(error).collect();
        errors.sort_by(f64::total_cmp);
        let worst = *errors.last()?;
        Some(HeldOut { rows: errors.len(), median: quantile(&errors, 0.5), worst })
    }

    /// Every layer of the lines with what was measured or lies between; layers of which neither is known are left out.
    pub fn fill(&self, measured: &HashMap<LayerKey, f64>) -> HashMap<LayerKey, f64> {
        let mut filled = HashMap::new();
        for line in self.lines.values() {
            let known = known(line, measured, None);
            for (&width, &key) in line {
                if let Some(value) = measured.get(&key).copied().or_else(|| between(&known, width)) {
                    filled.insert(key, value);
                }
            }
        }
        filled
    }
}

/// The lines a layer could lie on, and its width there.
fn lines_of(key: LayerKey) -> Vec<(LayerKey, usize)> {
    let LayerKey { in_channels, out_channels, groups, .. } = key;
    let full = |width: usize| usize::from(width.is_multiple_of(GROUP));
    if groups == in_channels && groups == out_channels && groups > 1 {
        return vec![(LayerKey { in_channels: 0, out_channels: full(groups), groups: 0, ..key }, groups)];
    }
    vec![
        (LayerKey { out_channels: full(out_channels), ..key }, out_channels),
        (LayerKey { in_channels: full(in_channels), ..key }, in_channels),
    ]
}

fn ends_and_between(line: &BTreeMap<usize, LayerKey>, count: usize) -> Vec<LayerKey> {
    let keys: Vec<LayerKey> = line.values().copied().collect();
    if keys.len() <= count {
        return keys;
    }
    let place = |step: usize| (step * (keys.len() - 1) + (count - 1) / 2) / (count - 1);
    (0..count).map(|step| keys[place(step)]).collect()
}

fn held_out(line: &BTreeMap<usize, LayerKey>, count: usize) -> Option<LayerKey> {
    let measured = ends_and_between(line, count);
    let rest: Vec<LayerKey> = line.values().copied().filter(|key| !measured.contains(key)).collect();
    rest.get(rest.len() / 2).copied()
}

fn width_of(line: &BTreeMap<usize, LayerKey>, key: LayerKey) -> Option<usize> {
    line.iter().find(|(_, other)| **other == key).map(|(width, _)| *width)
}

fn known(
    line: &BTreeMap<usize, LayerKey>,
    measured: &HashMap<LayerKey, f64>,
    without: Option<LayerKey>,
) -> BTreeMap<usize, f64> {
    let kept = line.iter().filter(|(_, key)| Some(**key) != without);
    kept.filter_map(|(&width, key)| Some((width, *measured.get(key)?))).collect()
}

/// Linear between the nearest known widths on both sides.
fn between(known: &BTreeMap<usize, f64>, width: usize) -> Option<f64> {
    let (&low, &at_low) = known.range(..=width).next_back()?;
    let (&high, &at_high) = known.range(width..).next()?;
    if low == high {
        return Some(at_low);
    }
    Some(at_low + (at_high - at_low) * (width - low) as f64 / (high - low) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reachable_layers;
    use sartor_space::SearchSpace;

    fn key(in_channels: usize, out_channels: usize) -> LayerKey {
        LayerKey {
            in_channels,
            out_channels,
            input_size: 14,
            kernel: 1,
            stride: 1,
            padding: 0,
            groups: 1,
            weight_bits: 8,
            activation_bits: 8,
            first: false,
        }
    }

    #[test]
    fn rows_between_are_linear_and_the_held_out_one_tells_the_error() {
        let keys: Vec<LayerKey> = (1..=9).map(|step| key(16, 16 * step)).collect();
        let lines = Lines::new(&keys, 3);
        let asked = lines.to_measure();
        assert_eq!(asked.iter().map(|key| key.out_channels).collect::<Vec<_>>(), [16, 80, 144, 96]);
        let truth =
            |key: &LayerKey| if key.out_channels == 96 { 220.0 } else { 2.0 * key.out_channels as f64 };
        let measured = asked.iter().map(|key| (*key, truth(key))).collect();
        let error = lines.held_out(&measured).unwrap();
        assert_eq!(error.rows, 1);
        assert!((error.worst - (1.0 - 192.0 / 220.0)).abs() < 1e-12, "{error:?}");
        let filled = lines.fill(&measured);
        assert_eq!(filled.len(), 9);
        assert_eq!((filled[&key(16, 32)], filled[&key(16, 96)]), (64.0, 220.0));
    }

    #[test]
    fn every_layer_of_a_space_lies_on_a_line() {
        let layers = reachable_layers(&SearchSpace::preset("apq").unwrap());
        let mut keys: Vec<LayerKey> = layers
            .iter()
            .map(|layer| LayerKey { weight_bits: 8, activation_bits: 8, first: false, ..LayerKey::of(layer) })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let lines = Lines::new(&keys, 3);
        let asked = lines.to_measure();
        assert!(2 * asked.len() < keys.len(), "{} of {}", asked.len(), keys.len());
        let measured = asked.iter().map(|key| (*key, 1.0)).collect();
        assert_eq!(lines.fill(&measured).len(), keys.len());
    }

    #[test]
    fn short_lines_are_measured_whole() {
        let keys = [key(16, 16), key(16, 32)];
        let lines = Lines::new(&keys, 5);
        assert_eq!(lines.to_measure(), keys);
        assert_eq!(lines.held_out(&HashMap::new()), None);
        assert!(lines.fill(&HashMap::new()).is_empty());
    }
}
