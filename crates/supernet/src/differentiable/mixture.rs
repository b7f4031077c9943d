//! # Mixture: all choices of a network in one network
//!
//! Gong and others, section III-C: an operation with one-hot (or relaxed) choice d gives `Σ dⱼ oⱼ(x)`. Convolution is
//! linear in its weights, so a mixture of convolutions of one input is one convolution with mixed weights, and the
//! mixture of a whole block is the block of the largest shape with these weights (r, w, a, y are coefficients of
//! [`super::choices`], Q_b the quantizer of b bits, P, D, E the stored projection, depthwise kernel and expansion):
//!
//! ```text
//! expansion   Σ_b y_b Q_b(E)
//! depthwise   r(tap) · Σ_b y_b Q_b(D)       r(tap) = Σ of the coefficients of the kernels that reach the tap
//! projection  m(channel) · Σ_b y_b Q_b(P)   m(channel) = Σ of the coefficients of the widths that hold the channel
//! presence    a γ, a β of the projection's norm: out = x + a · z, and x alone when a = 0
//! ```
//!
//! Kernels share the centre of the largest and widths the first channels. Going back, dL/dW of the mixed weights, which
//! an ordinary backward pass gives, is all that is needed: the coefficient of an option gets `⟨dL/dW, W_option⟩`, the
//! stored weights the gradient times r or m, straight through the quantizers.
//!
//! Inputs are quantized at the width that the sample names; the coefficients of all widths get `⟨dL/dx, Q_b(x)⟩`
//! ([`Rivals`]), a straight-through Gumbel-softmax. Every width has a range of its own, learned with the weights.
//!
//! Differs from the paper: it mixes outputs, each behind a norm of its own, here weights are mixed before one norm;
//! inputs are sampled, not mixed, so that every forward pass sees values that the chip can hold. Thresholds are
//! `min(max |w|, f_b · rms)` per output channel with f_b the best for a Gaussian, not `max |w|`, with which 2 bits
//! would keep only the largest weights.

use rayon::prelude::*;
use sartor_engine::network::{MAXIMUM_RIVALS, Network, Rivals};
use sartor_space::{Layer, Role, Workload};

use crate::error::{Result, SupernetError};
use crate::extract::extract;
use crate::instantiate::{FIXED_BITS, convolutions, network};
use crate::parameters::Layout;
use crate::supernet::Supernet;

use super::choices::Choices;
use layer::{Factor, LayerNumbers, MixedLayer};
use ranges::Ranges;

mod layer;
mod quantizer;
mod ranges;

/// A network whose weights are mixed from stored ones.
#[derive(Debug, Clone)]
pub struct Mixture {
    stored: Layout,
    mixed: Layout,
    layers: Vec<MixedLayer>,
    ranges: Ranges,
    network: Network,
    workload: Workload,
}

/// Mixed numbers of one step, and what the way back needs.
#[derive(Debug, Clone, Default)]
pub struct Mixed {
    /// The buffer that the engine computes with: weights, ranges, and room for the gradients of shares.
    pub parameters: Vec<f32>,
    layers: Vec<LayerNumbers>,
}

impl Mixture {
    /// The mixture that a search's choices span, on weights of the largest network among them.
    ///
    /// # Errors
    /// A block that may be skipped but adds nothing to its input.
    pub fn new(choices: &Choices) -> Result<Self> {
        let workload = choices.space().lower(&choices.base());
        Self::within(choices, &Layout::fixed(&workload), workload)
    }

    /// The same for a smaller network whose weights are parts of `stored`; its blocks must be among the choices.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn within(choices: &Choices, stored: &Layout, workload: Workload) -> Result<Self> {
        check_skips(choices, &workload)?;
        check_widths(choices)?;
        let mixed = Layout::fixed(&workload);
        let layers = workload.layers.iter().map(|layer| {
            let factor = Factor::of(choices, layer);
            MixedLayer::new(
                stored.slot(&layer.name)?,
                mixed.slot(&layer.name)?,
                layer,
                factor,
                bits(choices, layer),
            )
        });
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            ranges: Ranges::new(choices, &workload),
            network: network(&mixed, &workload)?,
            stored: stored.clone(),
            mixed,
            workload,
        })
    }

    /// Where the stored weights lie; the ranges follow them.
    pub fn layout(&self) -> &Layout {
        &self.stored
    }

    /// Stored numbers: weights and ranges.
    pub fn len(&self) -> usize {
        self.stored.len() + self.ranges.len()
    }

    /// Whether nothing is stored; never, of a network.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The engine's network as [`mix`](Self::mix) left it.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The layers of the largest network.
    pub fn workload(&self) -> &Workload {
        &self.workload
    }

    /// Weight decay applies to weights, not to norms, biases and ranges.
    pub fn decay_mask(&self) -> Vec<bool> {
        let mut mask = self.stored.decay_mask();
        mask.resize(self.len(), false);
        mask
    }

    /// The weights of a supernet as stored numbers, without ranges.
    ///
    /// # Errors
    /// A supernet of another space.
    pub fn inherit(&self, supernet: &Supernet) -> Result<Vec<f32>> {
        extract(supernet.layout(), supernet.parameters(), &self.workload, &self.stored)
    }

    /// Mixes the stored numbers with these coefficients into `into`.
    pub fn mix(&self, stored: &[f32], coefficients: &[f32], into: &mut Mixed) {
        into.layers.resize_with(self.layers.len(), LayerNumbers::default);
        let both = self.layers.par_iter().zip(&mut into.layers);
        both.for_each(|(layer, numbers)| layer.mix(stored, coefficients, numbers));
        into.parameters.clear();
        into.parameters.resize(self.mixed.len(), 0.0);
        for (layer, numbers) in self.layers.iter().zip(&into.layers) {
            layer.place(stored, coefficients, numbers, &mut into.parameters);
        }
        into.parameters.extend(&stored[self.stored.len()..]);
        into.parameters.resize(self.mixed.len() + self.ranges.len() + self.ranges.shares(), 0.0);
    }

    /// Quantizes inputs at the widths with the largest of the coefficients `sampled`. Where the others are `competing`, a
    /// backward pass finds their gradients too; the weights' are the same either way.
    pub fn quantize_inputs(&mut self, sampled: &[f32], competing: bool) {
        self.ranges.place(&mut self.network, self.mixed.len(), sampled, competing);
    }

    /// From the gradients of the mixed numbers to those of the stored ones.
    pub fn of_weights(&self, stored: &[f32], coefficients: &[f32], gradients: &[f32]) -> Vec<f32> {
        let mut weights = vec![0.0; stored.len()];
        for layer in &self.layers {
            layer.of_weights(coefficients, gradients, &mut weights);
        }
        let ranges = &gradients[self.mixed.len()..][..self.ranges.len()];
        weights[self.stored.len()..].copy_from_slice(ranges);
        weights
    }

    /// From the gradients of the mixed numbers to those of the coefficients.
    pub fn of_coefficients(
        &self,
        stored: &[f32],
        coefficients: &[f32],
        mixed: &Mixed,
        gradients: &[f32],
    ) -> Vec<f32> {
        let both = self.layers.par_iter().zip(&mixed.layers);
        let products: Vec<Vec<f32>> =
            both.map(|(layer, numbers)| layer.products(numbers, gradients)).collect();
        let mut found = vec![0.0; coefficients.len()];
        for (layer, products) in self.layers.iter().zip(&products) {
            layer.of_coefficients(stored, coefficients, products, gradients, &mut found);
        }
        self.ranges.backward(&gradients[self.mixed.len() + self.ranges.len()..], &mut found);
        found
    }

    /// Starting ranges, from what flows through the network with these weights in full precision.
    ///
    /// # Errors
    /// What the engine fails with.
    pub(crate) fn observe_ranges(
        &self,
        workbench: &mut crate::workbench::Workbench<'_>,
        weights: &[f32],
        images: usize,
    ) -> Result<Vec<f32>> {
        let network = network(&self.stored, &self.workload)?;
        self.ranges.observe(workbench, &network, weights, images)
    }
}

/// The coefficients of a layer's weight widths; one fixed width outside the searched blocks, none at full precision.
fn bits(choices: &Choices, layer: &Layer) -> Vec<(u8, Option<usize>)> {
    let (block, field) = match layer.role {
        Role::Expand { block } | Role::Project { block } => (block, 0),
        Role::Depthwise { block } => (block, 2),
        _ if choices.quantized() => return vec![(FIXED_BITS, None)],
        _ => return vec![],
    };
    let places = choices.block(block).map(|places| &places.bits[field][..]).unwrap_or(&[]);
    places.iter().map(|&(bits, place)| (bits, Some(place))).collect()
}

/// The engine lets only so many widths of an input compete.
fn check_widths(choices: &Choices) -> Result<()> {
    let blocks = (0..choices.space().blocks().len()).filter_map(|index| choices.block(index));
    let most = blocks.flat_map(|places| places.bits.iter().map(Vec::len)).max().unwrap_or(0);
    if most <= MAXIMUM_RIVALS {
        return Ok(());
    }
    let expected = "at most 4 bit-widths to search by gradient";
    Err(SupernetError::Setting { setting: "bits.activations", got: format!("{most} widths"), expected })
}

/// A block that may be skipped must add to its input.
fn check_skips(choices: &Choices, workload: &Workload) -> Result<()> {
    let skips = |block: usize| choices.block(block).is_some_and(|places| choices.varies(places.active));
    for layer in convolutions(workload) {
        if let Role::Project { block } = layer.role
            && skips(block)
            && !layer.residual
        {
            let what = "a block that may be skipped must add to its input";
            return Err(SupernetError::Workload { layer: layer.name.clone(), what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
