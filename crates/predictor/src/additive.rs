//! Predictions that add up over blocks.

use sartor_space::{Block, BlockBits, Encoding};

use crate::predictor::{Precision, Predictor};
use crate::process::{Method, Process};

/// A predictor whose accuracy is a never falling function of a sum over the active blocks: ridge regression.
#[derive(Debug, Clone)]
pub struct Additive<'a> {
    process: &'a Process,
    encoding: Encoding,
    constant: f64,
    /// One per feature, architecture first.
    weights: Vec<f64>,
}

impl Predictor {
    /// This predictor as a sum over blocks, if it is one: ridge regression on mixed-precision pairs.
    pub fn additive(&self) -> Option<Additive<'_>> {
        let process = self.process.as_ref().filter(|process| process.method == Method::Ridge)?;
        let encoding = self.space().encoding().clone();
        let (architecture, policy) = (encoding.architecture_len(), encoding.policy_len());
        let (constant, weights) = process.process.linear()?;
        let groups = process.process.groups();
        let fits = |index: usize, length: usize| groups.get(index).is_some_and(|group| group.len() == length);
        if self.precision() != Precision::Mixed || !fits(0, architecture) || !fits(BITS, policy) {
            return None;
        }
        let weights = [&weights[groups[0].clone()], &weights[groups[BITS].clone()]].concat();
        Some(Additive { process, encoding, constant, weights })
    }
}

/// Place of the one-hot bits among the groups of a description.
const BITS: usize = 4;

impl Additive<'_> {
    /// What every candidate starts from.
    pub fn constant(&self) -> f64 {
        self.constant
    }

    /// What an active block adds.
    pub fn block(&self, index: usize, block: Block, bits: Option<BlockBits>) -> f64 {
        let shift = self.encoding.architecture_len() as u32;
        let weight = |feature: u32| self.weights[feature as usize];
        let architecture: f64 = self.encoding.block_features(index, block).map(weight).sum();
        let policy =
            |bits| self.encoding.bit_features(index, bits).map(|bit| weight(bit + shift)).sum::<f64>();
        architecture + bits.map_or(0.0, policy)
    }

    /// The accuracy (0–1) that a sum stands for.
    pub fn accuracy(&self, sum: f64) -> f64 {
        self.process.process.accuracy(sum)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use sartor_space::SearchSpace;

    use crate::{FitSettings, Method, MlpSettings, Pairs, Predictor};

    const TOLERANCE: f64 = 1e-9;

    #[test]
    fn the_sum_over_blocks_is_the_prediction() {
        let space = SearchSpace::preset("quickstart").expect("preset");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut pairs = Pairs::default();
        for _ in 0..60 {
            let candidate = space.random_candidate(&mut rng);
            let widths: f64 = candidate.subnet.active().map(|(_, block)| block.width as f64).sum();
            let bits = candidate.policy.iter().flat_map(|policy| &policy.blocks);
            let bits: f64 = bits.map(|bits| f64::from(bits.pointwise_weight)).sum();
            pairs.push(candidate, 0.5 + 1e-4 * widths + 1e-3 * bits);
        }
        let mlp = MlpSettings { hidden: 8, epochs: 1, ..MlpSettings::default() };
        let settings = FitSettings { members: 1, mlp };
        let fit = |method| Predictor::fit_with(&space, &pairs, Some(method), &settings, 0).expect("fits");
        assert!(fit(Method::Process).additive().is_none());
        let ridge = fit(Method::Ridge);
        let additive = ridge.additive().expect("ridge regression adds up");
        for _ in 0..20 {
            let candidate = space.random_candidate(&mut rng);
            let policy = candidate.policy.as_ref().expect("bits");
            let blocks = candidate.subnet.active();
            let sum: f64 =
                blocks.map(|(index, block)| additive.block(index, block, Some(policy.blocks[index]))).sum();
            let expected = ridge.score(&[candidate]).expect("scores")[0];
            assert!((additive.accuracy(additive.constant() + sum) - expected).abs() < TOLERANCE);
        }
    }
}
