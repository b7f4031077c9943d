//! The table, the pricer and the cheapest candidate agree with each other, on every kind of space.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_hardware::{
    Accelerator, Accounting, CandidatePricer, CostTable, HardwareError, LayerKey, Metric, reachable_layers,
};
use sartor_space::{Candidate, SearchSpace};

const SKIPPING: &str = r#"
name = "skipping"
[input]
size = 32
channels = 3
classes = 10
[stem]
out_channels = 16
stride = 1
[[stage]]
out_channels = 24
stride = 2
blocks = 3
options = ["skip", "k3e1", "k5e3", "k7e6"]
[[stage]]
out_channels = 24
stride = 1
blocks = 2
skip = true
kernel = [3, 5]
expand = [1, 3]
[[stage]]
out_channels = 40
stride = 2
blocks = 2
options = ["skip", "k3e3"]
[head]
channels = 64
[bits]
weights = [2, 4, 8]
activations = [2, 4, 8]
groups = ["pointwise", "depthwise"]
tied = true
"#;

fn spaces() -> Vec<SearchSpace> {
    let presets = SearchSpace::presets().map(|name| SearchSpace::preset(name).unwrap());
    presets.chain([SearchSpace::from_toml(SKIPPING).unwrap()]).collect()
}

struct Case {
    space: SearchSpace,
    table: CostTable,
    pricer: CandidatePricer,
}

fn cases() -> &'static [Case] {
    static CASES: std::sync::OnceLock<Vec<Case>> = std::sync::OnceLock::new();
    let chip = Accelerator::preset("bitfusion-apq").unwrap();
    let case = |space: SearchSpace| {
        let table = CostTable::for_space(&chip, &space).unwrap();
        Case { pricer: CandidatePricer::new(&space, &table).unwrap(), table, space }
    };
    CASES.get_or_init(|| spaces().into_iter().map(case).collect())
}

fn random(space: &SearchSpace, seed: u64) -> Candidate {
    space.random_candidate(&mut ChaCha8Rng::seed_from_u64(seed))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_pricer_equals_the_table_to_the_bit(seed: u64) {
        for Case { space, table, pricer } in cases() {
            let candidate = random(space, seed);
            let expected = table.price(&space.lower(&candidate)).unwrap();
            prop_assert_eq!(pricer.price(&candidate).unwrap(), expected, "{}", space.name());
        }
    }

    #[test]
    fn nothing_is_cheaper_than_the_cheapest(seed: u64) {
        for Case { space, pricer, .. } in cases() {
            let costs = pricer.price(&random(space, seed)).unwrap();
            for metric in Metric::ALL {
                let (_, cheapest) = pricer.cheapest(metric).unwrap();
                prop_assert!(metric.of(&cheapest) <= metric.of(&costs), "{metric:?} {}", space.name());
            }
        }
    }
}

#[test]
fn the_cheapest_candidate_is_in_the_space_at_the_price_named() {
    for Case { space, pricer, .. } in cases() {
        for metric in Metric::ALL {
            let (candidate, costs) = pricer.cheapest(metric).unwrap();
            space.contains(&candidate).unwrap();
            assert_eq!(pricer.price(&candidate).unwrap(), costs, "{metric:?} {}", space.name());
        }
    }
}

#[test]
fn a_candidate_costs_the_sum_of_its_choices() {
    let Case { space, pricer, .. } = &cases()[0];
    let candidate = random(space, 7);
    let policy = candidate.policy.as_ref().unwrap();
    let mut total = pricer.stem_costs();
    for (index, block) in candidate.subnet.active() {
        let choices = pricer.block_choices(index);
        total +=
            choices.iter().find(|it| it.block == block && it.bits == policy.blocks[index]).unwrap().costs;
    }
    assert_eq!(total + pricer.head_costs(), pricer.price(&candidate).unwrap());
}

#[test]
fn the_table_of_apq_holds_what_the_authors_published() {
    let apq = cases().iter().find(|case| case.space.name() == "apq").unwrap();
    assert!((6_500..6_700).contains(&apq.table.rows().len()), "{} rows", apq.table.rows().len());
    let forbidden = |key: &LayerKey| key.kernel == 7 && key.activation_bits == 4;
    assert!(!apq.table.rows().iter().any(|row| forbidden(&row.key)));
    assert!(!apq.table.rows().iter().any(|row| row.extrapolated));
}

#[test]
fn two_bit_depthwise_rows_are_marked() {
    let quickstart = cases().iter().find(|case| case.space.name() == "quickstart").unwrap();
    for row in quickstart.table.rows() {
        let key = row.key;
        let depthwise = key.groups > 1 && key.groups == key.in_channels;
        assert_eq!(row.extrapolated, depthwise && key.weight_bits.min(key.activation_bits) == 2, "{key}");
    }
}

#[test]
fn a_table_survives_its_own_text() {
    for Case { table, .. } in cases() {
        assert_eq!(&CostTable::from_csv(&table.to_csv()).unwrap(), table);
    }
}

#[test]
fn missing_rows_are_named_with_the_command_that_makes_them() {
    let Case { space, table, .. } = &cases()[0];
    let lines: Vec<String> = table.to_csv().lines().map(str::to_owned).collect();
    let short = CostTable::from_csv(&lines[..lines.len() - 2].join("\n")).unwrap();
    let error = CandidatePricer::new(space, &short).unwrap_err();
    assert!(
        matches!(&error, HardwareError::MissingRows { count: 2, first, .. } if first.len() == 2),
        "{error}"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains(&format!("sartor profile --space {} --hardware bitfusion-apq", space.name())),
        "{hint}"
    );
}

#[test]
fn candidates_from_elsewhere_are_refused() {
    let Case { space, pricer, .. } = &cases()[0];
    let candidate = random(space, 1);
    let bare = Candidate { policy: None, ..candidate.clone() };
    assert!(matches!(pricer.price(&bare), Err(HardwareError::OutsideSpace { .. })));
    let mut wide = candidate.clone();
    wide.subnet.blocks[0].as_mut().unwrap().width = 1;
    assert!(matches!(pricer.price(&wide), Err(HardwareError::OutsideSpace { block: 0, .. })));
    let mut odd = candidate;
    odd.policy.as_mut().unwrap().blocks[0].pointwise_weight = 7;
    assert!(matches!(pricer.price(&odd), Err(HardwareError::OutsideSpace { block: 0, .. })));
}

#[test]
fn the_release_leaves_out_the_separable_block_and_the_classifier() {
    let apq = cases().iter().find(|case| case.space.name() == "apq").unwrap();
    let workload = apq.space.lower(&random(&apq.space, 3));
    let full = apq.table.price(&workload).unwrap();
    let release = apq.table.price_as(&workload, Accounting::Release).unwrap();
    let left_out = (full.latency_ms.0 - release.latency_ms.0, full.energy_mj.0 - release.energy_mj.0);
    assert_eq!(format!("{:.2} {:.2}", left_out.0, left_out.1), "1.18 1.35");
}

#[test]
fn reachable_layers_are_distinct_and_exactly_what_candidates_use() {
    for Case { space, .. } in cases() {
        let layers = reachable_layers(space);
        let keys: std::collections::HashSet<_> = layers.iter().map(LayerKey::of).collect();
        assert_eq!(keys.len(), layers.len(), "{}", space.name());
    }
}
