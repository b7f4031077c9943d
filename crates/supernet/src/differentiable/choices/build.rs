//! From a space to its choices: which there are, and which coefficients each of their options sets.

use sartor_space::{Block, BlockBits, Depth, Options};

use super::{BlockPlaces, Choice, Choices, Precision};

impl Choices {
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
    pub(super) fn add_depths(&mut self, searched: bool) {
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

    pub(super) fn add_block(&mut self, index: usize, searched: bool) {
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
    pub(super) fn add_operations(&mut self, index: usize) {
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

fn of(values: &[(usize, usize)], wanted: usize) -> usize {
    values.iter().find(|(value, _)| *value == wanted).map_or(0, |&(_, place)| place)
}

fn distinct(mut values: Vec<usize>) -> Vec<usize> {
    values.sort_unstable();
    values.dedup();
    values
}
