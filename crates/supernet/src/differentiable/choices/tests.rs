//! Which choices a space has, and the candidates that they make.

use sartor_space::BlockBits;

use super::*;

fn preset(name: &str) -> SearchSpace {
    SearchSpace::preset(name).unwrap()
}

#[test]
fn gong_decides_five_things_a_block() {
    let choices = Choices::new(&preset("gong-28"), &Pinned::default()).unwrap();
    let of_block = |index: usize| -> Vec<(String, usize)> {
        let mine = choices.all().iter().filter(|choice| choice.name.starts_with(&format!("block {index} ")));
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
