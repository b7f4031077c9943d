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

use sartor_space::{Block, BlockBits, Candidate, Depth, Options, QuantPolicy, SearchSpace, Subnet};

use crate::error::{Result, SupernetError};

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
    /// Bit-widths of the four fields of [`BlockBits::fields`]; empty at full precision.
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
    pub(super) fn shapes(&self, coefficients: &[f32]) -> Vec<Option<Block>> {
        self.blocks.iter().map(|places| self.block_of(places.as_ref()?, coefficients)).collect()
    }

    /// The block with the larger kernel and the larger width of two; it need not be in the space.
    pub(super) fn covering(&self, one: Block, other: Block) -> Block {
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

    fn coefficient(&mut self) -> usize {
        self.coefficients += 1;
        self.coefficients - 1
    }

    fn add(&mut self, name: String, block: Option<usize>, options: Vec<Vec<usize>>) {
        if let [only] = &options[..] {
            return self.constants.extend(only);
        }
        let start = self.sets.len();
        self.all.push(Choice { name, range: start..start + options.len(), block });
        self.sets.extend(options);
    }

    /// One coefficient for each block's being there, and the depths of stages that have several.
    fn add_depths(&mut self, searched: bool) {
        for (index, active) in self.base.blocks.clone().iter().enumerate() {
            if active.is_some() {
                let active = self.coefficient();
                self.blocks[index] = Some(BlockPlaces { active, presence: active, ..BlockPlaces::default() });
            }
        }
        for (number, stage) in self.space.stages().to_vec().iter().enumerate() {
            let places: Vec<usize> = stage.range().filter_map(|i| Some(self.block(i)?.active)).collect();
            let depths = match &stage.depth {
                Depth::Prefix(depths) if searched => depths.clone(),
                Depth::Prefix(_) => vec![places.len()],
                Depth::AnyBlock => continue,
            };
            let options = depths.iter().map(|&depth| places[..depth.min(places.len())].to_vec()).collect();
            self.add(format!("stage {number} depth"), None, options);
        }
    }

    fn add_block(&mut self, index: usize, searched: bool) {
        let (Some(block), Some(mut places)) = (self.base.blocks[index], self.blocks[index].clone()) else {
            return;
        };
        let choices = self.space.blocks()[index].clone();
        let any = self.space.stages()[choices.stage].depth == Depth::AnyBlock;
        if any {
            let skip = if searched && choices.skippable { vec![vec![]] } else { vec![] };
            self.add(format!("block {index} presence"), None, [vec![vec![places.active]], skip].concat());
        }
        let options = if searched { choices.options } else { Options::List(vec![block]) };
        self.add_options(index, &options, &mut places);
        self.add_bits(index, block, &mut places);
        self.blocks[index] = Some(places);
    }

    /// One choice of everything: kernel and width, or nothing.
    fn add_operations(&mut self, index: usize) {
        let (Some(block), Some(mut places)) = (self.base.blocks[index], self.blocks[index].clone()) else {
            return;
        };
        let choices = self.space.blocks()[index].clone();
        let all = choices.options.all();
        self.add_shapes(&all, &mut places);
        let any = self.space.stages()[choices.stage].depth == Depth::AnyBlock;
        if any {
            places.presence = self.coefficient();
            self.constants.push(places.presence);
        }
        let own = any.then_some(places.active);
        let set = |block: &Block| {
            let shape = [of(&places.kernels, block.kernel), of(&places.widths, block.width)];
            own.into_iter().chain(shape).collect()
        };
        let skip = if any && choices.skippable { vec![vec![]] } else { vec![] };
        let options = all.iter().map(set).chain(skip).collect();
        self.add(format!("block {index} operation"), Some(index), options);
        self.add_bits(index, block, &mut places);
        self.blocks[index] = Some(places);
    }

    fn add_shapes(&mut self, all: &[Block], places: &mut BlockPlaces) {
        let mut place = |values: Vec<usize>| -> Vec<(usize, usize)> {
            distinct(values).into_iter().map(|value| (value, self.coefficient())).collect()
        };
        places.kernels = place(all.iter().map(|block| block.kernel).collect());
        places.widths = place(all.iter().map(|block| block.width).collect());
    }

    fn add_options(&mut self, index: usize, options: &Options, places: &mut BlockPlaces) {
        self.add_shapes(&options.all(), places);
        if let Options::List(blocks) = options {
            let set =
                |block: &Block| vec![of(&places.kernels, block.kernel), of(&places.widths, block.width)];
            return self.add(
                format!("block {index} operation"),
                Some(index),
                blocks.iter().map(set).collect(),
            );
        }
        for (name, values) in [("kernel", &places.kernels), ("width", &places.widths)] {
            let options = values.iter().map(|&(_, place)| vec![place]).collect();
            self.add(format!("block {index} {name}"), Some(index), options);
        }
    }

    fn add_bits(&mut self, index: usize, block: Block, places: &mut BlockPlaces) {
        let Some(bits) = self.space.bits().cloned().filter(|_| self.quantized()) else { return };
        let fixed = match self.precision {
            Precision::Fixed(width) => bits.nearest(block.kernel, BlockBits::uniform(width)),
            _ => None,
        };
        for slot in bits.slots() {
            let values = match fixed {
                Some(fixed) => vec![fixed.fields()[slot.fields[0]]],
                None => slot.choices.clone(),
            };
            let mut options = vec![vec![]; values.len()];
            for &field in &slot.fields {
                for (option, &value) in options.iter_mut().zip(&values) {
                    let place = self.coefficient();
                    places.bits[field].push((value, place));
                    option.push(place);
                }
            }
            let name = ["1×1 weights", "1×1 inputs", "depthwise weights", "depthwise inputs"][slot.fields[0]];
            self.add(format!("block {index} bits of {name}"), Some(index), options);
        }
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

fn of(values: &[(usize, usize)], wanted: usize) -> usize {
    values.iter().find(|(value, _)| *value == wanted).map_or(0, |&(_, place)| place)
}

fn distinct(mut values: Vec<usize>) -> Vec<usize> {
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(name: &str) -> SearchSpace {
        SearchSpace::preset(name).unwrap()
    }

    #[test]
    fn gong_decides_five_things_a_block() {
        let choices = Choices::new(&preset("gong-28"), &Pinned::default()).unwrap();
        let of_block = |index: usize| -> Vec<(String, usize)> {
            let mine =
                choices.all().iter().filter(|choice| choice.name.starts_with(&format!("block {index} ")));
            mine.map(|choice| (choice.name[8..].to_string(), choice.range.len())).collect()
        };
        let bits = [("bits of 1×1 weights".to_string(), 4), ("bits of depthwise weights".to_string(), 4)];
        let shape = [("kernel".to_string(), 3), ("width".to_string(), 3)];
        assert_eq!(of_block(0), [&shape[..], &bits].concat(), "changes the shape");
        assert_eq!(of_block(2), [&[("presence".to_string(), 2)], &shape[..], &bits].concat());
    }

    #[test]
    fn proxyless_chooses_among_operations() {
        let pinned = Pinned { precision: Precision::Full, operations: true, ..Pinned::default() };
        let choices = Choices::new(&preset("proxyless"), &pinned).unwrap();
        let counts: Vec<usize> = choices.all().iter().map(|choice| choice.range.len()).collect();
        assert_eq!(counts.len(), 21);
        assert_eq!(counts.iter().filter(|&&count| count == 7).count(), 15);
        let skipped = choices.candidate(&counts.iter().map(|count| count - 1).collect::<Vec<_>>()).unwrap();
        assert_eq!(skipped.subnet.active().count(), 6);
    }

    #[test]
    fn any_options_make_a_candidate_of_the_space() {
        for name in ["gong-28", "quickstart", "proxyless-28", "apq"] {
            let space = preset(name);
            let ways = [Precision::Searched, Precision::Fixed(8), Precision::Full];
            for (precision, operations) in ways.into_iter().flat_map(|way| [(way, false), (way, true)]) {
                let choices = Choices::new(&space, &Pinned { subnet: None, precision, operations }).unwrap();
                for round in 0..7 {
                    let pick = |(at, choice): (usize, &Choice)| (at * 5 + round * 3) % choice.range.len();
                    let chosen: Vec<usize> = choices.all().iter().enumerate().map(pick).collect();
                    let candidate = choices.candidate(&chosen).unwrap();
                    assert_eq!(candidate.policy.is_some(), precision != Precision::Full);
                }
            }
        }
    }

    #[test]
    fn a_pinned_architecture_leaves_the_bits() {
        let space = preset("quickstart");
        let subnet = space.smallest();
        let pinned = Pinned { subnet: Some(subnet.clone()), ..Pinned::default() };
        let choices = Choices::new(&space, &pinned).unwrap();
        assert_eq!(choices.all().len(), 4 * subnet.active().count());
        let chosen = vec![0; choices.all().len()];
        let candidate = choices.candidate(&chosen).unwrap();
        assert_eq!(candidate.subnet, subnet);
        let narrowest = candidate.policy.unwrap().blocks[0];
        assert_eq!(narrowest, BlockBits::uniform(2));
    }

    #[test]
    fn gradients_come_back_by_the_transpose() {
        let choices = Choices::new(&preset("quickstart"), &Pinned::default()).unwrap();
        let y: Vec<f32> = (0..choices.options()).map(|i| (i as f32 * 0.37).sin()).collect();
        let upstream: Vec<f32> = (0..choices.coefficients()).map(|i| (i as f32 * 0.73).cos()).collect();
        let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum() };
        let zero = choices.coefficients_of(&vec![0.0; y.len()]);
        let forward = dot(&choices.coefficients_of(&y), &upstream) - dot(&zero, &upstream);
        assert!((forward - dot(&y, &choices.backward(&upstream))).abs() < 1e-3);
    }
}
