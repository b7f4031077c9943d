//! # Choices: what a controller decides, and what each option does to the mixture
//!
//! Gong and others, section III-C: a configuration is a vector of discrete choices, each a one-hot vector over its
//! options. Relaxed or not, the vector y of all options acts on the network through *coefficients* c = A y: one for
//! every kernel, every width, every bit-width of each layer, and one for whether the block is there. A is sparse and
//! holds only ones: an option sets the coefficients that it stands for (a shared bit-width those of weights and
//! activations, a depth those of the blocks that it keeps). Gradients come back by the transpose.
//!
//! Differs from the paper: any space will do, with prefix depths, explicit option lists and forbidden combinations of
//! widths; of a forbidden combination the nearest allowed one is meant.

use std::ops::Range;

use sartor_space::{Candidate, SearchSpace, Subnet};

use crate::error::Result;

mod build;
mod candidate;

/// What a search may not decide.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pinned {
    /// The architecture; `None` searches it.
    pub subnet: Option<Subnet>,
    /// The bit-widths.
    pub precision: Precision,
    /// Whether a block chooses among whole operations (kernel and width together, or nothing where it may be
    /// skipped: ProxylessNAS) instead of kernel, width and presence one by one.
    pub operations: bool,
}

/// Which bit-widths a search has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Those of the space.
    #[default]
    Searched,
    /// The allowed ones nearest to this, everywhere.
    Fixed(u8),
    /// 32-bit floats.
    Full,
}

/// One decision: a range of the vector of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What it is about, for people: `block 3 kernel`.
    pub name: String,
    /// Its options' places.
    pub range: Range<usize>,
    /// The block whose kernel, width or bit-widths it decides; `None` for presence and depth.
    pub block: Option<usize>,
}

/// Places of a block's coefficients.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockPlaces {
    /// Whether the block is there.
    pub active: usize,
    /// The same as far as no choice of the block's own decides it.
    pub presence: usize,
    /// Kernels, ascending.
    pub kernels: Vec<(usize, usize)>,
    /// Widths, ascending.
    pub widths: Vec<(usize, usize)>,
    /// Bit-widths of the four fields of [`sartor_space::BlockBits::fields`]; empty at full precision.
    pub bits: [Vec<(u8, usize)>; 4],
}

/// Every choice of a search.
#[derive(Debug, Clone)]
pub struct Choices {
    space: SearchSpace,
    base: Subnet,
    precision: Precision,
    all: Vec<Choice>,
    /// Per option: the coefficients it sets.
    sets: Vec<Vec<usize>>,
    constants: Vec<usize>,
    blocks: Vec<Option<BlockPlaces>>,
    coefficients: usize,
}

impl Choices {
    /// The choices of a space, without those that are pinned.
    ///
    /// # Errors
    /// A pinned architecture outside the space, or a space in which a block that may be skipped changes the shape.
    pub fn new(space: &SearchSpace, pinned: &Pinned) -> Result<Self> {
        space.check_trainable()?;
        let base = pinned.subnet.clone().unwrap_or_else(|| space.largest());
        space.contains_subnet(&base)?;
        let precision = if space.bits().is_none() { Precision::Full } else { pinned.precision };
        let mut choices = Self {
            space: space.clone(),
            blocks: vec![None; base.blocks.len()],
            base,
            precision,
            all: vec![],
            sets: vec![],
            constants: vec![],
            coefficients: 0,
        };
        choices.add_depths(pinned.subnet.is_none());
        for index in 0..choices.blocks.len() {
            match pinned.operations && pinned.subnet.is_none() {
                true => choices.add_operations(index),
                false => choices.add_block(index, pinned.subnet.is_none()),
            }
        }
        Ok(choices)
    }

    /// The largest network that the choices span.
    pub fn base(&self) -> Candidate {
        let policy = match self.precision {
            Precision::Full => None,
            _ => self.space.uniform_policy(&self.base, u8::MAX),
        };
        Candidate { subnet: self.base.clone(), policy }
    }

    /// The space.
    pub fn space(&self) -> &SearchSpace {
        &self.space
    }

    /// Whether networks are quantized while searching.
    pub fn quantized(&self) -> bool {
        self.precision != Precision::Full
    }

    /// The decisions, in order; together they cover the options.
    pub fn all(&self) -> &[Choice] {
        &self.all
    }

    /// Number of options: entries of the logits.
    pub fn options(&self) -> usize {
        self.sets.len()
    }

    /// Whether any choice changes the coefficient.
    pub fn varies(&self, place: usize) -> bool {
        let sets = |option: usize| self.sets[option].contains(&place);
        self.all.iter().any(|choice| choice.range.clone().any(sets) && !choice.range.clone().all(sets))
    }

    /// Number of coefficients.
    pub fn coefficients(&self) -> usize {
        self.coefficients
    }

    /// Places of a block's coefficients; `None` for a block that the pinned architecture skips.
    pub fn block(&self, index: usize) -> Option<&BlockPlaces> {
        self.blocks.get(index)?.as_ref()
    }

    /// The coefficients that an option sets.
    pub fn sets(&self, option: usize) -> &[usize] {
        &self.sets[option]
    }

    /// c = A y, `y` of all options.
    pub fn coefficients_of(&self, y: &[f32]) -> Vec<f32> {
        let mut coefficients = vec![0.0; self.coefficients];
        self.constants.iter().for_each(|&place| coefficients[place] = 1.0);
        for (&y, set) in y.iter().zip(&self.sets) {
            set.iter().for_each(|&place| coefficients[place] += y);
        }
        coefficients
    }

    /// Aᵀ: from the gradient of the coefficients to that of y.
    pub fn backward(&self, coefficients: &[f32]) -> Vec<f32> {
        self.sets.iter().map(|set| set.iter().map(|&place| coefficients[place]).sum()).collect()
    }

    /// One option of each choice as a vector y.
    pub fn one_hot(&self, chosen: &[usize]) -> Vec<f32> {
        let mut y = vec![0.0; self.options()];
        self.all.iter().zip(chosen).for_each(|(choice, &option)| y[choice.range.start + option] = 1.0);
        y
    }
}

#[cfg(test)]
mod tests;
