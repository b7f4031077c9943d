//! AMC and HAQ on made-up accuracies: within the budget, the same for the same seed, better than chance, and an error
//! where nothing can be met.

use sartor_search::ddpg::Settings as Agent;
use sartor_search::episodes::{Found, Schedule};
use sartor_search::{
    AdditiveCosts, Budget, Costs, Domain, Evaluation, Metric, Problem, SearchError, amc, haq,
};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

/// BitOps as latency, MACs as MACs.
struct Prices<'a>(&'a SearchSpace);

fn costs(layers: &[sartor_space::Layer]) -> Costs {
    let bitops: u64 = layers.iter().map(|layer| layer.bitops()).sum();
    let macs: u64 = layers.iter().map(|layer| layer.macs()).sum();
    Costs::UNKNOWN.with(Metric::LatencyMs, bitops as f64 * 1e-6).with(Metric::Macs, macs as f64)
}

impl AdditiveCosts for Prices<'_> {
    fn fixed(&self) -> Costs {
        costs(&self.0.lower_fixed(true))
    }

    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> Costs {
        costs(&self.0.lower_block(block, choice, bits))
    }
}

fn space() -> SearchSpace {
    SearchSpace::preset("quickstart").expect("a preset")
}

fn largest(space: &SearchSpace) -> Candidate {
    let subnet = space.largest();
    let policy = space.uniform_policy(&subnet, 8);
    Candidate { subnet, policy }
}

fn domain<'a>(space: &'a SearchSpace, prices: &'a Prices<'a>, share: f64) -> Domain<'a> {
    let everything = Problem::new(space, prices, Budget::unlimited()).domain().expect("no limit");
    let most = everything.costs(&largest(space)).get(Metric::LatencyMs);
    let budget = Budget::new([(Metric::LatencyMs, share * most)]).expect("a limit");
    Problem::new(space, prices, budget).domain().expect("can be met")
}

/// Every second block hardly matters; in the others channels and bits count.
fn accuracy(candidate: &Candidate) -> f64 {
    let mut loss = 0.0;
    for (index, block) in candidate.subnet.active() {
        let weight = if index % 2 == 0 { 1.0 } else { 0.02 };
        let bits = candidate.policy.as_ref().map_or([8; 4], |policy| policy.blocks[index].fields());
        let rounding: f64 = bits.iter().map(|&bits| 0.5f64.powi(i32::from(bits) - 1)).sum();
        loss += weight * (12.0 / block.width as f64 + rounding);
    }
    (-0.2 * loss).exp()
}

fn agent() -> Agent {
    Agent {
        hidden: 16,
        batch: 32,
        actor_rate: 2e-3,
        critic_rate: 3e-3,
        noise_decay: 0.96,
        ..Agent::default()
    }
}

const SCHEDULE: Schedule = Schedule { episodes: 90, warm_up: 30 };

fn pruned(domain: &Domain<'_>, seed: u64) -> Result<Found, SearchError> {
    let settings = amc::Settings { schedule: SCHEDULE, agent: agent(), ..amc::Settings::default() };
    let score = &mut |candidate: &Candidate| Ok(accuracy(candidate));
    amc::prune(domain, &largest(domain.space()), &settings, seed, score, &mut |_| ())
}

fn quantized(domain: &Domain<'_>, seed: u64) -> Result<Found, SearchError> {
    let base = largest(domain.space());
    let settings =
        haq::Settings { schedule: SCHEDULE, reward_scale: 1.0, original: accuracy(&base), agent: agent() };
    let score = &mut |candidate: &Candidate| Ok(accuracy(candidate));
    haq::quantize(domain, &base, &settings, seed, score, &mut |_| ())
}

type Search = fn(&Domain<'_>, u64) -> Result<Found, SearchError>;

/// With a budget that each of them can meet and one that it cannot.
const SEARCHES: [(&str, Search, f64, f64); 2] = [("amc", pruned, 0.85, 0.3), ("haq", quantized, 0.5, 0.05)];

#[test]
fn what_agents_find_is_in_the_space_and_within_the_budget() {
    let space = space();
    let prices = Prices(&space);
    for (name, search, share, _) in SEARCHES {
        let domain = domain(&space, &prices, share);
        let found = search(&domain, 1).expect(name);
        assert_eq!(found.history.len(), SCHEDULE.episodes, "{name}");
        for evaluation in &found.ranked {
            space.contains(&evaluation.candidate).expect(name);
            assert!(domain.allows(&evaluation.candidate), "{name}");
        }
        let sorted = found.ranked.windows(2).all(|pair| pair[0].score >= pair[1].score);
        assert!(sorted && found.ranked.len() > 1, "{name}");
    }
}

#[test]
fn only_its_own_choices_change() {
    let space = space();
    let (prices, base) = (Prices(&space), largest(&space));
    let pruned = pruned(&domain(&space, &prices, 0.85), 1).expect("amc");
    let kernels = |candidate: &Candidate| -> Vec<Option<usize>> {
        candidate.subnet.blocks.iter().map(|block| block.map(|block| block.kernel)).collect()
    };
    for Evaluation { candidate, .. } in &pruned.ranked {
        assert_eq!((kernels(candidate), &candidate.policy), (kernels(&base), &base.policy));
    }
    let quantized = quantized(&domain(&space, &prices, 0.5), 1).expect("haq");
    assert!(quantized.ranked.iter().all(|found| found.candidate.subnet == base.subnet));
}

#[test]
fn the_same_seed_finds_the_same() {
    let space = space();
    let prices = Prices(&space);
    for (name, search, share, _) in SEARCHES {
        let domain = domain(&space, &prices, share);
        assert_eq!(search(&domain, 4).expect(name), search(&domain, 4).expect(name), "{name}");
        assert_ne!(search(&domain, 4).expect(name), search(&domain, 5).expect(name), "{name}");
    }
}

#[test]
fn agents_learn_better_than_chance() {
    let space = space();
    let prices = Prices(&space);
    for (name, search, share, _) in SEARCHES {
        let domain = domain(&space, &prices, share);
        let gain = |seed: u64| {
            let history = search(&domain, seed).expect(name).history;
            let mean = |episodes: &[sartor_search::episodes::Episode]| {
                episodes.iter().map(|episode| episode.score).sum::<f64>() / episodes.len() as f64
            };
            mean(&history[SCHEDULE.episodes - 30..]) - mean(&history[..SCHEDULE.warm_up])
        };
        let gains: Vec<f64> = (0..3).map(gain).collect();
        assert!(gains.iter().all(|&gain| gain > 0.0), "{name}: {gains:?}");
    }
}

#[test]
fn an_impossible_budget_is_an_error() {
    let space = space();
    let prices = Prices(&space);
    for (name, search, _, share) in SEARCHES {
        let domain = domain(&space, &prices, share);
        let error = search(&domain, 1).expect_err(name);
        assert!(error.is_infeasible(), "{name}: {error}");
    }
}
