//! From options to what they mean: a block, a policy, a candidate.

use sartor_space::{Block, BlockBits, Candidate, QuantPolicy, Subnet};

use super::{BlockPlaces, Choices};
use crate::error::{Result, SupernetError};

impl Choices {
    /// The candidate of one option of each choice.
    ///
    /// # Errors
    /// When the options make none that is in the space.
    pub fn candidate(&self, chosen: &[usize]) -> Result<Candidate> {
        let coefficients = self.coefficients_of(&self.one_hot(chosen));
        let subnet = Subnet { blocks: self.shapes(&coefficients) };
        let candidate = Candidate { policy: self.policy(&subnet, &coefficients)?, subnet };
        self.space.contains(&candidate)?;
        Ok(candidate)
    }

    fn block_of(&self, places: &BlockPlaces, coefficients: &[f32]) -> Option<Block> {
        let (kernel, width) =
            (largest(&places.kernels, coefficients)?, largest(&places.widths, coefficients)?);
        (coefficients[places.active] > 0.5).then_some(Block { kernel, width })
    }

    /// The blocks of one-hot coefficients.
    pub(in crate::differentiable) fn shapes(&self, coefficients: &[f32]) -> Vec<Option<Block>> {
        self.blocks.iter().map(|places| self.block_of(places.as_ref()?, coefficients)).collect()
    }

    /// The block with the larger kernel and the larger width of two; it need not be in the space.
    pub(in crate::differentiable) fn covering(&self, one: Block, other: Block) -> Block {
        Block { kernel: one.kernel.max(other.kernel), width: one.width.max(other.width) }
    }

    fn policy(&self, subnet: &Subnet, coefficients: &[f32]) -> Result<Option<QuantPolicy>> {
        let Some(bits) = self.space.bits().filter(|_| self.quantized()) else { return Ok(None) };
        let each = |(block, places): (&Option<Block>, &Option<BlockPlaces>)| match (block, places) {
            (Some(block), Some(places)) => {
                let field = |field: &Vec<(u8, usize)>| largest(field, coefficients).unwrap_or(u8::MAX);
                bits.nearest(block.kernel, BlockBits::from_fields(places.bits.each_ref().map(field)))
            }
            _ => Some(bits.widest()),
        };
        let blocks: Option<Vec<_>> = subnet.blocks.iter().zip(&self.blocks).map(each).collect();
        Ok(Some(QuantPolicy { blocks: blocks.ok_or(SupernetError::NoPolicy)? }))
    }

    /// The allowed bit-widths nearest to these.
    fn allowed(&self, block: Block, bits: BlockBits) -> BlockBits {
        self.space.bits().and_then(|all| all.nearest(block.kernel, bits)).unwrap_or(bits)
    }

    /// What a block is when these options of its own choices are taken; the options are places in y.
    ///
    /// `None` for a block that the pinned architecture skips.
    pub fn block_with(&self, index: usize, options: &[usize]) -> Option<(Block, Option<BlockBits>)> {
        let places = self.block(index)?;
        let on = |place: usize| {
            self.constants.contains(&place)
                || options.iter().any(|&option| self.sets[option].contains(&place))
        };
        let (kernel, width) = (first(&places.kernels, on)?, first(&places.widths, on)?);
        let block = Block { kernel, width };
        if !self.quantized() {
            return Some((block, None));
        }
        let fields = places.bits.each_ref().map(|field| first(field, on).unwrap_or(u8::MAX));
        Some((block, Some(self.allowed(block, BlockBits::from_fields(fields)))))
    }
}

/// The value with the largest coefficient.
fn largest<T: Copy>(values: &[(T, usize)], coefficients: &[f32]) -> Option<T> {
    let best = values.iter().max_by(|a, b| coefficients[a.1].total_cmp(&coefficients[b.1]));
    best.map(|&(value, _)| value)
}

fn first<T: Copy>(values: &[(T, usize)], on: impl Fn(usize) -> bool) -> Option<T> {
    values.iter().find(|(_, place)| on(*place)).map(|&(value, _)| value)
}
