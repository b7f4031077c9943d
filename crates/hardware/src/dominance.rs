//! # Which bit-widths pay
//!
//! A narrower operand is worth its accuracy only if the chip makes something of it. For every kind of layer, operand
//! and width, all rows of a table are compared with the row that differs only in the next wider width of that operand.
//! On Bit Fusion, for example, 6 bits compute like 8 and only move less.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sartor_space::LayerKind;
use serde::Serialize;

use crate::table::LayerKey;

/// Savings below this share are hardly worth a bit.
const HARDLY: f64 = 0.01;

/// A layer and what is compared about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Priced {
    /// Which layer.
    pub key: LayerKey,
    /// Cycles in which the array multiplies, where the source knows them.
    pub compute_cycles: Option<u64>,
    /// Latency in ms.
    pub latency_ms: f64,
    /// Energy in mJ.
    pub energy_mj: f64,
}

/// Whose width is narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// Weights.
    Weights,
    /// Activations.
    Activations,
}

/// Whether a narrower width pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pays {
    /// On no layer.
    Never,
    /// By less than 1 % over all layers.
    Hardly,
    /// By 1 % or more.
    Yes,
}

/// What narrowing saves, over all layers together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Saving {
    /// Share of the total; negative if it costs.
    pub share: f64,
    /// Share of the layers on which it saves anything.
    pub layers_share: f64,
    /// The verdict.
    pub pays: Pays,
}

/// One width of one operand in one kind of layer, against the next wider.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dominance {
    /// Kind of layer: `dense`, `pointwise`, `depthwise` or `linear`.
    pub kind: &'static str,
    /// Whose width.
    pub operand: Operand,
    /// The narrower width.
    pub bits: u8,
    /// The next wider width.
    pub wider_bits: u8,
    /// Layers compared.
    pub layers: usize,
    /// Cycles of the array, where they are known.
    pub compute: Option<Saving>,
    /// Latency.
    pub latency: Saving,
    /// Energy; absent where the source has none.
    pub energy: Option<Saving>,
}

/// Kind of layer, whose width, the width and the next wider one.
type Place = (&'static str, Operand, u8, u8);
/// A row and the one that differs only in the wider width.
type Pair<'a> = (&'a Priced, &'a Priced);

/// Compares every width with the next wider one, per kind of layer and operand.
pub fn dominance(rows: &[Priced]) -> Vec<Dominance> {
    let by_key: HashMap<LayerKey, &Priced> = rows.iter().map(|row| (row.key, row)).collect();
    let mut pairs: BTreeMap<Place, Vec<Pair<'_>>> = BTreeMap::new();
    for operand in [Operand::Weights, Operand::Activations] {
        for row in rows {
            if let Some((wider_bits, wider)) = next_wider(&by_key, row.key, operand) {
                let place = (kind(row.key), operand, width(row.key, operand), wider_bits);
                pairs.entry(place).or_default().push((row, wider));
            }
        }
    }
    pairs.into_iter().map(|(place, pairs)| compare(place, &pairs)).collect()
}

fn next_wider<'a>(
    rows: &HashMap<LayerKey, &'a Priced>,
    key: LayerKey,
    operand: Operand,
) -> Option<(u8, &'a Priced)> {
    let widths: BTreeSet<u8> = (width(key, operand) + 1..=32).collect();
    widths.into_iter().find_map(|bits| rows.get(&with_width(key, operand, bits)).map(|&row| (bits, row)))
}

fn width(key: LayerKey, operand: Operand) -> u8 {
    match operand {
        Operand::Weights => key.weight_bits,
        Operand::Activations => key.activation_bits,
    }
}

fn with_width(key: LayerKey, operand: Operand, bits: u8) -> LayerKey {
    match operand {
        Operand::Weights => LayerKey { weight_bits: bits, ..key },
        Operand::Activations => LayerKey { activation_bits: bits, ..key },
    }
}

fn kind(key: LayerKey) -> &'static str {
    match key.layer("").kind() {
        LayerKind::Dense => "dense",
        LayerKind::Pointwise => "pointwise",
        LayerKind::Depthwise => "depthwise",
        LayerKind::Linear => "linear",
    }
}

fn compare((kind, operand, bits, wider_bits): Place, pairs: &[Pair<'_>]) -> Dominance {
    let of = |value: fn(&Priced) -> f64| saving(pairs.iter().map(|(row, wider)| (value(row), value(wider))));
    let known =
        pairs.iter().all(|(row, wider)| row.compute_cycles.is_some() && wider.compute_cycles.is_some());
    let energies = pairs.iter().any(|(row, wider)| row.energy_mj > 0.0 || wider.energy_mj > 0.0);
    Dominance {
        kind,
        operand,
        bits,
        wider_bits,
        layers: pairs.len(),
        compute: known.then(|| of(|row| row.compute_cycles.unwrap_or(0) as f64)),
        latency: of(|row| row.latency_ms),
        energy: energies.then(|| of(|row| row.energy_mj)),
    }
}

fn saving(pairs: impl Iterator<Item = (f64, f64)>) -> Saving {
    let (mut narrow, mut wide, mut layers, mut saves) = (0.0, 0.0, 0, 0);
    for (row, wider) in pairs {
        (narrow, wide, layers) = (narrow + row, wide + wider, layers + 1);
        saves += usize::from(row < wider);
    }
    let share = if wide > 0.0 { 1.0 - narrow / wide } else { 0.0 };
    let pays = match (saves, share) {
        (0, _) => Pays::Never,
        (_, share) if share < HARDLY => Pays::Hardly,
        _ => Pays::Yes,
    };
    Saving { share, layers_share: saves as f64 / f64::from(layers.max(1)), pays }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accelerator, reachable_layers};
    use sartor_space::SearchSpace;

    fn on_bit_fusion() -> Vec<Dominance> {
        let layers = reachable_layers(&SearchSpace::preset("apq").unwrap());
        let chip = Accelerator::preset("bitfusion-apq").unwrap();
        let costs = chip.price_layers(&layers).unwrap();
        let rows: Vec<Priced> = layers
            .iter()
            .zip(&costs)
            .map(|(layer, cost)| Priced {
                key: LayerKey::of(layer),
                compute_cycles: Some(cost.compute_cycles.0),
                latency_ms: cost.latency.0,
                energy_mj: cost.energy.0,
            })
            .collect();
        dominance(&rows)
    }

    #[test]
    fn six_bits_compute_like_eight_on_bit_fusion_and_four_do_not() {
        let all = on_bit_fusion();
        let depthwise = |bits: u8| all.iter().filter(move |it| it.kind == "depthwise" && it.bits == bits);
        assert_eq!(depthwise(6).count(), 2);
        for row in depthwise(6) {
            assert_eq!(row.compute.unwrap().pays, Pays::Never, "{row:?}");
            assert_ne!(row.latency.pays, Pays::Yes, "{row:?}");
        }
        for row in depthwise(4) {
            assert_eq!(row.latency.pays, Pays::Yes, "{row:?}");
        }
    }

    #[test]
    fn every_width_but_the_widest_is_compared_with_the_next() {
        let all = on_bit_fusion();
        for kind in ["pointwise", "depthwise"] {
            let widths: Vec<_> =
                all.iter().filter(|it| it.kind == kind).map(|it| (it.bits, it.wider_bits)).collect();
            assert_eq!(widths, [(4, 6), (6, 8), (4, 6), (6, 8)], "{kind}");
        }
    }

    #[test]
    fn sources_without_energy_have_none() {
        let key = |weight_bits| LayerKey {
            weight_bits,
            ..LayerKey::of(&reachable_layers(&SearchSpace::preset("apq").unwrap())[3])
        };
        let row =
            |bits, latency_ms| Priced { key: key(bits), compute_cycles: None, latency_ms, energy_mj: 0.0 };
        let all = dominance(&[row(4, 1.0), row(8, 1.0)]);
        assert_eq!((all[0].energy, all[0].compute, all[0].latency.pays), (None, None, Pays::Never));
    }
}
