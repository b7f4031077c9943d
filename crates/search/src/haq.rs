//! # HAQ: bit-widths chosen by an agent
//!
//! Wang and others, "HAQ: Hardware-Aware Automated Quantization with Mixed Precision", CVPR 2019: a DDPG agent walks
//! over the layers of a fixed network and gives each its bits, weights and activations by turns. State (their equations
//! 1 and 2), ten numbers: layer, input and output channels, kernel, stride, feature size, parameters, depthwise or
//! not, weight or activation, last action. An action a gives `round(b_min − 0.5 + a·(b_max − b_min + 1))` bits (equation
//! 3). If the policy exceeds the budget, bits are lowered layer by layer in turn until it does not (section 3.3). Reward
//! (equation 6): `λ·(accuracy − accuracy of the original)`, λ = 0.1.
//!
//! What differs: the unit is a block's choice (both 1×1 convolutions share theirs), and bits are those of the space: the
//! offer nearest to the formula's number. A combination that the space forbids becomes the nearest allowed one.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

use crate::amc::check_feasible;
use crate::ddpg::{self, Ddpg};
use crate::domain::Domain;
use crate::episodes::{self, Episode, Found, Schedule, Walk};
use crate::error::SearchError;

/// Numbers that the agent sees.
const STATES: usize = 10;
/// Passes of lowering: more than there are widths from 1 to 32 bits on any chip's list.
const MOST_PASSES: usize = 32;

/// Settings; the paper's by default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Policies scored.
    pub schedule: Schedule,
    /// λ of the reward.
    pub reward_scale: f64,
    /// Accuracy of the network before it is quantized further.
    pub original: f64,
    /// The agent.
    pub agent: ddpg::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        let schedule = Schedule { episodes: 600, warm_up: 20 };
        Self { schedule, reward_scale: 0.1, original: 0.0, agent: ddpg::Settings::default() }
    }
}

/// One decision: a slot of a block's bits.
struct Decision {
    index: usize,
    block: Block,
    /// Positions in `BlockBits::fields`.
    fields: Vec<usize>,
    /// Widths on offer, ascending.
    choices: Vec<u8>,
    fixed: [f32; 9],
}

/// Chooses the bits of `base` (its architecture stays) within `domain`'s budget; `score` gives a candidate's
/// accuracy.
///
/// # Errors
/// [`SearchError::Infeasible`] when lowering the bits does not reach the budget; [`SearchError::BadSetting`] in a space
/// without bits; whatever `score` fails with.
pub fn quantize(
    domain: &Domain<'_>,
    base: &Candidate,
    settings: &Settings,
    seed: u64,
    score: &mut dyn FnMut(&Candidate) -> Result<f64, SearchError>,
    observe: &mut dyn FnMut(&Episode),
) -> Result<Found, SearchError> {
    let decisions = decisions(domain.space(), base)?;
    let cheapest = lowered(domain, base)?;
    check_feasible(domain, &cheapest)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut agent = Ddpg::new(settings.agent, STATES, &mut rng)?;
    let reward = |score: f64| settings.reward_scale * (score - settings.original);
    let decide = |walk: &mut Walk<'_>| decide(domain, (base, &cheapest), &decisions, walk);
    episodes::run((domain, settings.schedule), (&mut agent, &mut rng), decide, score, reward, observe)
}

/// `base` with its bits lowered in turn until the budget is met or nothing helps: whether it meets the budget decides
/// if the search can start.
///
/// # Errors
/// [`SearchError::BadSetting`] in a space without bits.
pub fn lowered(domain: &Domain<'_>, base: &Candidate) -> Result<Candidate, SearchError> {
    let decisions = decisions(domain.space(), base)?;
    let mut candidate = base.clone();
    lower_in_turn(domain, &decisions, &mut candidate);
    Ok(candidate)
}

/// One episode: bits for every slot, then lowered in turn until the budget is met; where that gets stuck, the policy
/// that is known to meet it.
fn decide(
    domain: &Domain<'_>,
    (base, cheapest): (&Candidate, &Candidate),
    decisions: &[Decision],
    walk: &mut Walk<'_>,
) -> Result<Candidate, SearchError> {
    let mut candidate = base.clone();
    let mut last = 1.0;
    for decision in decisions {
        let mut state: Vec<f32> = decision.fixed.to_vec();
        state.push(last as f32);
        last = walk.act(state);
        decision.set(domain.space(), &mut candidate, decision.rounded(last));
    }
    lower_in_turn(domain, decisions, &mut candidate);
    let within = domain.budget().allows(&domain.costs(&candidate));
    Ok(if within { candidate } else { cheapest.clone() })
}

/// Lowers one slot after the other by one width until the budget is met or nothing helps. A step that takes the costs
/// further from the budget is taken back: on some chips fewer bits cost more.
fn lower_in_turn(domain: &Domain<'_>, decisions: &[Decision], candidate: &mut Candidate) {
    let excess_of = |candidate: &Candidate| domain.budget().excess(&domain.costs(candidate));
    let mut excess = excess_of(candidate);
    for _ in 0..MOST_PASSES {
        let before = candidate.clone();
        for decision in decisions {
            if excess == 0.0 {
                return;
            }
            excess = decision.lower_if_cheaper(domain.space(), candidate, (excess, &excess_of));
        }
        if *candidate == before {
            return;
        }
    }
}

fn decisions(space: &SearchSpace, base: &Candidate) -> Result<Vec<Decision>, SearchError> {
    let no_bits =
        SearchError::BadSetting { setting: "bits of the space", value: 0.0, expected: "at least one" };
    let bits = space.bits().filter(|_| base.policy.is_some()).ok_or(no_bits)?;
    let count = base.subnet.active().count().max(1);
    let mut all = Vec::new();
    for (place, (index, block)) in base.subnet.active().enumerate() {
        for slot in bits.slots() {
            let fixed = features(space, (index, block), place as f32 / count as f32, &slot.fields);
            all.push(Decision {
                index,
                block,
                fields: slot.fields.clone(),
                choices: slot.choices.clone(),
                fixed,
            });
        }
    }
    Ok(all)
}

fn features(space: &SearchSpace, (index, block): (usize, Block), place: f32, fields: &[usize]) -> [f32; 9] {
    let choices = &space.blocks()[index];
    let depthwise = fields.contains(&2) || fields.contains(&3);
    let weight = fields.contains(&0) || fields.contains(&2);
    let parameters = match depthwise {
        true => block.width * block.kernel * block.kernel,
        false => block.width * (choices.in_channels + choices.out_channels),
    };
    let scaled = |count: usize, most: f32| (1.0 + count as f32).log2() / most;
    [
        place,
        scaled(choices.in_channels, 12.0),
        scaled(block.width, 12.0),
        if depthwise { block.kernel as f32 / 7.0 } else { 1.0 / 7.0 },
        choices.stride as f32 / 2.0,
        choices.input_size as f32 / space.input().size.max(1) as f32,
        scaled(parameters, 24.0),
        f32::from(u8::from(depthwise)),
        f32::from(u8::from(weight)),
    ]
}

impl Decision {
    /// The width of an action (equation 3), the nearest on offer; the wider of equals.
    fn rounded(&self, action: f64) -> u8 {
        let (least, most) = (self.choices[0], self.choices[self.choices.len() - 1]);
        let wanted = f64::from(least) - 0.5 + action * f64::from(most - least + 1);
        let wanted = wanted.round().clamp(f64::from(least), f64::from(most));
        let distance = |bits: u8| (f64::from(bits) - wanted).abs();
        let nearest = self.choices.iter().copied().rev().min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        nearest.unwrap_or(most)
    }

    fn current(&self, candidate: &Candidate) -> u8 {
        let fields = candidate.policy.as_ref().map(|policy| policy.blocks[self.index].fields());
        fields.map_or(0, |fields| fields[self.fields[0]])
    }

    fn set(&self, space: &SearchSpace, candidate: &mut Candidate, bits: u8) {
        let (Some(policy), Some(choices)) = (&mut candidate.policy, space.bits()) else { return };
        let mut fields = policy.blocks[self.index].fields();
        self.fields.iter().for_each(|&field| fields[field] = bits);
        let wanted = BlockBits::from_fields(fields);
        policy.blocks[self.index] = choices.nearest(self.block.kernel, wanted).unwrap_or(wanted);
    }

    /// One width less, if the space allows it and the excess does not grow; gives the excess afterwards.
    fn lower_if_cheaper(
        &self,
        space: &SearchSpace,
        candidate: &mut Candidate,
        (excess, excess_of): (f64, &dyn Fn(&Candidate) -> f64),
    ) -> f64 {
        let current = self.current(candidate);
        let Some(&bits) = self.choices.iter().rev().find(|&&bits| bits < current) else { return excess };
        let before = candidate.clone();
        self.set(space, candidate, bits);
        let now = excess_of(candidate);
        if self.current(candidate) < current && now <= excess {
            return now;
        }
        *candidate = before;
        excess
    }
}
