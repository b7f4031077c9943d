//! What must hold for every search space: children stay inside, encodings and JSON come back, counts agree.

use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_space::{Candidate, Role, SearchSpace};

/// One space of every kind: prefix depth, explicit options, free skips, tied bits, full precision.
fn spaces() -> Vec<SearchSpace> {
    let presets = SearchSpace::presets().map(|name| SearchSpace::preset(name).unwrap());
    let own = [OPTIONS, SKIPS, PLAIN].map(|text| SearchSpace::from_toml(text).unwrap());
    presets.chain(own).collect()
}

const OPTIONS: &str = r#"
name = "options"
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
blocks = 4
options = ["skip", "k3e3", "k5e6"]
[head]
channels = 64
"#;

const SKIPS: &str = r#"
name = "skips"
[input]
size = 32
channels = 3
classes = 10
[stem]
out_channels = 16
stride = 2
[[stage]]
out_channels = 16
stride = 1
blocks = 3
skip = true
kernel = [3, 5]
expand = [1, 3, 6]
[[stage]]
out_channels = 32
stride = 2
blocks = 2
skip = true
kernel = [3, 7]
expand = [1, 6]
[head]
channels = 64
[bits]
weights = [2, 4, 8]
activations = [2, 4, 8]
tied = true
"#;

const PLAIN: &str = r#"
name = "plain"
[input]
size = 1
channels = 1
classes = 2
[stem]
out_channels = 2
stride = 1
[[stage]]
out_channels = 2
stride = 1
blocks = 2
depth = [1, 2]
kernel = [3, 7]
width = { from = 1, to = 3, step = 2 }
[head]
channels = 1
[bits]
weights = [2, 8]
activations = [4]
groups = ["all"]
forbid = [{ kernel = 7, pointwise_weight_bits = 2 }]
"#;

fn features(space: &SearchSpace, candidate: &Candidate) -> (Vec<f32>, Vec<f32>) {
    let encoding = space.encoding();
    let mut architecture = vec![0.0; encoding.architecture_len()];
    let mut policy = vec![0.0; encoding.policy_len()];
    encoding.encode_subnet(&candidate.subnet, &mut architecture);
    if let Some(bits) = &candidate.policy {
        encoding.encode_policy(&candidate.subnet, bits, &mut policy);
    }
    (architecture, policy)
}

fn check_round_trips(space: &SearchSpace, candidate: &Candidate) {
    space.contains(candidate).unwrap();
    let (architecture, policy) = features(space, candidate);
    let quantized = candidate.policy.is_some();
    let decoded = space.encoding().decode(&architecture, quantized.then_some(&policy[..])).unwrap();
    assert_eq!(&decoded, candidate);
    let ones: Vec<u32> = (0u32..)
        .zip(architecture.iter().chain(&policy))
        .filter(|(_, v)| **v != 0.0)
        .map(|(i, _)| i)
        .collect();
    assert_eq!(space.encoding().active_features(candidate), ones);
    assert_eq!(&Candidate::from_json(&candidate.to_json(space), space).unwrap(), candidate);
}

fn check_lowering(space: &SearchSpace, candidate: &Candidate) {
    let workload = space.lower(candidate);
    for pair in workload.layers.windows(2) {
        assert_eq!(pair[0].out_channels, pair[1].in_channels, "{} -> {}", pair[0].name, pair[1].name);
        if pair[1].role != Role::Classifier {
            assert_eq!(pair[0].output_size(), pair[1].input_size, "{} -> {}", pair[0].name, pair[1].name);
        }
        assert_eq!(pair[1].signed_input, !pair[0].relu);
    }
    let bits = |layer: &sartor_space::Layer| u64::from(layer.weight_bits) * u64::from(layer.activation_bits);
    assert_eq!(
        workload.bitops(),
        workload.layers.iter().map(|layer| layer.macs() * bits(layer)).sum::<u64>()
    );
    assert!(workload.size_bytes() > 0 && workload.peak_activation_bytes() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_mutated_and_crossed_candidates_stay_inside(seed in any::<u64>(), probability in 0.0..=1.0f64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for space in spaces() {
            let first = space.random_candidate(&mut rng);
            let second = space.random_candidate(&mut rng);
            let child = space.crossover(&first, &second, &mut rng);
            let mutant = space.mutate(&child, probability, &mut rng);
            for candidate in [&first, &second, &child, &mutant] {
                check_round_trips(&space, candidate);
                check_lowering(&space, candidate);
            }
            for (index, (block, bits)) in child.subnet.blocks.iter().zip(child.policy.iter().flat_map(|p| &p.blocks)).enumerate() {
                let from = |parent: &Candidate| parent.subnet.blocks[index] == *block && parent.policy.as_ref().unwrap().blocks[index] == *bits;
                prop_assert!(block.is_none() || from(&first) || from(&second));
            }
        }
    }

    #[test]
    fn reading_any_text_never_panics(text in "\\PC{0,200}") {
        let space = SearchSpace::from_toml(SKIPS).unwrap();
        let _ = SearchSpace::from_toml(&text);
        let _ = Candidate::from_json(&text, &space);
        let _ = space.block_from_option(0, &text);
    }

    #[test]
    fn damaged_spaces_never_panic(position in 0usize..600, byte in 32u8..127) {
        for text in [OPTIONS, SKIPS, PLAIN] {
            let mut bytes = text.as_bytes().to_vec();
            let position = position % bytes.len();
            bytes[position] = byte;
            if let Ok(space) = SearchSpace::from_toml(std::str::from_utf8(&bytes).unwrap()) {
                check_lowering(&space, &Candidate { subnet: space.largest(), policy: None });
            }
        }
    }
}

#[test]
fn a_floor_keeps_narrow_widths_out() {
    let space = SearchSpace::preset("apq").unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let subnet = space.random_subnet(&mut rng);
    for floor in [4, 6, 8] {
        let policy = space.random_policy_from(&subnet, floor, &mut rng);
        let candidate = Candidate { subnet: subnet.clone(), policy: Some(policy) };
        space.contains(&candidate).unwrap();
        let widths = candidate.policy.iter().flat_map(|policy| &policy.blocks).flat_map(|bits| bits.fields());
        assert_eq!(widths.min(), Some(floor));
    }
}

#[test]
fn largest_smallest_and_uniform_are_inside() {
    for space in spaces() {
        for subnet in [space.largest(), space.smallest()] {
            let policy = space.uniform_policy(&subnet, 8);
            check_round_trips(&space, &Candidate { subnet: subnet.clone(), policy: None });
            check_round_trips(&space, &Candidate { subnet, policy });
        }
    }
}

#[test]
fn cardinality_equals_enumeration_of_a_small_space() {
    let space = SearchSpace::from_toml(PLAIN).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..20_000 {
        seen.insert(space.random_candidate(&mut rng));
    }
    // Per block: kernel 3 with two policies or kernel 7 with one, two even widths (2, 4, 6 → from 2 to 6 by 2 is three).
    assert_eq!(space.cardinality(), 9.0 + 81.0);
    assert_eq!(seen.len() as f64, space.cardinality());
}

#[test]
fn apq_is_the_papers_space() {
    let space = SearchSpace::preset("apq").unwrap();
    let widths: Vec<usize> = space.blocks().iter().map(|block| block.options.len() / 3).collect();
    assert_eq!(widths, [5, 7, 7, 7, 7, 11, 11, 11, 11, 21, 21, 21, 21, 25, 25, 25, 25, 49, 49, 49, 49]);
    assert_eq!(space.encoding().architecture_len(), 520);
    assert_eq!(space.encoding().architecture_len() + space.encoding().policy_len(), 772);
    let strides: Vec<usize> = space.blocks().iter().filter(|b| b.position == 0).map(|b| b.stride).collect();
    assert_eq!(strides, [2, 2, 2, 1, 2, 1]);
}

#[test]
fn impossible_spaces_name_key_got_and_expected() {
    let cases = [
        ("step = 2", "step = 1", "an even number"),
        ("kernel = [3, 7]", "kernel = []", "at least one choice"),
        ("kernel = [3, 7]", "kernel = [3, 4]", "3, 5 or 7"),
        ("kernel = [3, 7]", "kernal = [3, 7]", "unknown field"),
        ("size = 1", "size = \"one\"", "expected usize"),
        ("depth = [1, 2]", "depth = [1, 3]", "1 to 2"),
        ("weights = [2, 8]", "weights = [2, 9]", "2 to 8"),
        ("classes = 2", "classes = 1", "2 to"),
    ];
    for (old, new, expected) in cases {
        let text = PLAIN.replace(old, new);
        assert_ne!(text, PLAIN);
        let error = SearchSpace::from_toml(&text).unwrap_err();
        assert!(error.to_string().contains(expected), "{new}: {error}");
    }
    let error = SearchSpace::from_toml(&PLAIN.replace("kernel = [3, 7]", "kernal = [3, 7]")).unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean `kernel`?");
}

#[test]
fn mobilenet_like_shapes_of_the_largest_apq_network() {
    let space = SearchSpace::preset("apq").unwrap();
    let workload = space.lower(&Candidate { subnet: space.largest(), policy: None });
    let last = &workload.layers[workload.layers.len() - 2];
    assert_eq!((last.in_channels, last.out_channels, last.input_size), (320, 1280, 7));
    assert_eq!(workload.layers.len(), 3 + 21 * 3 + 2);
}

#[test]
fn a_shape_changing_skip_can_be_predicted_but_not_trained() {
    let space = SearchSpace::from_toml(OPTIONS).unwrap();
    assert!(space.check_trainable().is_err());
    assert!(SearchSpace::from_toml(SKIPS).unwrap().check_trainable().is_ok());
    assert_eq!(space.block_from_option(0, "skip").unwrap(), None);
    assert_eq!(space.block_from_option(1, "k5e6").unwrap().unwrap().width, 144);
    assert!(space.block_from_option(1, "k7e6").is_err());
}

#[test]
fn gongs_blocks_have_288_settings_each() {
    let space = SearchSpace::preset("gong").unwrap();
    let legal = |block: &sartor_space::BlockChoices| -> usize {
        let bits = space.bits().unwrap();
        block.options.all().iter().map(|option| bits.legal(option.kernel).len()).sum()
    };
    let settings: Vec<usize> = space.blocks().iter().map(|block| 2 * legal(block)).collect();
    assert_eq!(settings, [288; 22]);
    assert!((288f64.powi(22) / 1.28e54 - 1.0).abs() < 0.01, "the paper's count");
    let skippable = space.blocks().iter().filter(|block| block.skippable).count();
    assert_eq!(skippable, 15);
    let networks = 144f64.powi(7) * 145f64.powi(15);
    assert!((space.cardinality() / networks - 1.0).abs() < 1e-9, "{}", space.cardinality());
    space.check_trainable().unwrap();
}

#[test]
fn proxyless_blocks_choose_among_seven_operations() {
    let space = SearchSpace::preset("proxyless").unwrap();
    let operations: Vec<usize> =
        space.blocks().iter().map(|block| block.options.len() + usize::from(block.skippable)).collect();
    assert_eq!(operations.len(), 21);
    assert_eq!(operations.iter().filter(|&&count| count == 7).count(), 15);
    assert_eq!(operations.iter().filter(|&&count| count == 6).count(), 6, "blocks that change the shape");
    space.check_trainable().unwrap();
}

#[test]
fn a_cut_space_has_only_what_is_allowed() {
    let space = SearchSpace::preset("quickstart").unwrap();
    let same = space.cut(&|_| true).unwrap();
    assert_eq!(same.to_toml(), space.to_toml());
    let narrow = |layer: &sartor_space::Layer| {
        layer.weight_bits >= 4 && (layer.groups == 1 || layer.activation_bits == 8)
    };
    let cut = space.cut(&narrow).unwrap();
    assert!(cut.cardinality() < space.cardinality());
    for seed in 0..50 {
        let candidate = cut.random_candidate(&mut ChaCha8Rng::seed_from_u64(seed));
        assert!(cut.lower(&candidate).layers.iter().all(narrow));
        assert!(space.contains(&candidate).is_ok());
    }
    let nothing = space.cut(&|layer| layer.weight_bits > 8).unwrap_err().to_string();
    assert!(nothing.contains("bits.weights"), "{nothing}");
}
