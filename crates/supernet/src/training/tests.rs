//! Whole small trainings: repeatable, resumable, and better than guessing.

use super::*;
use crate::evaluation::Evaluator;
use crate::fixtures;

const SEED: u64 = 5;

fn train(trainer: &mut Trainer<'_>, steps: usize) -> Vec<StepReport> {
    let mut reports = vec![];
    while reports.len() < steps && !trainer.is_done() {
        reports.push(trainer.step().unwrap());
    }
    reports
}

#[test]
fn resumed_training_gives_the_same_bytes() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let mut whole = Trainer::new(&space, &dataset, fixtures::settings(), SEED).unwrap();
    let total = whole.total_steps();
    // In the middle of an epoch, at the end of a phase, and just after the teacher was frozen.
    for stop in [5, 48, 49, total - 2] {
        let mut first = Trainer::new(&space, &dataset, fixtures::settings(), SEED).unwrap();
        train(&mut first, stop);
        let bytes = first.to_bytes();
        let mut second = Trainer::from_bytes(&bytes, &space, &dataset, fixtures::settings(), SEED).unwrap();
        assert_eq!(second.position(), first.position());
        assert_eq!(second.to_bytes(), bytes);
        train(&mut second, total);
        train(&mut whole, total);
        assert!(second.to_bytes() == whole.to_bytes(), "stopped at {stop}");
    }
}

#[test]
fn thread_count_does_not_change_a_bit() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut trainer = Trainer::new(&space, &dataset, fixtures::settings(), SEED).unwrap();
            train(&mut trainer, 60);
            trainer.to_bytes()
        })
    };
    assert!(run(1) == run(3));
}

#[test]
fn checkpoints_of_another_run_are_refused() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let bytes = Trainer::new(&space, &dataset, fixtures::settings(), SEED).unwrap().to_bytes();
    let refuse = |dataset: &Dataset, settings, seed| {
        Trainer::from_bytes(&bytes, &space, dataset, settings, seed).err().unwrap().to_string()
    };
    let mut other = dataset.clone();
    other.hash = "others".into();
    let slower = TrainingSettings { momentum: 0.5, ..fixtures::settings() };
    assert!(refuse(&other, fixtures::settings(), SEED).contains("`dataset_hash`"));
    assert!(refuse(&dataset, slower, SEED).contains("`settings`"));
    assert!(refuse(&dataset, fixtures::settings(), SEED + 1).contains("`seed`"));
}

#[test]
fn training_learns_and_subnets_inherit() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let mut trainer = Trainer::new(&space, &dataset, fixtures::settings(), SEED).unwrap();
    let mut last = None;
    while !trainer.is_done() {
        trainer.epoch(&mut |report: &StepReport| last = Some(report.clone())).unwrap();
    }
    let last = last.unwrap();
    assert!(last.ends_epoch && last.ends_phase && last.overall + 1 == last.overall_steps);
    let supernet = trainer.supernet();
    let mut evaluator = Evaluator::new(&space, &dataset, 96, SEED).unwrap();
    for subnet in [space.largest(), space.smallest(), fixtures::candidate(&space, None).subnet] {
        let accuracy = evaluator.subnet(&supernet, &subnet, crate::Part::Validation).unwrap();
        assert!(accuracy.value() > 0.8, "{subnet:?}: {accuracy:?}");
    }
}

#[test]
fn divergence_is_an_error_that_says_where() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let mut settings = fixtures::settings();
    settings.phases[0].learning_rate = 1e12;
    let mut trainer = Trainer::new(&space, &dataset, settings, SEED).unwrap();
    let error = (0..12).find_map(|_| trainer.step().err()).expect("a rate of 1e12 diverges");
    assert!(error.to_string().contains("phase `largest` at step"), "{error}");
}

#[test]
fn another_shape_of_images_is_refused() {
    let (space, dataset) = (SearchSpace::preset("quickstart").unwrap(), fixtures::dataset());
    assert!(Trainer::new(&space, &dataset, fixtures::settings(), SEED).is_err());
}

#[test]
fn the_sandwich_rule_sends_the_smallest_subnet_first() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let mut settings = fixtures::settings();
    let (last, phase) = (settings.phases.len() - 1, settings.phases.last_mut().unwrap());
    phase.smallest = true;
    let phase = phase.clone();
    let mut trainer = Trainer::new(&space, &dataset, settings, SEED).unwrap();
    trainer.position = Position { phase: last, step: 0 };
    assert_eq!(trainer.subnet(&phase, 0), space.smallest());
    let others = (1..8).filter(|&place| trainer.subnet(&phase, place) != space.smallest());
    assert!(others.count() > 0);
}
