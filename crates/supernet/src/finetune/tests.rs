//! Fine-tuning small candidates: close to float at 8 bits, resumable, and a file that reads back the same.

use super::*;
use crate::fixtures;
use crate::sampling::Sampler;
use crate::training::Trainer;

const SEED: u64 = 8;

fn supernet(space: &SearchSpace, dataset: &Dataset) -> Supernet {
    let mut trainer = Trainer::new(space, dataset, fixtures::settings(), SEED).unwrap();
    while !trainer.is_done() {
        trainer.step().unwrap();
    }
    trainer.supernet()
}

fn settings() -> FinetuneSettings {
    FinetuneSettings {
        epochs: 4,
        batch: 16,
        shift: 0,
        recalibration_images: 96,
        ..FinetuneSettings::default()
    }
}

#[test]
fn every_width_trains_and_the_file_reads_back_the_same() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let supernet = supernet(&space, &dataset);
    // Least accuracy on 40 images of 4 classes; guessing gives 0.25.
    for (bits, least) in [(None, 0.8), (Some(8), 0.8), (Some(4), 0.7), (Some(2), 0.4)] {
        let candidate = fixtures::candidate(&space, bits);
        let mut finetuner =
            Finetuner::new(&space, &dataset, &supernet, &candidate, settings(), SEED).unwrap();
        while !finetuner.is_done() {
            finetuner.epoch(&mut |_: &StepReport| {}).unwrap();
        }
        let model = finetuner.finish().unwrap();
        let accuracy = model.accuracy(&space, &dataset, Part::Validation).unwrap();
        assert!(accuracy.value() >= least, "{bits:?}: {accuracy:?}");
        let bytes = model.to_bytes(&space);
        let back = FinetunedModel::from_bytes(&bytes, &space).unwrap();
        assert!(back.to_bytes(&space) == bytes, "{bits:?}");
        assert_eq!(back.accuracy(&space, &dataset, Part::Validation).unwrap(), accuracy);
        check_names(&model, bits.is_some());
    }
}

fn check_names(model: &FinetunedModel, quantized: bool) {
    let names: Vec<String> = model.arrays().into_iter().map(|array| array.name).collect();
    let has = |name: &str| names.iter().any(|other| other == name);
    let always = ["stem.weight", "stem.variance", "head.gamma", "classifier.bias", "image.zero_point"];
    let quantizers = [
        "stem.weight_threshold",
        "stage0.block0.expand.input_range",
        "stage0.block0.project.output_range",
        "stage1.block0.depthwise.input_range",
        "head.input_range",
        "head_input.range",
        "pooled.range",
        "classifier.weight_threshold",
    ];
    always.iter().for_each(|name| assert!(has(name), "{name}"));
    quantizers.iter().for_each(|name| assert_eq!(has(name), quantized, "{name}"));
    assert!(!has("stem.input_range") && !has("classifier.gamma"));
}

#[test]
fn resumed_fine_tuning_gives_the_same_bytes() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let (supernet, candidate) = (Supernet::new(&space, 1), fixtures::candidate(&space, Some(4)));
    let start = || Finetuner::new(&space, &dataset, &supernet, &candidate, settings(), SEED).unwrap();
    let mut whole = start();
    let mut first = start();
    (0..4).for_each(|_| drop(first.step().unwrap()));
    let bytes = first.to_bytes();
    let mut second =
        Finetuner::from_bytes(&bytes, &space, &dataset, &supernet, &candidate, settings(), SEED).unwrap();
    for finetuner in [&mut whole, &mut second] {
        while !finetuner.is_done() {
            finetuner.step().unwrap();
        }
    }
    assert!(whole.to_bytes() == second.to_bytes());
    assert!(whole.finish().unwrap().to_bytes(&space) == second.finish().unwrap().to_bytes(&space));
}

#[test]
fn measuring_is_a_unit_that_leaves_the_supernet_alone() {
    let (space, dataset) = (fixtures::space(), fixtures::dataset());
    let supernet = Supernet::new(&space, 1);
    let before = supernet.clone();
    let candidates = [fixtures::candidate(&space, Some(4)), fixtures::candidate(&space, Some(8))];
    let sampler = || Sampler::new(&space, &dataset, &supernet, settings(), SEED).unwrap();
    let mut forwards = sampler();
    let first = forwards.measure_mixed(&candidates[0], 0).unwrap();
    let second = forwards.measure_mixed(&candidates[1], 1).unwrap();
    let mut backwards = sampler();
    assert_eq!(backwards.measure_mixed(&candidates[1], 1).unwrap(), second);
    assert_eq!(backwards.measure_mixed(&candidates[0], 0).unwrap(), first);
    assert_eq!(supernet, before);
    assert!(backwards.measure_mixed(&fixtures::candidate(&space, None), 0).is_err());
}
