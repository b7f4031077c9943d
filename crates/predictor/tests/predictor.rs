//! The predictor on a made-up space with known accuracies.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_predictor::{
    FitSettings, Freeze, Method, MlpSettings, Pairs, Precision, Predictor, PredictorError, TransferSettings,
    choose_next, learning_curve,
};
use sartor_space::{Candidate, SearchSpace};

fn space() -> SearchSpace {
    SearchSpace::preset("quickstart").expect("preset")
}

/// Capacity with diminishing returns, damaged by few bits; neighbours interact.
fn accuracy(candidate: &Candidate) -> f64 {
    let mut capacity = 0.0;
    let mut damage = 0.0;
    for (index, block) in candidate.subnet.active() {
        let strength = 1.0 + 0.5 * (index as f64 * 1.3).sin();
        capacity += strength * ((block.width as f64).ln() + 0.3 * (block.kernel as f64).ln());
        if let Some(policy) = &candidate.policy {
            let bits = policy.blocks[index].fields();
            damage += strength * bits.iter().map(|&bits| (-0.9 * f64::from(bits)).exp()).sum::<f64>();
        }
    }
    0.95 - 0.3 * (-0.06 * capacity).exp() - 0.15 * (1.0 - (-damage).exp())
}

fn pairs(space: &SearchSpace, count: usize, quantized: bool, seed: u64) -> Pairs {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pairs = Pairs::default();
    while pairs.len() < count {
        let mut candidate = space.random_candidate(&mut rng);
        candidate.policy = candidate.policy.filter(|_| quantized);
        if !pairs.candidates.contains(&candidate) {
            let measured = accuracy(&candidate);
            pairs.push(candidate, measured);
        }
    }
    pairs
}

/// Small enough for a test; the defaults are for real use.
fn settings() -> FitSettings {
    FitSettings { members: 2, mlp: MlpSettings { hidden: 64, steps: 300, ..MlpSettings::default() } }
}

fn pairwise(predictor: &Predictor, held_out: &Pairs) -> f64 {
    predictor.evaluate(held_out, 0).expect("scores").expect("defined").pairwise_accuracy.value
}

#[test]
fn fits_and_ranks_what_it_has_not_seen() {
    let space = space();
    let predictor = Predictor::fit(&space, &pairs(&space, 200, false, 1), &settings(), 0).expect("fit");
    assert_eq!(predictor.precision(), Precision::Full);
    let quality = pairwise(&predictor, &pairs(&space, 500, false, 2));
    assert!(quality > 0.85, "{quality}");
}

#[test]
fn transfer_beats_scratch_when_pairs_are_few() {
    let space = space();
    let fp = Predictor::fit(&space, &pairs(&space, 600, false, 1), &settings(), 0).expect("fit");
    let held_out = pairs(&space, 500, true, 3);
    let few = pairs(&space, 60, true, 4);
    let transfer = TransferSettings { mlp: settings().mlp, ..TransferSettings::default() };
    let with = fp.fit_from(&few, &transfer, 0).expect("transfer");
    let without = Predictor::fit(&space, &few, &settings(), 0).expect("scratch");
    assert_eq!(with.precision(), Precision::Mixed);
    let (with, without) = (pairwise(&with, &held_out), pairwise(&without, &held_out));
    assert!(with > without, "{with} {without}");
}

#[test]
fn a_frozen_transfer_still_learns_the_bits() {
    let space = space();
    let fp = Predictor::fit(&space, &pairs(&space, 300, false, 1), &settings(), 0).expect("fit");
    let few = pairs(&space, 100, true, 4);
    for freeze in [Freeze::Architecture, Freeze::AllButHeads] {
        let transfer = TransferSettings { freeze, mlp: settings().mlp, ..TransferSettings::default() };
        let quality =
            pairwise(&fp.fit_from(&few, &transfer, 0).expect("transfer"), &pairs(&space, 300, true, 3));
        assert!(quality > 0.65, "{freeze:?}: {quality}");
    }
}

#[test]
fn same_seed_same_bytes_at_any_thread_count() {
    let space = space();
    let data = pairs(&space, 40, true, 1);
    let fit = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            Predictor::fit(&space, &data, &settings(), seed).and_then(|p| p.to_bytes()).expect("fit")
        })
    };
    assert!(fit(1, 5) == fit(2, 5));
    assert!(fit(1, 5) != fit(1, 6));
}

#[test]
fn files_round_trip_and_foreign_ones_are_refused() {
    let space = space();
    let data = pairs(&space, 40, true, 1);
    let predictor = Predictor::fit(&space, &data, &settings(), 0).expect("fit");
    let bytes = predictor.to_bytes().expect("bytes");
    let back = Predictor::from_bytes(&bytes, &space).expect("own file");
    assert_eq!(
        back.score(&data.candidates).expect("scores"),
        predictor.score(&data.candidates).expect("scores")
    );
    let other = SearchSpace::preset("cifar").expect("preset");
    assert!(matches!(Predictor::from_bytes(&bytes, &other), Err(PredictorError::OtherSpace { .. })));
    for length in [0, 7, 100, bytes.len() - 1] {
        let error = Predictor::from_bytes(&bytes[..length], &space).expect_err("truncated");
        assert!(matches!(error, PredictorError::BadFile { .. }), "{length}: {error}");
    }
    let newer = bytes.windows(8).position(|window| window == b"format=2").expect("version in the header");
    let mut changed = bytes.clone();
    changed[newer + 7] = b'9';
    assert!(matches!(Predictor::from_bytes(&changed, &space), Err(PredictorError::OtherVersion { .. })));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let space = space();
    let few = pairs(&space, 5, false, 1);
    assert!(matches!(Predictor::fit(&space, &few, &settings(), 0), Err(PredictorError::TooFewPairs { .. })));
    let mut mixed = pairs(&space, 20, true, 1);
    mixed.candidates[3].policy = None;
    assert!(matches!(Predictor::fit(&space, &mixed, &settings(), 0), Err(PredictorError::BadSetting { .. })));
    let full = pairs(&space, 40, false, 1);
    let fp = Predictor::fit(&space, &full, &settings(), 0).expect("fit");
    let refused = fp.fit_from(&full, &TransferSettings::default(), 0);
    assert!(matches!(refused, Err(PredictorError::NoTransfer { .. })));
    let none = FitSettings { members: 0, ..settings() };
    assert!(matches!(
        Predictor::fit(&space, &full, &none, 0),
        Err(PredictorError::BadSetting { setting: "members", .. })
    ));
}

#[test]
fn every_method_fits_stores_and_ranks() {
    let space = space();
    let (full, few, held_out) =
        (pairs(&space, 200, false, 1), pairs(&space, 80, true, 4), pairs(&space, 200, true, 3));
    let fp = Predictor::fit(&space, &full, &settings(), 0).expect("fit");
    let transfer = TransferSettings { mlp: settings().mlp, ..TransferSettings::default() };
    for method in Method::ALL {
        let scratch = Predictor::fit_with(&space, &few, Some(method), &settings(), 0).expect("scratch");
        let transferred = fp.fit_from_with(&few, Some(method), &transfer, 0).expect("transfer");
        for predictor in [scratch, transferred] {
            let quality = pairwise(&predictor, &held_out);
            assert!(quality > 0.65, "{method:?}: {quality}");
            let bytes = predictor.to_bytes().expect("bytes");
            let back = Predictor::from_bytes(&bytes, &space).expect("own file");
            assert_eq!(back.method(), method);
            let scores = |predictor: &Predictor| predictor.score(&held_out.candidates).expect("scores");
            assert_eq!(scores(&back), scores(&predictor), "{method:?}");
        }
    }
}

#[test]
fn the_best_method_is_chosen_without_the_held_out_pairs() {
    let space = space();
    let few = pairs(&space, 60, true, 4);
    let best = Predictor::fit_with(&space, &few, None, &settings(), 0).expect("fit");
    assert!(Method::ALL.contains(&best.method()));
    assert!(pairwise(&best, &pairs(&space, 200, true, 3)) > 0.65);
}

#[test]
fn a_learning_curve_rises_and_the_next_pairs_are_the_unsure_ones() {
    let space = space();
    let (known, held_out) = (pairs(&space, 200, false, 1), pairs(&space, 200, false, 2));
    let fit = |pairs: &Pairs, seed| Predictor::fit(&space, pairs, &settings(), seed);
    let splits = vec![(known.clone(), held_out.clone()); 2];
    let curve = learning_curve(&splits, &[20, 200, 9999], &[0, 1], fit).expect("curve");
    let sizes: Vec<usize> = curve.iter().map(|point| point.pairs).collect();
    assert_eq!(sizes, [20, 200]);
    assert!(curve[0].report.pairwise_accuracy.value < curve[1].report.pairwise_accuracy.value);
    let predictor = fit(&known, 0).expect("fit");
    let spreads: Vec<f64> =
        predictor.predict(&held_out.candidates).expect("scores").iter().map(|p| p.spread).collect();
    let chosen = choose_next(&predictor, &held_out.candidates, 3).expect("scores");
    let above = |index: usize| spreads.iter().filter(|&&spread| spread > spreads[index]).count();
    assert_eq!(chosen.iter().map(|&index| above(index)).collect::<Vec<_>>(), [0, 1, 2]);
}
