//! Integers: not a stage of its own, but what fine-tuning, export and verification say about the integer network.

use anyhow::{Context, Result};
use sartor_export::graph::Quantizer;
use sartor_export::{Executor, QuantizedNetwork, Style, TrainedModel};
use sartor_space::{Candidate, SearchSpace};
use sartor_supernet::Part;
use sartor_supernet::data::Images;
use sartor_supernet::finetune::FinetunedModel;

use super::finetune::weights_name;
use crate::records::{IntegerScore, Score};
use crate::session::Session;
use crate::statistics::Accuracy;

/// The model with the biases that its integer network has, and that network: from here on both are the same function.
///
/// # Errors
/// A model without an integer form.
pub fn settle(space: &SearchSpace, model: &FinetunedModel) -> Result<(FinetunedModel, QuantizedNetwork)> {
    let trained = TrainedModel::from_bytes(&model.to_bytes(space))?;
    let network = QuantizedNetwork::build(&trained, &model.model.workload)?;
    let settled = trained.with_integer_biases(&network)?;
    Ok((FinetunedModel::from_bytes(&settled.to_bytes()?, space)?, network))
}

/// The integer executor beside the fake-quantized network, and its answers to the test images.
///
/// # Errors
/// Images that do not fit.
pub fn score(
    session: &Session,
    model: &FinetunedModel,
    network: &QuantizedNetwork,
) -> Result<(IntegerScore, Vec<usize>)> {
    let dataset = session.dataset()?;
    let test = top1(network, &dataset.test)?;
    let faked = model.logits(&session.config.space, dataset, Part::Test)?;
    let faked: Vec<usize> =
        faked.chunks_exact(network.classes()).map(sartor_export::executor::arg_max).collect();
    let same = test.iter().zip(&faked).filter(|(a, b)| a == b).count();
    let score = IntegerScore {
        validation: accuracy(&top1(network, &dataset.validation)?, &dataset.validation),
        test: accuracy(&test, &dataset.test),
        agreement: same as f64 / test.len().max(1) as f64,
    };
    Ok((score, test))
}

/// The integer network of a fine-tuned model in the run folder.
///
/// # Errors
/// Weights that are missing, corrupt, or not of this candidate.
pub fn network(session: &Session, score: &Score) -> Result<QuantizedNetwork> {
    let path = session.folder.path(&weights_name(&score.id));
    let (model, space) = (TrainedModel::read(&path)?, &session.config.space);
    let workload = space.lower(&Candidate::from_json(&score.candidate.to_string(), space)?);
    QuantizedNetwork::build(&model, &workload).with_context(|| format!("cannot use `{}`", path.display()))
}

/// The network as it is exported, with what int8 logits stand for.
///
/// # Errors
/// As [`network`] and [`logits`].
pub fn exported(session: &Session, score: &Score) -> Result<(QuantizedNetwork, Quantizer)> {
    let network = network(session, score)?;
    let logits = logits(session, &network)?;
    let background = session.config.export.background_class;
    Ok((if background { network.with_background_class() } else { network }, logits))
}

/// Labels of images as the exported network counts them.
pub fn exported_labels(session: &Session, images: &Images) -> Vec<u32> {
    let first = u32::from(session.config.export.background_class);
    images.labels.iter().map(|label| label + first).collect()
}

/// The executor's answers.
///
/// # Errors
/// Images that do not fit.
pub fn top1(network: &QuantizedNetwork, images: &Images) -> Result<Vec<usize>> {
    Ok(Executor::new(network, Style::FloatTiesToEven).run(&images.pixels)?.top1())
}

/// Steps of int8 logits: they just hold what the network says about the validation images.
///
/// # Errors
/// Images that do not fit.
fn logits(session: &Session, network: &QuantizedNetwork) -> Result<Quantizer> {
    let images = &session.dataset()?.validation;
    Ok(Executor::new(network, Style::FloatTiesToEven).run(&images.pixels)?.int8_quantizer())
}

/// Share of answers that are the images' labels.
pub fn accuracy(answers: &[usize], images: &Images) -> Accuracy {
    let right = answers.iter().zip(&images.labels).filter(|&(&class, &label)| class == label as usize);
    Accuracy { value: right.count() as f64 / images.len().max(1) as f64, images: images.len() }
}
