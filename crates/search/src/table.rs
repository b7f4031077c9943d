//! # The table of choices: every option of every block with its costs
//!
//! Costs that add up over blocks (latency, energy, BitOps, size, MACs: layers run one after another) are asked
//! once per choice and kept. Pricing a candidate is then one look-up per block, the cheapest candidate is found
//! exactly, and feasible candidates are drawn instead of hoped for (see `boltzmann`).

use sartor_space::{Block, BlockBits, Candidate, Depth, Options, SearchSpace};

use crate::metric::{Costs, METRICS, Metric};

/// Costs that are a fixed part plus one term per active block; a skipped block costs nothing.
///
/// Metrics that do not add up, or are not priced, are left NaN.
pub trait AdditiveCosts: Sync {
    /// Layers that every candidate has.
    fn fixed(&self) -> Costs;

    /// One active block with these bits (`None`: full precision).
    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> Costs;
}

/// Which choices may be used; the rest is frozen out (for baselines that fix a part of the candidate).
pub type Filter<'a> = &'a dyn Fn(usize, Option<Block>, Option<BlockBits>) -> bool;

/// One choice of one active block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub block: Block,
    pub bits: Option<BlockBits>,
    /// Probability under the space's own random sampling, given that the block is active.
    pub prior: f64,
    pub costs: Costs,
}

/// The choices of one block.
#[derive(Debug, Clone)]
pub(crate) struct BlockTable {
    pub rows: Vec<Row>,
    /// Probability of being skipped under the space's own sampling, where any block may be; 0 if it may not.
    pub skip: f64,
    /// Costs of the rows under the limited metrics alone, which are looked at much more often than the others.
    limited: Vec<f64>,
    index: Index,
}

/// A stage: its blocks and the depths still allowed (`None`: blocks are skipped one by one).
#[derive(Debug, Clone)]
pub(crate) struct StageTable {
    pub blocks: std::ops::Range<usize>,
    pub depths: Option<Vec<usize>>,
}

/// All choices of a space.
#[derive(Debug, Clone)]
pub(crate) struct ChoiceTable {
    pub blocks: Vec<BlockTable>,
    pub stages: Vec<StageTable>,
    pub fixed: Costs,
    pub idle: BlockBits,
    limited: Vec<Metric>,
    quantized: bool,
    bit_codes: Vec<u16>,
}

/// From a block and its bits to the row, without searching.
#[derive(Debug, Clone)]
struct Index {
    options: OptionIndex,
    combinations: usize,
    rows: Vec<u32>,
}

#[derive(Debug, Clone)]
enum OptionIndex {
    Grid { kernels: Vec<u16>, widths: Vec<u16>, width_count: usize },
    List(Vec<Block>),
}

const NONE: u32 = u32::MAX;
const NONE_SHORT: u16 = u16::MAX;

impl ChoiceTable {
    /// Asks the price of every choice that the filter allows.
    pub fn new(space: &SearchSpace, prices: &dyn AdditiveCosts, filter: Filter<'_>) -> Self {
        let combinations = bit_combinations(space);
        let blocks = (0..space.blocks().len())
            .map(|index| block_table(space, index, &combinations, prices, filter))
            .collect::<Vec<_>>();
        let stages = stage_tables(space, &blocks, filter);
        let idle = space.bits().map_or(BlockBits::uniform(32), |bits| bits.widest());
        let quantized = space.bits().is_some();
        let (fixed, bit_codes) = (prices.fixed(), bit_codes(&combinations));
        Self { blocks, stages, fixed, idle, limited: Vec::new(), quantized, bit_codes }
    }

    /// Puts the costs under these metrics together for [`limited_costs`](Self::limited_costs).
    pub fn with_limited(mut self, metrics: Vec<Metric>) -> Self {
        for block in &mut self.blocks {
            let costs = |row: &Row| metrics.iter().map(|&metric| row.costs.get(metric)).collect::<Vec<_>>();
            block.limited = block.rows.iter().flat_map(costs).collect();
        }
        Self { limited: metrics, ..self }
    }

    /// Costs of a candidate under the limited metrics, in their order and filled up with zeros; `None` if one of its choices
    /// is not in the table.
    pub fn limited_costs(&self, candidate: &Candidate) -> Option<[f64; METRICS]> {
        let mut sums = [0.0; METRICS];
        sums.iter_mut().zip(&self.limited).for_each(|(sum, &metric)| *sum = self.fixed.get(metric));
        for (index, block) in candidate.subnet.active() {
            let bits = candidate.policy.as_ref().map(|policy| policy.blocks[index]);
            let costs = self.limited_row(index, block, bits)?;
            sums.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += cost);
        }
        Some(sums)
    }

    /// Costs of a block's choice under the limited metrics, in their order; `None` if it is not in the table.
    pub fn limited_row(&self, index: usize, block: Block, bits: Option<BlockBits>) -> Option<&[f64]> {
        let (row, count) = (self.position(index, block, bits)?, self.limited.len());
        self.blocks[index].limited.get(row * count..(row + 1) * count)
    }

    /// Whether candidates of this table carry a policy.
    pub fn quantized(&self) -> bool {
        self.quantized
    }

    /// Row of a block's choice, or `None` if it is not in the table.
    pub fn row(&self, index: usize, block: Block, bits: Option<BlockBits>) -> Option<&Row> {
        self.blocks[index].rows.get(self.position(index, block, bits)?)
    }

    fn position(&self, index: usize, block: Block, bits: Option<BlockBits>) -> Option<usize> {
        let table = &self.blocks[index];
        let code = bits.map_or(Some(0), |bits| self.bit_code(bits))?;
        let option = table.index.options.position(block)?;
        let row = *table.index.rows.get(option * table.index.combinations + code)?;
        (row != NONE).then_some(row as usize)
    }

    /// Additive costs of a candidate; NaN everywhere if one of its choices is not in the table.
    pub fn costs(&self, candidate: &Candidate) -> Costs {
        self.price(candidate).unwrap_or(Costs::UNKNOWN)
    }

    /// Additive costs of a candidate, or `None` if one of its choices is not in the table.
    pub fn price(&self, candidate: &Candidate) -> Option<Costs> {
        let mut sum = self.fixed;
        for (index, block) in candidate.subnet.active() {
            let bits = candidate.policy.as_ref().map(|policy| policy.blocks[index]);
            sum.add(&self.row(index, block, bits)?.costs);
        }
        Some(sum)
    }

    fn bit_code(&self, bits: BlockBits) -> Option<usize> {
        let code = *self.bit_codes.get(pack(bits))?;
        (code != NONE_SHORT).then_some(code as usize)
    }
}

impl OptionIndex {
    fn new(options: &Options) -> Self {
        match options {
            Options::List(blocks) => Self::List(blocks.clone()),
            Options::Grid { kernels, widths } => {
                Self::Grid { kernels: inverse(kernels), widths: inverse(widths), width_count: widths.len() }
            }
        }
    }

    fn position(&self, block: Block) -> Option<usize> {
        match self {
            Self::List(blocks) => blocks.iter().position(|&other| other == block),
            Self::Grid { kernels, widths, width_count } => {
                let (kernel, width) = (*kernels.get(block.kernel)?, *widths.get(block.width)?);
                let known = kernel != NONE_SHORT && width != NONE_SHORT;
                known.then_some(kernel as usize * width_count + width as usize)
            }
        }
    }
}

fn inverse(values: &[usize]) -> Vec<u16> {
    let mut positions = vec![NONE_SHORT; values.iter().max().map_or(0, |max| max + 1)];
    values.iter().enumerate().for_each(|(position, &value)| positions[value] = position as u16);
    positions
}

/// Every bit combination that is legal with some kernel; a single `None` in a full-precision space.
fn bit_combinations(space: &SearchSpace) -> Vec<Option<BlockBits>> {
    let Some(bits) = space.bits() else { return vec![None] };
    let mut all: Vec<BlockBits> = Vec::new();
    for block in space.blocks() {
        for option in block.options.all() {
            for &combination in bits.legal(option.kernel) {
                if let Err(place) = all.binary_search(&combination) {
                    all.insert(place, combination);
                }
            }
        }
    }
    all.into_iter().map(Some).collect()
}

/// Position of every combination, by its packed fields.
fn bit_codes(combinations: &[Option<BlockBits>]) -> Vec<u16> {
    let mut codes = vec![NONE_SHORT; 1 << 16];
    for (position, combination) in combinations.iter().enumerate() {
        if let Some(bits) = combination {
            codes[pack(*bits)] = position as u16;
        }
    }
    codes
}

/// Four bits per field: widths up to 15 fit; wider ones are never in the table and clash with none of it.
fn pack(bits: BlockBits) -> usize {
    bits.fields().into_iter().fold(0, |code, field| code << 4 | usize::from(field.min(15)))
}

fn block_table(
    space: &SearchSpace,
    index: usize,
    combinations: &[Option<BlockBits>],
    prices: &dyn AdditiveCosts,
    filter: Filter<'_>,
) -> BlockTable {
    let choices = &space.blocks()[index];
    let options = choices.options.all();
    let mut rows = Vec::new();
    let mut positions = vec![NONE; options.len() * combinations.len()];
    for (option, &block) in options.iter().enumerate() {
        let legal = legal_bits(space, block);
        let prior = 1.0 / (options.len() * legal.len().max(1)) as f64;
        for bits in legal.into_iter().filter(|&bits| filter(index, Some(block), bits)) {
            if let Ok(code) = combinations.binary_search(&bits) {
                positions[option * combinations.len() + code] = rows.len() as u32;
                rows.push(Row { block, bits, prior, costs: prices.block(index, block, bits) });
            }
        }
    }
    normalise(&mut rows);
    let index_of_rows = Index {
        options: OptionIndex::new(&choices.options),
        combinations: combinations.len(),
        rows: positions,
    };
    BlockTable {
        rows,
        skip: skip_probability(space, index, filter),
        limited: Vec::new(),
        index: index_of_rows,
    }
}

fn legal_bits(space: &SearchSpace, block: Block) -> Vec<Option<BlockBits>> {
    match space.bits() {
        Some(bits) => bits.legal(block.kernel).iter().copied().map(Some).collect(),
        None => vec![None],
    }
}

fn normalise(rows: &mut [Row]) {
    let sum: f64 = rows.iter().map(|row| row.prior).sum();
    rows.iter_mut().for_each(|row| row.prior /= sum);
}

fn skip_probability(space: &SearchSpace, index: usize, filter: Filter<'_>) -> f64 {
    let choices = &space.blocks()[index];
    let any = space.stages()[choices.stage].depth == Depth::AnyBlock;
    let may = any && choices.skippable && filter(index, None, None);
    if may { 1.0 / (choices.options.len() + 1) as f64 } else { 0.0 }
}

fn stage_tables(space: &SearchSpace, blocks: &[BlockTable], filter: Filter<'_>) -> Vec<StageTable> {
    let possible = |stage: &sartor_space::Stage, depth: usize| {
        stage.range().all(|index| {
            let active = index - stage.first_block < depth;
            if active { !blocks[index].rows.is_empty() } else { filter(index, None, None) }
        })
    };
    let table = |stage: &sartor_space::Stage| StageTable {
        blocks: stage.range(),
        depths: match &stage.depth {
            Depth::Prefix(depths) => {
                Some(depths.iter().copied().filter(|&depth| possible(stage, depth)).collect())
            }
            Depth::AnyBlock => None,
        },
    };
    space.stages().iter().map(table).collect()
}
