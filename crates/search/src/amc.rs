//! # AMC: channels pruned by an agent
//!
//! He and others, "AMC: AutoML for Model Compression and Acceleration on Mobile Devices", ECCV 2018: a DDPG agent walks
//! over the layers of a trained network and says for each what share of its channels is kept. State (their equation
//! 1): layer, output and input channels, height, width, stride, kernel, MACs here, MACs reduced so far, MACs of the
//! rest, last action. The budget is met by bounding the action (algorithm 1): a layer keeps at most so much that the
//! budget can still be met if everything after it is pruned as far as possible. The reward is the accuracy without
//! fine-tuning (resource-constrained compression, section 3.3).
//!
//! What differs: a block's expanded channels are the unit, because the 1×1 before and the depthwise after it share
//! them; shares are rounded to the widths of the space, whose first channels matter most since the supernet sorted
//! them by L1 norm, the importance that AMC prunes by. The budget may be any number of additive costs, not MACs alone.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_space::{Block, Candidate};

use crate::ddpg::{self, Ddpg};
use crate::domain::Domain;
use crate::episodes::{self, Episode, Found, Schedule, Walk};
use crate::error::SearchError;
use crate::metric::Metric;

/// Numbers that the agent sees.
const STATES: usize = 11;

/// Settings; the papers' by default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Networks pruned and scored; 100 with random actions, 300 that learn.
    pub schedule: Schedule,
    /// Least share of a block's channels that is kept.
    pub least_kept: f64,
    /// The agent.
    pub agent: ddpg::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        let schedule = Schedule { episodes: 400, warm_up: 100 };
        Self { schedule, least_kept: 0.2, agent: ddpg::Settings::default() }
    }
}

/// One active block of the network to be pruned.
struct Layer {
    index: usize,
    block: Block,
    /// Widths it may keep, ascending; the last is its own.
    widths: Vec<usize>,
    macs: f64,
    fixed: [f32; 6],
}

/// The network to be pruned.
struct Plan {
    layers: Vec<Layer>,
    least_kept: f64,
    macs: f64,
}

/// Prunes `base` (its kernels, depth and bits stay) until `domain`'s budget is met; `score` gives a candidate's
/// accuracy.
///
/// # Errors
/// [`SearchError::Infeasible`] when no pruning of `base` meets the budget; settings outside their domain; whatever
/// `score` fails with.
pub fn prune(
    domain: &Domain<'_>,
    base: &Candidate,
    settings: &Settings,
    seed: u64,
    score: &mut dyn FnMut(&Candidate) -> Result<f64, SearchError>,
    observe: &mut dyn FnMut(&Episode),
) -> Result<Found, SearchError> {
    let plan = Plan::new(domain, base, settings.least_kept);
    check_feasible(domain, &plan.narrowest(base))?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut agent = Ddpg::new(settings.agent, STATES, &mut rng)?;
    let decide = |walk: &mut Walk<'_>| Ok(plan.walk(domain, base, walk));
    episodes::run((domain, settings.schedule), (&mut agent, &mut rng), decide, score, |score| score, observe)
}

/// The narrowest network that pruning `base` can give: whether it meets a budget decides if any does.
pub fn narrowest(domain: &Domain<'_>, base: &Candidate, least_kept: f64) -> Candidate {
    Plan::new(domain, base, least_kept).narrowest(base)
}

/// Complains about the limit that a candidate exceeds most.
pub(crate) fn check_feasible(domain: &Domain<'_>, cheapest: &Candidate) -> Result<(), SearchError> {
    let violations = domain.budget().violations(&domain.costs(cheapest));
    let worst = violations.iter().max_by(|a, b| (a.value / a.limit).total_cmp(&(b.value / b.limit)));
    match worst {
        None => Ok(()),
        Some(worst) => {
            Err(SearchError::Infeasible { metric: worst.metric, limit: worst.limit, cheapest: worst.value })
        }
    }
}

impl Plan {
    fn new(domain: &Domain<'_>, base: &Candidate, least_kept: f64) -> Self {
        let blocks: Vec<(usize, Block)> = base.subnet.active().collect();
        let count = blocks.len();
        let layers: Vec<Layer> = blocks
            .into_iter()
            .enumerate()
            .map(|(place, (index, block))| layer(domain, base, (index, block), place as f32 / count as f32))
            .map(|layer| layer.cut(least_kept))
            .collect();
        let macs = layers.iter().map(|layer| layer.macs).sum();
        Self { layers, least_kept, macs }
    }

    fn narrowest(&self, base: &Candidate) -> Candidate {
        let mut candidate = base.clone();
        self.layers.iter().for_each(|layer| layer.set(&mut candidate, layer.widths[0]));
        candidate
    }

    /// One episode: every layer's action, bounded by what the rest can still save.
    fn walk(&self, domain: &Domain<'_>, base: &Candidate, walk: &mut Walk<'_>) -> Candidate {
        let mut candidate = self.narrowest(base);
        let (mut reduced, mut rest, mut last) = (0.0, self.macs, 1.0);
        for layer in &self.layers {
            rest -= layer.macs;
            let kept = self.kept(walk.act(layer.state(self.macs, (reduced, rest), last)));
            let width = layer.bounded(domain, &mut candidate, layer.nearest(kept));
            last = width as f64 / layer.block.width as f64;
            walk.corrected(self.action(last));
            reduced += layer.macs * (1.0 - last);
        }
        candidate
    }

    /// Actions run over the shares that may be kept.
    fn kept(&self, action: f64) -> f64 {
        self.least_kept + action * (1.0 - self.least_kept)
    }

    fn action(&self, kept: f64) -> f64 {
        (kept - self.least_kept) / (1.0 - self.least_kept).max(f64::EPSILON)
    }
}

fn layer(domain: &Domain<'_>, base: &Candidate, (index, block): (usize, Block), place: f32) -> Layer {
    let choices = &domain.space().blocks()[index];
    let bits = base.policy.as_ref().map(|policy| policy.blocks[index]);
    let fits = |other: &Block| {
        let known = domain.table().row(index, *other, bits).is_some();
        known && other.kernel == block.kernel && other.width <= block.width
    };
    let mut widths: Vec<usize> =
        choices.options.all().iter().filter(|other| fits(other)).map(|other| other.width).collect();
    widths.sort_unstable();
    widths.dedup();
    if widths.is_empty() {
        widths.push(block.width);
    }
    let costs = domain.table().row(index, block, bits).map(|row| row.costs.get(Metric::Macs));
    let size = choices.input_size as f32 / domain.space().input().size.max(1) as f32;
    let channels = |count: usize| (1.0 + count as f32).log2() / 12.0;
    let fixed = [
        place,
        channels(block.width),
        channels(choices.in_channels),
        size,
        choices.stride as f32 / 2.0,
        block.kernel as f32 / 7.0,
    ];
    Layer { index, block, widths, macs: costs.filter(|macs| macs.is_finite()).unwrap_or(0.0), fixed }
}

impl Layer {
    /// Without the widths below a share; the narrowest left if there is no other.
    fn cut(mut self, least_kept: f64) -> Self {
        let least = least_kept * self.block.width as f64;
        let most = self.widths.last().copied().unwrap_or(self.block.width);
        self.widths.retain(|&width| width as f64 >= least || width == most);
        self
    }

    fn set(&self, candidate: &mut Candidate, width: usize) {
        candidate.subnet.blocks[self.index] = Some(Block { width, ..self.block });
    }

    fn state(&self, macs: f64, (reduced, rest): (f64, f64), last: f64) -> Vec<f32> {
        let [place, out_channels, in_channels, size, stride, kernel] = self.fixed;
        let share = |part: f64| (part / macs.max(1.0)) as f32;
        let shares = [share(self.macs), share(reduced), share(rest), last as f32];
        [place, out_channels, in_channels, size, size, stride, kernel].into_iter().chain(shares).collect()
    }

    /// Position of the width nearest to a share of the layer's own.
    fn nearest(&self, kept: f64) -> usize {
        let wanted = kept * self.block.width as f64;
        let distance = |position: &usize| (self.widths[*position] as f64 - wanted).abs();
        let positions = 0..self.widths.len();
        positions.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
    }

    /// Sets the widest width, from a position down, with which the budget can still be met.
    fn bounded(&self, domain: &Domain<'_>, candidate: &mut Candidate, from: usize) -> usize {
        for &width in self.widths[..=from].iter().rev() {
            self.set(candidate, width);
            if domain.budget().allows(&domain.costs(candidate)) {
                return width;
            }
        }
        self.widths[0]
    }
}
