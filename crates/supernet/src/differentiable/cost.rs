//! # Cost: the price of a controller and its gradient
//!
//! Gong and others, equations 2 and 7: the loss gets `λ [E J(α) − c]₊`. Two gradients of E J:
//!
//! - **REINFORCE** (eq. 7), for any J: `∇E J ≈ 1/k Σᵢ (J(αᵢ) − bᵢ) ∇ log π(αᵢ)` with k samples αᵢ. For independent
//!   choices `∇ log π` is one-hot minus probability. The baseline bᵢ is the mean of the *other* samples (Kool and
//!   others, "Buy 4 REINFORCE samples, get a baseline for free"): it leaves the expectation as it is and takes most of
//!   the variance. The paper has none.
//! - **Expectation**, for a J that is a sum over blocks, as every cost table's is: `E J = fixed + Σ_b P(b is there) Σ
//!   Π p · J_b`, exact, and its gradient too (ProxylessNAS, equation 2, is the same with one choice a block).
//!
//! Differs from the paper: J is in percent of a reference, the largest network at 8 bits, so that λ means the same on
//! every chip and space. The paper's networks cost 9 to 35 mJ, so its λ = 0.1 and 0.01 stay of the right size.

use sartor_space::{Block, BlockBits, Candidate};

use super::choices::{Choice, Choices};
use super::gumbel::probabilities;

/// What a search is told about cost.
#[derive(Clone, Copy)]
pub struct Costs<'a> {
    /// What every candidate pays.
    pub fixed: f64,
    /// What a block pays.
    pub block: &'a dyn Fn(usize, Block, Option<BlockBits>) -> f64,
    /// What a candidate pays: the paper's hardware environment.
    pub whole: &'a dyn Fn(&Candidate) -> f64,
    /// The cost that counts as 100 percent.
    pub reference: f64,
}

/// One choice of everything in a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// Places of the options in y, one for each of the block's own choices.
    pub options: Vec<usize>,
    /// Its cost.
    pub cost: f64,
}

/// The expected cost as a function of the probabilities.
#[derive(Debug, Clone)]
pub struct Expected {
    /// What every candidate pays.
    pub fixed: f64,
    /// Per block; empty for a block that the pinned architecture skips.
    pub blocks: Vec<Vec<Term>>,
    looked_up: u64,
}

impl Expected {
    /// Asks for the cost of every choice of every block, once.
    pub fn new(choices: &Choices, costs: &Costs<'_>) -> Self {
        let count = choices.space().blocks().len();
        let blocks: Vec<Vec<Term>> = (0..count).map(|index| terms(choices, costs, index)).collect();
        let looked_up = blocks.iter().map(|terms| terms.len() as u64).sum();
        Self { fixed: costs.fixed, blocks, looked_up }
    }

    /// How often a cost was asked for.
    pub fn looked_up(&self) -> u64 {
        self.looked_up
    }

    /// At least what the most expensive candidate costs.
    pub fn most(&self) -> f64 {
        let dearest = |terms: &Vec<Term>| terms.iter().map(|term| term.cost).fold(0.0, f64::max);
        self.fixed + self.blocks.iter().map(dearest).sum::<f64>()
    }

    /// E J, and its gradient with respect to the probabilities `p` of all options.
    pub fn value(&self, choices: &Choices, p: &[f32]) -> (f64, Vec<f32>) {
        let coefficients = choices.coefficients_of(p);
        let (mut total, mut gradient) = (self.fixed, vec![0.0f64; p.len()]);
        let mut presence = vec![0.0f32; choices.coefficients()];
        for (index, terms) in self.blocks.iter().enumerate() {
            let Some(places) = choices.block(index) else { continue };
            let active = f64::from(coefficients[places.presence]);
            let inside: f64 = terms.iter().map(|term| add_term(term, p, active, &mut gradient)).sum();
            total += active * inside;
            presence[places.presence] = inside as f32;
        }
        let through_presence = choices.backward(&presence);
        let sum = |(own, presence): (f64, f32)| (own + f64::from(presence)) as f32;
        (total, gradient.into_iter().zip(through_presence).map(sum).collect())
    }
}

/// The term's share of its block's expected cost; adds its gradient, times `active`.
fn add_term(term: &Term, p: &[f32], active: f64, gradient: &mut [f64]) -> f64 {
    for (at, &option) in term.options.iter().enumerate() {
        let others = term.options.iter().enumerate().filter(|&(other, _)| other != at);
        let product: f64 = others.map(|(_, &other)| f64::from(p[other])).product();
        gradient[option] += active * term.cost * product;
    }
    term.cost * term.options.iter().map(|&option| f64::from(p[option])).product::<f64>()
}

fn terms(choices: &Choices, costs: &Costs<'_>, index: usize) -> Vec<Term> {
    let mine = choices.all().iter().filter(|choice| choice.block == Some(index));
    let mut combinations = vec![vec![]];
    for choice in mine {
        let extend = |options: &Vec<usize>| -> Vec<Vec<usize>> {
            choice.range.clone().map(|option| [&options[..], &[option]].concat()).collect()
        };
        combinations = combinations.iter().flat_map(extend).collect();
    }
    // An operation that is none costs nothing.
    let cost = |options: &[usize]| {
        choices.block_with(index, options).map_or(0.0, |(block, bits)| (costs.block)(index, block, bits))
    };
    let priced = |options: Vec<usize>| Term { cost: cost(&options), options };
    if choices.block(index).is_none() {
        return vec![];
    }
    combinations.into_iter().map(priced).collect()
}

/// The REINFORCE estimate of ∇E J with respect to the logits, of samples (one option per choice) and their costs.
pub fn reinforce(choices: &[Choice], logits: &[f32], samples: &[(Vec<usize>, f64)]) -> Vec<f32> {
    let (p, count) = (probabilities(choices, logits), samples.len() as f64);
    let total: f64 = samples.iter().map(|(_, cost)| cost).sum();
    let mut gradient = vec![0.0f64; logits.len()];
    for (chosen, cost) in samples {
        let baseline = if samples.len() > 1 { (total - cost) / (count - 1.0) } else { 0.0 };
        let advantage = (cost - baseline) / count;
        for (choice, &option) in choices.iter().zip(chosen) {
            gradient[choice.range.start + option] += advantage;
            choice.range.clone().for_each(|i| gradient[i] -= advantage * f64::from(p[i]));
        }
    }
    gradient.into_iter().map(|g| g as f32).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::differentiable::choices::Pinned;
    use crate::differentiable::gumbel;
    use crate::random::{Purpose, stream};
    use sartor_space::SearchSpace;

    /// A made-up price: multiplications times bits.
    pub fn price(index: usize, block: Block, bits: Option<BlockBits>) -> f64 {
        let bits = bits.unwrap_or(BlockBits::uniform(32));
        let [pw, pa, dw, da] = bits.fields().map(f64::from);
        let width = block.width as f64;
        width * (pw * pa + (block.kernel * block.kernel) as f64 * dw * da / 20.0) * (1.0 + index as f64 / 8.0)
    }

    pub fn whole(candidate: &Candidate) -> f64 {
        let bits = |index: usize| candidate.policy.as_ref().map(|policy| policy.blocks[index]);
        100.0 + candidate.subnet.active().map(|(index, block)| price(index, block, bits(index))).sum::<f64>()
    }

    pub const COSTS: Costs<'static> = Costs { fixed: 100.0, block: &price, whole: &whole, reference: 1e5 };

    fn setting(name: &str) -> (Choices, Vec<f32>) {
        let space = SearchSpace::preset(name).unwrap();
        let operations = name.starts_with("proxyless");
        let choices = Choices::new(&space, &Pinned { operations, ..Pinned::default() }).unwrap();
        let logits = (0..choices.options()).map(|i| (i as f32 * 1.7).sin()).collect();
        (choices, logits)
    }

    fn samples(choices: &Choices, logits: &[f32], count: usize, seed: u64) -> Vec<(Vec<usize>, f64)> {
        let mut rng = stream(seed, Purpose::Controller, [0; 3]);
        let mut one = || {
            let chosen = gumbel::hard(choices.all(), logits, &gumbel::noise(logits.len(), &mut rng));
            let cost = whole(&choices.candidate(&chosen).unwrap());
            (chosen, cost)
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn the_expectation_is_the_mean_of_samples() {
        for name in ["gong-28", "quickstart", "proxyless-28"] {
            let (choices, logits) = setting(name);
            let expected = Expected::new(&choices, &COSTS);
            let p = probabilities(choices.all(), &logits);
            let (value, _) = expected.value(&choices, &p);
            let costs: Vec<f64> =
                samples(&choices, &logits, 4000, 1).into_iter().map(|(_, cost)| cost).collect();
            let mean = costs.iter().sum::<f64>() / 4000.0;
            let variance = costs.iter().map(|cost| (cost - mean).powi(2)).sum::<f64>() / 4000.0;
            let error = (variance / 4000.0).sqrt();
            assert!((value - mean).abs() < 4.0 * error, "{name}: {value} against {mean} ± {error}");
        }
    }

    #[test]
    fn the_gradient_is_a_finite_difference() {
        let (choices, logits) = setting("quickstart");
        let expected = Expected::new(&choices, &COSTS);
        let p = probabilities(choices.all(), &logits);
        let (value, gradient) = expected.value(&choices, &p);
        for i in (0..p.len()).step_by(7) {
            let mut moved = p.clone();
            moved[i] += 0.25;
            // E J is linear in each single probability.
            let numeric = (expected.value(&choices, &moved).0 - value) / 0.25;
            let scale = numeric.abs().max(value * 1e-3);
            assert!((numeric - f64::from(gradient[i])).abs() < 1e-3 * scale, "{i}");
        }
    }

    #[test]
    fn reinforce_has_the_right_mean_and_the_baseline_less_variance() {
        let (choices, logits) = setting("gong-28");
        let expected = Expected::new(&choices, &COSTS);
        let p = probabilities(choices.all(), &logits);
        let (_, gradient) = expected.value(&choices, &p);
        let exact = gumbel::backward(choices.all(), &p, &gradient, 1.0);
        let estimate = |seed, baseline: bool| -> Vec<f64> {
            let samples = samples(&choices, &logits, 400, seed);
            let of_one =
                |sample: &(Vec<usize>, f64)| reinforce(choices.all(), &logits, std::slice::from_ref(sample));
            if baseline {
                return reinforce(choices.all(), &logits, &samples).into_iter().map(f64::from).collect();
            }
            let mut sum = vec![0.0; logits.len()];
            for sample in &samples {
                sum.iter_mut().zip(of_one(sample)).for_each(|(sum, g)| *sum += f64::from(g) / 400.0);
            }
            sum
        };
        let error = |baseline| -> f64 {
            let of = |seed| -> f64 {
                let estimate = estimate(seed, baseline);
                estimate.iter().zip(&exact).map(|(e, x)| (e - f64::from(*x)).powi(2)).sum()
            };
            (0..8).map(of).sum::<f64>() / 8.0
        };
        let size: f64 = exact.iter().map(|x| f64::from(*x).powi(2)).sum();
        let (with, without) = (error(true), error(false));
        assert!(with < 0.5 * size, "{with} against {size}");
        assert!(with < 0.5 * without, "the baseline: {with} against {without}");
    }
}
