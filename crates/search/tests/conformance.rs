//! What every strategy must do, run over the visible list [`NAMES`], and what the domain promises.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_search::strategies::{NAMES, by_name};
use sartor_search::{
    AdditiveCosts, Budget, Checkpoint, Control, Costs, Domain, Evaluation, Limits, Metric, ObserverMode,
    Outcome, Problem, Progress, Runner, SearchError, StopReason, enumerate,
};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

/// 3 × 2 choices in four blocks with depth: 6,480 candidates with bits.
const SMALL: &str = r#"
name = "small"
[input]
size = 16
channels = 3
classes = 10
[stem]
out_channels = 8
stride = 1
[[stage]]
out_channels = 8
stride = 1
blocks = 2
depth = [1, 2]
kernel = [3, 5]
expand = [4.0]
[[stage]]
out_channels = 16
stride = 2
blocks = 2
depth = [1, 2]
kernel = [3, 5]
expand = [4.0]
[head]
channels = 32
[bits]
weights = [4, 8]
activations = [4, 8]
groups = ["pointwise", "depthwise"]
tied = true
"#;

/// Costs from the lowered layers: BitOps as latency, weights as size.
struct Prices<'a>(&'a SearchSpace);

fn layer_costs(layers: &[sartor_space::Layer]) -> Costs {
    let bitops: u64 = layers.iter().map(|layer| layer.bitops()).sum();
    let macs: u64 = layers.iter().map(|layer| layer.macs()).sum();
    let bits: u64 = layers.iter().map(|layer| layer.size_bits()).sum();
    Costs::UNKNOWN
        .with(Metric::LatencyMs, bitops as f64 * 1e-6)
        .with(Metric::SizeBytes, bits as f64 / 8.0)
        .with(Metric::Macs, macs as f64)
}

impl AdditiveCosts for Prices<'_> {
    fn fixed(&self) -> Costs {
        layer_costs(&self.0.lower_fixed(self.0.bits().is_some()))
    }

    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> Costs {
        layer_costs(&self.0.lower_block(block, choice, bits))
    }
}

/// A landscape with interactions: wide and many bits is good, neighbours that differ in kernel are better.
fn landscape(candidate: &Candidate) -> f64 {
    let mut score = 0.0;
    let mut last_kernel = 0;
    for (index, block) in candidate.subnet.active() {
        let bits = candidate.policy.as_ref().map_or([8; 4], |policy| policy.blocks[index].fields());
        let width = (block.width as f64).ln() * (1.0 + 0.3 * (index as f64).sin());
        let precision: f64 = bits.iter().map(|&bits| 1.0 - (-0.5 * f64::from(bits)).exp()).product();
        score += width * precision + if block.kernel == last_kernel { 0.0 } else { 0.2 };
        last_kernel = block.kernel;
    }
    1.0 - (-0.02 * score).exp()
}

fn scores(candidates: &[Candidate]) -> Result<Vec<f64>, SearchError> {
    Ok(candidates.iter().map(landscape).collect())
}

fn limits(evaluations: u64) -> Limits {
    Limits { generations: 10_000, evaluations: Some(evaluations), stalled: None }
}

fn search(domain: &Domain<'_>, name: &str, seed: u64, evaluations: u64) -> (Outcome, Vec<Evaluation>) {
    let mut history = Vec::new();
    let strategy = by_name(name, &[Metric::LatencyMs]).expect("listed");
    let note = |seen: &Progress<'_>| {
        history.extend(seen.batch.iter().cloned());
        Control::Continue
    };
    let runner = Runner::new(domain, strategy, seed).with_limits(limits(evaluations));
    let outcome = runner.with_observer(ObserverMode::Always, note).run(scores);
    (outcome.expect("a search"), history)
}

fn small() -> SearchSpace {
    SearchSpace::from_toml(SMALL).expect("valid space")
}

fn apq() -> SearchSpace {
    SearchSpace::preset("apq").expect("preset")
}

/// A budget that a given share of the way from the cheapest to the dearest candidate.
fn tight(space: &SearchSpace, share: f64) -> Budget {
    let prices = Prices(space);
    let domain = Problem::new(space, &prices, Budget::unlimited()).domain().expect("unlimited");
    let largest = space.largest();
    let policy = space.uniform_policy(&largest, 8);
    let dearest = domain.costs(&Candidate { subnet: largest, policy }).get(Metric::LatencyMs);
    let cheapest = domain.cheapest(Metric::LatencyMs).expect("priced").0;
    Budget::new([(Metric::LatencyMs, cheapest + share * (dearest - cheapest))]).expect("positive")
}

#[test]
fn proposals_stay_inside_space_and_budget() {
    for space in [small(), apq()] {
        let prices = Prices(&space);
        let domain = Problem::new(&space, &prices, tight(&space, 0.05)).domain().expect("feasible");
        for name in NAMES {
            let (_, history) = search(&domain, name, 1, 600);
            for evaluation in &history {
                space.contains(&evaluation.candidate).expect(name);
                assert!(domain.allows(&evaluation.candidate), "{name}");
            }
        }
    }
}

#[test]
fn same_seed_same_history_at_any_thread_count() {
    let space = apq();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, tight(&space, 0.2)).domain().expect("feasible");
    for name in NAMES {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| search(&domain, name, 7, 500))
        };
        let (one, two) = (run(1), run(2));
        assert_eq!(one, two, "{name}");
        assert_ne!(one.1, search(&domain, name, 8, 500).1, "{name}: another seed, another history");
    }
}

#[test]
fn beats_random() {
    let space = apq();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, tight(&space, 0.1)).domain().expect("feasible");
    for name in NAMES.iter().filter(|name| **name != "random") {
        let wins = (0..5).filter(|&seed| {
            let (found, _) = search(&domain, name, seed, 3000);
            found.best.score > search(&domain, "random", seed, 3000).0.best.score
        });
        assert_eq!(wins.count(), 5, "{name}");
    }
}

#[test]
fn infeasible_budget_is_an_error_with_the_cheapest_value() {
    for space in [small(), apq()] {
        let prices = Prices(&space);
        let unlimited = Problem::new(&space, &prices, Budget::unlimited()).domain().expect("unlimited");
        let (cheapest, _) = unlimited.cheapest(Metric::LatencyMs).expect("priced");
        let at = |limit: f64| {
            Problem::new(&space, &prices, Budget::new([(Metric::LatencyMs, limit)]).expect("positive"))
                .domain()
        };
        let error = at(cheapest * 0.999).err().expect("infeasible");
        assert!(
            matches!(error, SearchError::Infeasible { metric: Metric::LatencyMs, cheapest: c, .. } if c == cheapest)
        );
        assert!(error.is_infeasible() && error.hint().is_some());
        let exact = at(cheapest).expect("the cheapest candidate alone is feasible");
        let found = exact.sample(&mut ChaCha8Rng::seed_from_u64(0)).expect("sample");
        assert_eq!(exact.costs(&found).get(Metric::LatencyMs), cheapest);
    }
}

#[test]
fn contradictory_limits_are_proven() {
    let space = apq();
    // Energy is cheap exactly where latency is dear.
    struct Opposed;
    impl AdditiveCosts for Opposed {
        fn fixed(&self) -> Costs {
            Costs::UNKNOWN.with(Metric::LatencyMs, 1.0).with(Metric::EnergyMj, 1.0)
        }
        fn block(&self, _: usize, choice: Block, _: Option<BlockBits>) -> Costs {
            let share = choice.kernel as f64 / 10.0;
            Costs::UNKNOWN.with(Metric::LatencyMs, share).with(Metric::EnergyMj, 1.0 - share)
        }
    }
    // 11 blocks at least: each limit alone can be met (4.3 and 4.3), together 13 are needed.
    let budget = Budget::new([(Metric::LatencyMs, 5.0), (Metric::EnergyMj, 5.0)]).expect("positive");
    let error = Problem::new(&space, &Opposed, budget).domain().err().expect("contradiction");
    let SearchError::InfeasibleTogether { limit, bound, .. } = error else { panic!("{error}") };
    assert!(limit == 5.0 && bound > 7.5 && bound <= 8.0 + 1e-9, "11 blocks cost 13 together: {bound}");
}

#[test]
fn what_is_not_priced_cannot_be_limited() {
    let space = small();
    let prices = Prices(&space);
    for metric in [Metric::EnergyMj, Metric::PeakActivationBytes] {
        let budget = Budget::new([(metric, 1.0)]).expect("positive");
        let error = Problem::new(&space, &prices, budget).domain().err();
        assert_eq!(error, Some(SearchError::NotPriced { metric }));
    }
}

#[test]
fn peak_memory_is_met_though_it_does_not_add_up() {
    let space = small();
    let prices = Prices(&space);
    let whole = |candidate: &Candidate| {
        let peak = space.lower(candidate).peak_activation_bytes();
        Costs::UNKNOWN.with(Metric::PeakActivationBytes, peak as f64)
    };
    let at = |limit: f64| {
        let budget = Budget::new([(Metric::PeakActivationBytes, limit)]).expect("positive");
        Problem::new(&space, &prices, budget).with_whole(&whole).domain()
    };
    let all = enumerate(&at(1e9).expect("loose"), 100_000).expect("small");
    let peaks: Vec<f64> = all.iter().map(|c| whole(c).get(Metric::PeakActivationBytes)).collect();
    let least = peaks.iter().copied().fold(f64::INFINITY, f64::min);
    let domain = at(least).expect("the least peak is feasible");
    assert!(domain.allows(&domain.sample(&mut ChaCha8Rng::seed_from_u64(0)).expect("sample")));
    assert!(matches!(at(least - 1.0).err(), Some(SearchError::NothingFound { .. })));
}

#[test]
fn checkpoint_resumes_to_the_same_history() {
    let space = apq();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, tight(&space, 0.2)).domain().expect("feasible");
    for name in NAMES {
        let start = || {
            Runner::new(&domain, by_name(name, &[Metric::LatencyMs]).expect("listed"), 3)
                .with_limits(limits(800))
                .with_front([Metric::LatencyMs])
        };
        let whole = start().run(scores).expect("undisturbed");
        let mut killed = start();
        for _ in 0..3 {
            killed.step(&mut scores).expect("step");
        }
        let text = serde_json::to_string(&killed.checkpoint()).expect("text");
        let checkpoint: Checkpoint = serde_json::from_str(&text).expect("read back");
        let mut resumed = start();
        resumed.resume(&checkpoint).expect("same search");
        assert_eq!(resumed.run(scores).expect("resumed"), whole, "{name}");
    }
}

#[test]
fn a_foreign_checkpoint_is_refused() {
    let space = small();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, tight(&space, 0.5)).domain().expect("feasible");
    let runner = |name: &str| Runner::new(&domain, by_name(name, &[]).expect("listed"), 0);
    let checkpoint = runner("evolution").checkpoint();
    let error = runner("random").resume(&checkpoint).expect_err("another strategy");
    assert!(matches!(error, SearchError::ForeignCheckpoint { .. }));
}

#[test]
fn stops_for_the_reason_given() {
    let space = small();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, Budget::unlimited()).domain().expect("unlimited");
    let none = Limits { generations: 5, evaluations: None, stalled: None };
    let cases = [
        (none, StopReason::Generations),
        (Limits { evaluations: Some(150), ..none }, StopReason::Evaluations),
        (Limits { generations: 500, stalled: Some(20), ..none }, StopReason::Stalled),
    ];
    for (limits, reason) in cases {
        let strategy = by_name("evolution", &[]).expect("listed");
        let mut runner = Runner::new(&domain, strategy, 0).with_limits(limits);
        let outcome = runner.run(scores).expect("search");
        assert_eq!(outcome.stop_reason, reason);
    }
}

#[test]
fn useless_evaluations_are_refused() {
    let space = small();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, Budget::unlimited()).domain().expect("unlimited");
    let runner = || Runner::new(&domain, by_name("random", &[]).expect("listed"), 0);
    assert!(matches!(runner().run(|_| Ok(Vec::new())), Err(SearchError::WrongCount { got: 0, .. })));
    let nan = |candidates: &[Candidate]| Ok(vec![f64::NAN; candidates.len()]);
    assert!(matches!(runner().run(nan), Err(SearchError::BadScore { index: 0, .. })));
}

#[test]
fn evolution_finds_the_optimum_of_a_small_space() {
    let space = small();
    let prices = Prices(&space);
    for share in [0.15, 0.5] {
        let domain = Problem::new(&space, &prices, tight(&space, share)).domain().expect("feasible");
        let all = enumerate(&domain, 100_000).expect("small");
        let optimum = all.iter().map(landscape).fold(f64::NEG_INFINITY, f64::max);
        let strategy = || by_name("evolution", &[]).expect("listed");
        let limits = Limits { generations: 60, ..Limits::default() };
        let found = (0..100u64).filter(|&seed| {
            let mut runner = Runner::new(&domain, strategy(), seed).with_limits(limits);
            let outcome = runner.run(scores).expect("search");
            outcome.best.score == optimum
        });
        let found = found.count();
        assert!(found >= 95, "{found} of 100 seeds found the optimum of {} candidates", all.len());
    }
}

#[test]
fn enumeration_is_complete() {
    let space = small();
    let prices = Prices(&space);
    let domain = Problem::new(&space, &prices, Budget::unlimited()).domain().expect("unlimited");
    let all = enumerate(&domain, 100_000).expect("small");
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len() as f64, space.cardinality());
    assert_eq!(distinct.len(), all.len());
    let huge = apq();
    let prices = Prices(&huge);
    let domain = Problem::new(&huge, &prices, Budget::unlimited()).domain().expect("unlimited");
    assert!(matches!(enumerate(&domain, 1000), Err(SearchError::TooLarge { .. })));
}

#[test]
fn a_filter_freezes_what_it_says() {
    let space = apq();
    let prices = Prices(&space);
    let eight = |_: usize, _: Option<Block>, bits: Option<BlockBits>| {
        bits.is_none_or(|bits| bits == BlockBits::uniform(8))
    };
    let domain =
        Problem::new(&space, &prices, Budget::unlimited()).with_filter(&eight).domain().expect("domain");
    for name in NAMES {
        for evaluation in search(&domain, name, 0, 300).1 {
            let candidate = evaluation.candidate;
            let policy = candidate.policy.as_ref().expect("quantized");
            assert!(
                candidate.subnet.active().all(|(index, _)| policy.blocks[index] == BlockBits::uniform(8)),
                "{name}"
            );
        }
    }
}

/// No candidate's score exceeds the bound, and the bound is not far above the best one.
#[test]
fn the_bound_holds_and_is_near() {
    const NEAR: f64 = 0.15;
    let space = small();
    let prices = Prices(&space);
    for (seed, share) in [(1.0, 0.2), (2.0, 0.4), (3.0, 0.6), (4.0, 5.0)] {
        let domain = Problem::new(&space, &prices, tight(&space, share)).domain().expect("feasible");
        let gain = |index: usize, block: Block, bits: Option<BlockBits>| {
            let bits: f64 = bits.iter().flat_map(|bits| bits.fields()).map(f64::from).sum();
            let kind = seed * 1.7 * index as f64 + block.kernel as f64;
            (block.width as f64).ln() * (1.2 + kind.sin()) + 0.05 * bits - 0.3 * seed
        };
        let score = |candidate: &Candidate| -> f64 {
            let bits = |index: usize| candidate.policy.as_ref().map(|policy| policy.blocks[index]);
            1.0 + candidate.subnet.active().map(|(index, block)| gain(index, block, bits(index))).sum::<f64>()
        };
        let all = enumerate(&domain, 100_000).expect("small");
        let best = all.iter().max_by(|a, b| score(a).total_cmp(&score(b))).expect("feasible");
        let worst = all.iter().map(score).fold(f64::INFINITY, f64::min);
        let spread = score(best) - worst;
        for start in [best, &all[0]] {
            let above = domain.bound(1.0, &gain, start) - score(best);
            assert!((-1e-9..=NEAR * spread).contains(&above), "{share}: {above} above, spread {spread}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn draws_mutants_and_repairs_are_inside(seed in 0u64..1_000_000, share in 0.001f64..1.0) {
        let space = small();
        let prices = Prices(&space);
        let domain = Problem::new(&space, &prices, tight(&space, share)).domain().expect("feasible");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let drawn = domain.sample(&mut rng).expect("sample");
        prop_assert!(space.contains(&drawn).is_ok() && domain.allows(&drawn));
        let mutant = domain.mutate(&drawn, 0.5, &mut rng);
        prop_assert!(space.contains(&mutant).is_ok() && domain.contains(&mutant));
        let tweaked = domain.tweak(&drawn, 0.5, &mut rng);
        prop_assert!(space.contains(&tweaked).is_ok() && domain.contains(&tweaked));
        prop_assert_eq!(tweaked.subnet.active().count(), drawn.subnet.active().count());
        let reshaped = domain.reshape(&drawn, &mut rng);
        prop_assert!(space.contains(&reshaped).is_ok() && domain.contains(&reshaped));
        prop_assert!(reshaped == drawn || domain.excess(&reshaped) < f64::INFINITY);
        prop_assert_eq!(domain.excess(&mutant) == 0.0, domain.allows(&mutant));
        let repaired = domain.repair(mutant, &mut rng);
        prop_assert!(space.contains(&repaired).is_ok());
        let sum: Costs = domain.costs(&repaired);
        let lowered = layer_costs(&space.lower(&repaired).layers).get(Metric::Macs);
        prop_assert_eq!(sum.get(Metric::Macs), lowered);
    }
}
