//! Short searches on stripes.

use sartor_space::Candidate;

use super::*;
use crate::differentiable::choices::Precision;
use crate::differentiable::cost::tests::{price, whole};
use crate::differentiable::dnas;
use crate::differentiable::{Counters, Row};
use crate::error::SupernetError;
use crate::fixtures;

const STEPS: usize = 24;

fn costs() -> Costs<'static> {
    let space = fixtures::space();
    let subnet = space.largest();
    let policy = space.uniform_policy(&subnet, 8);
    let reference = whole(&Candidate { subnet, policy });
    Costs { fixed: 100.0, block: &price, whole: &whole, reference }
}

fn settings() -> Settings {
    Settings {
        epochs: 1000,
        steps: Some(STEPS),
        batch: 16,
        learning_rate: 0.05,
        shift: 1,
        controller_rate: 0.1,
        calibration_images: 32,
        cost_samples: 8,
        ..Settings::default()
    }
}

fn run(settings: Settings, pinned: &Pinned, high: f64) -> Outcome {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let supernet = Supernet::new(&space, 4);
    let allowed: &dyn Fn(&Candidate) -> bool = &|_| true;
    let window = (Window { low: 0.0, high }, allowed);
    search(&dataset, pinned, costs(), (&space, &supernet), (settings, 9), window, &mut |_: &Row| {}).unwrap()
}

#[test]
fn lambda_moves_the_controller_along_the_cost() {
    for cost_gradient in [CostGradient::Reinforce, CostGradient::Expected] {
        let expected: Vec<f64> = [0.0, 0.02, 1.0]
            .into_iter()
            .map(|lambda| run(Settings { lambda, cost_gradient, ..settings() }, &Pinned::default(), f64::MAX))
            .map(|outcome| outcome.expected_cost)
            .collect();
        assert!(expected[0] > expected[1] && expected[1] > expected[2], "{cost_gradient:?}: {expected:?}");
    }
}

#[test]
fn a_met_limit_does_not_push() {
    let free = run(Settings { lambda: 0.0, ..settings() }, &Pinned::default(), f64::MAX);
    let met = run(Settings { lambda: 1.0, limit: Some(1000.0), ..settings() }, &Pinned::default(), f64::MAX);
    assert_eq!(free.expected_cost, met.expected_cost);
}

#[test]
fn the_same_seed_finds_the_same_and_the_work_is_counted() {
    let settings = Settings { order: Order::Second, ..settings() };
    let (one, two) =
        (run(settings.clone(), &Pinned::default(), f64::MAX), run(settings, &Pinned::default(), f64::MAX));
    assert_eq!(one, two);
    let Counters { work, controller_steps, look_ups } = one.counters;
    // A tenth of the steps is warm-up; a second-order step of the controller takes three passes.
    assert_eq!((controller_steps, work.training_steps), (21, 24 + 3 * 21));
    assert!(look_ups > 21 * 8);
    assert_eq!(one.history.len(), STEPS);
    assert!(one.history.last().unwrap().temperature < 0.2);
}

#[test]
fn a_search_that_was_cut_off_goes_on_as_if_it_was_not() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let supernet = Supernet::new(&space, 4);
    let new = |order, seed| {
        let choices = Choices::new(&space, &Pinned::default()).unwrap();
        Search::new(&dataset, choices, costs(), &supernet, Settings { order, ..settings() }, seed).unwrap()
    };
    let window = [Window { low: 0.0, high: f64::MAX }];
    for (order, cut) in [(Order::First, 0), (Order::First, 1), (Order::Second, 7), (Order::First, STEPS)] {
        let whole = run(Settings { order, ..settings() }, &Pinned::default(), f64::MAX);
        let mut first = new(order, 9);
        (0..cut).for_each(|_| assert!(first.step().is_ok()));
        let bytes = first.to_bytes(3);
        let mut second = new(order, 9);
        assert_eq!(second.restore(&bytes).unwrap(), 3);
        assert_eq!(second.position(), cut);
        assert_eq!(second.to_bytes(3), bytes);
        second.run_all(&mut |_: &Row| {}).unwrap();
        assert_eq!(second.finish(&window, &|_| true).unwrap(), whole, "{order:?} cut at {cut}");
        let foreign = new(order, 10).restore(&bytes).unwrap_err();
        assert!(foreign.to_string().contains("`seed` is 9, expected 10"), "{foreign}");
    }
}

#[test]
fn a_smaller_batch_for_the_controller_is_less_work() {
    let images = |controller_batch| {
        let settings = Settings { controller_batch, ..settings() };
        run(settings, &Pinned::default(), f64::MAX).counters.work.trained_images
    };
    assert_eq!(images(None), images(Some(16)));
    assert_eq!(images(None) - images(Some(4)), 21 * 12, "21 steps of 12 images less");
}

#[test]
fn what_is_found_meets_the_limit_and_is_what_was_pinned() {
    let space = fixtures::space();
    let half = costs().reference / 2.0;
    let found = run(settings(), &Pinned::default(), half);
    assert!(found.cost <= half && found.cost == whole(&found.candidate), "{} {half}", found.cost);
    let pinned = Pinned { precision: Precision::Fixed(8), ..Pinned::default() };
    let policy = run(settings(), &pinned, f64::MAX).candidate.policy.unwrap();
    assert!(policy.blocks.iter().all(|bits| bits.fields() == [8; 4]));
    let subnet = space.smallest();
    let found = run(settings(), &dnas::pinned(subnet.clone()), f64::MAX);
    assert_eq!(found.candidate.subnet, subnet);
}

#[test]
fn nothing_cheap_enough_is_an_error() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let supernet = Supernet::new(&space, 4);
    let choices = Choices::new(&space, &Pinned::default()).unwrap();
    let search = Search::new(&dataset, choices, costs(), &supernet, settings(), 1).unwrap();
    let error = search.finish(&[Window { low: 0.0, high: 50.0 }], &|_| true).unwrap_err();
    assert!(matches!(error, SupernetError::NothingAllowed { .. }), "{error}");
}

#[test]
fn impossible_settings_are_refused() {
    let bad = [
        Settings { batch: 0, ..settings() },
        Settings { temperature: 0.0, ..settings() },
        Settings { lambda: f64::NAN, ..settings() },
        Settings { held_out: 1.5, ..settings() },
        Settings { controller_batch: Some(0), ..settings() },
    ];
    bad.into_iter().for_each(|settings| assert!(settings.check().is_err(), "{settings:?}"));
}
