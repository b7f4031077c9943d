//! One layer of a mixture: forward and backward of its weights.

use sartor_space::{Layer, LayerKind, Role};

use crate::differentiable::choices::Choices;
use crate::error::Result;
use crate::parameters::LayerSlot;

use super::quantizer::{Spread, quantize};

/// What scales a layer's mixed weights, row by row, and its norm.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Factor {
    /// Per row: places of the coefficients whose sum scales it; none for rows that are not scaled.
    rows: Vec<Vec<usize>>,
    /// Place of the coefficient that scales the norm.
    norm: Option<usize>,
}

impl Factor {
    pub(super) fn of(choices: &Choices, layer: &Layer) -> Self {
        match layer.role {
            Role::Depthwise { block } => {
                let kernels = choices.block(block).map(|places| &places.kernels[..]).unwrap_or(&[]);
                let reaches = |tap: usize| {
                    let edge = edge(tap, layer.kernel);
                    let reaching = kernels
                        .iter()
                        .filter(|(kernel, _)| (layer.kernel - (*kernel).min(layer.kernel)) / 2 <= edge);
                    reaching.map(|&(_, place)| place).collect()
                };
                Self { rows: (0..layer.kernel * layer.kernel).map(reaches).collect(), norm: None }
            }
            Role::Project { block } => {
                let Some(places) = choices.block(block) else { return Self::default() };
                let holds = |channel: usize| {
                    let holding = places.widths.iter().filter(|(width, _)| *width > channel);
                    holding.map(|&(_, place)| place).collect()
                };
                let norm = Some(places.active).filter(|_| layer.residual);
                Self { rows: (0..layer.in_channels).map(holds).collect(), norm }
            }
            _ => Self::default(),
        }
    }

    fn row(&self, row: usize, coefficients: &[f32]) -> f32 {
        self.rows.get(row).map_or(1.0, |places| places.iter().map(|&place| coefficients[place]).sum())
    }
}

/// How far a tap lies from the kernel's border.
fn edge(tap: usize, kernel: usize) -> usize {
    let (row, column) = (tap / kernel, tap % kernel);
    [row, column, kernel - 1 - row, kernel - 1 - column].into_iter().min().unwrap_or(0)
}

/// A layer's numbers of one step.
#[derive(Debug, Clone, Default)]
pub(super) struct LayerNumbers {
    /// Stored weights, row by row.
    matrix: Vec<f32>,
    /// The same at each of the layer's widths, one after another.
    quantized: Vec<f32>,
    /// Their mixture.
    mixed: Vec<f32>,
}

/// One layer: from stored weights to mixed ones.
#[derive(Debug, Clone)]
pub(super) struct MixedLayer {
    from: LayerSlot,
    to: LayerSlot,
    /// Stored row of each mixed row.
    rows: Vec<usize>,
    columns: usize,
    factor: Factor,
    /// Widths and the places of their coefficients; `None` for a width that is fixed.
    bits: Vec<(u8, Option<usize>)>,
    classifier: bool,
}

impl MixedLayer {
    pub(super) fn new(
        from: &LayerSlot,
        to: &LayerSlot,
        layer: &Layer,
        factor: Factor,
        bits: Vec<(u8, Option<usize>)>,
    ) -> Result<Self> {
        let depthwise = layer.kind() == LayerKind::Depthwise;
        let rows = match depthwise {
            true => centre(from.kernel, layer.kernel),
            false => (0..to.rows).collect(),
        };
        let (from, to, columns) = (from.clone(), to.clone(), to.columns);
        Ok(Self { rows, columns, factor, bits, classifier: layer.kind() == LayerKind::Linear, from, to })
    }

    /// Fills this layer's numbers that depend on its weights.
    pub(super) fn mix(&self, stored: &[f32], coefficients: &[f32], into: &mut LayerNumbers) {
        let LayerNumbers { matrix, quantized, mixed } = into;
        let length = self.rows.len() * self.columns;
        matrix.clear();
        for &row in &self.rows {
            let at = self.from.weight.offset + row * self.from.weight.row_stride;
            matrix.extend_from_slice(&stored[at..][..self.columns]);
        }
        quantized.resize(length * self.bits.len().max(1), 0.0);
        match self.bits.is_empty() {
            true => quantized.copy_from_slice(matrix),
            false => self.quantize(matrix, quantized),
        }
        let shares = self.shares(coefficients);
        mixed.clear();
        mixed.resize(length, 0.0);
        for (row, to) in mixed.chunks_exact_mut(self.columns).enumerate() {
            let factor = self.factor.row(row, coefficients);
            for (option, share) in quantized.chunks_exact(length).zip(&shares) {
                add(to, factor * share, &option[row * self.columns..]);
            }
        }
    }

    fn quantize(&self, matrix: &[f32], quantized: &mut [f32]) {
        let spread = Spread::of(matrix, self.columns);
        for (&(bits, _), to) in self.bits.iter().zip(quantized.chunks_exact_mut(matrix.len())) {
            quantize(matrix, &spread, bits, to);
        }
    }

    /// Puts this layer's numbers where the network looks for them.
    pub(super) fn place(
        &self,
        stored: &[f32],
        coefficients: &[f32],
        numbers: &LayerNumbers,
        mixed: &mut [f32],
    ) {
        mixed[self.to.weight.offset..][..numbers.mixed.len()].copy_from_slice(&numbers.mixed);
        self.mix_norm(stored, coefficients, mixed);
    }

    fn shares(&self, coefficients: &[f32]) -> Vec<f32> {
        if self.bits.is_empty() {
            return vec![1.0];
        }
        self.bits.iter().map(|&(_, place)| place.map_or(1.0, |place| coefficients[place])).collect()
    }

    /// Norms (the classifier's bias) are copied, scaled by the block's presence.
    fn mix_norm(&self, stored: &[f32], coefficients: &[f32], mixed: &mut [f32]) {
        let scale = self.factor.norm.map_or(1.0, |place| coefficients[place]);
        for (from, to) in self.norms() {
            let numbers = stored[from..][..self.columns].iter().zip(&mut mixed[to..][..self.columns]);
            numbers.for_each(|(from, to)| *to = scale * from);
        }
    }

    fn norms(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let gamma = (!self.classifier).then_some((self.from.gamma, self.to.gamma));
        gamma.into_iter().chain([(self.from.beta, self.to.beta)])
    }

    /// Rows of this layer's gradient, with their numbers.
    fn gradient_rows<'a>(&self, gradients: &'a [f32]) -> impl Iterator<Item = (usize, &'a [f32])> + use<'a> {
        let length = self.rows.len() * self.columns;
        gradients[self.to.weight.offset..][..length].chunks_exact(self.columns).enumerate()
    }

    /// Adds to the gradients of the stored numbers.
    pub(super) fn of_weights(&self, coefficients: &[f32], gradients: &[f32], weights: &mut [f32]) {
        for (row, gradient) in self.gradient_rows(gradients) {
            let factor = self.factor.row(row, coefficients);
            let at = self.from.weight.offset + self.rows[row] * self.from.weight.row_stride;
            add(&mut weights[at..][..self.columns], factor, gradient);
        }
        let scale = self.factor.norm.map_or(1.0, |place| coefficients[place]);
        for (from, to) in self.norms() {
            add(&mut weights[from..][..self.columns], scale, &gradients[to..]);
        }
    }

    /// Of every row and width: the weights at that width times their gradient.
    pub(super) fn products(&self, numbers: &LayerNumbers, gradients: &[f32]) -> Vec<f32> {
        let options = numbers.quantized.chunks_exact(self.rows.len() * self.columns);
        let of_row = |(row, gradient): (usize, &[f32])| -> Vec<f32> {
            options.clone().map(|option| dot(&option[row * self.columns..], gradient)).collect()
        };
        self.gradient_rows(gradients).flat_map(of_row).collect()
    }

    /// Adds to the gradients of the coefficients.
    pub(super) fn of_coefficients(
        &self,
        stored: &[f32],
        coefficients: &[f32],
        products: &[f32],
        gradients: &[f32],
        found: &mut [f32],
    ) {
        let shares = self.shares(coefficients);
        for (row, products) in products.chunks_exact(shares.len()).enumerate() {
            let factor = self.factor.row(row, coefficients);
            for (product, (_, place)) in products.iter().zip(&self.bits) {
                if let Some(place) = place {
                    found[*place] += factor * product;
                }
            }
            let whole: f32 = products.iter().zip(&shares).map(|(product, share)| product * share).sum();
            for &place in self.factor.rows.get(row).into_iter().flatten() {
                found[place] += whole;
            }
        }
        if let Some(place) = self.factor.norm {
            for (from, to) in self.norms() {
                found[place] += dot(&stored[from..][..self.columns], &gradients[to..]);
            }
        }
    }
}

/// Adds `scale` times the first values of `from` to all of `to`.
fn add(to: &mut [f32], scale: f32, from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, value)| *to += scale * value);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Taps of the larger kernel that are the smaller one.
fn centre(larger: usize, smaller: usize) -> Vec<usize> {
    let border = (larger - smaller) / 2;
    (0..smaller * smaller).map(|tap| (tap / smaller + border) * larger + tap % smaller + border).collect()
}
