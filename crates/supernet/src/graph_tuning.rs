//! # Fine-tuning of graphs: networks from elsewhere, as they are wired
//!
//! Quantization-aware training as in [`finetune`](crate::finetune), of a [`Graph`] whose quantizers are in place: the
//! same loss, with the float graph as teacher, the same batches and optimiser, ranges learned at the rate of the
//! weights. Batch norms use the batch's statistics while training; afterwards they are estimated again under
//! quantization. What the steps are, and where their numbers lie, is the caller's.

use sartor_engine::NormStatistics;
use sartor_engine::graph::{Graph, GraphExecutor};
use sartor_space::Input;

use crate::data::{Ahead, Dataset};
use crate::error::Result;
use crate::finetune::{FinetuneSettings, PHASE, batch_plan, report, steps_per_epoch};
use crate::objective::{Objective, Outcome, Pass, Scratch};
use crate::progress::{Observer, StepReport, check_loss};
use crate::schedule::{learning_rate, sgd};
use crate::workbench::{Mean, Part, Workbench};

/// A graph with its numbers.
#[derive(Debug, Clone)]
pub struct GraphModel {
    /// Wiring and quantizers.
    pub graph: Graph,
    /// Weights, norms, biases and ranges.
    pub parameters: Vec<f32>,
    /// By step; empty where there is no norm.
    pub statistics: Vec<NormStatistics>,
}

impl GraphModel {
    /// Logits on every image of a split, `[images, classes]`.
    ///
    /// # Errors
    /// A data set of another shape.
    pub fn logits(&self, dataset: &Dataset, part: Part) -> Result<Vec<f32>> {
        let mut executor = GraphExecutor::new(self.graph.clone(), self.parameters.len())?;
        let mut workbench = Workbench::on(input(&executor), dataset, 0)?;
        let indices: Vec<u32> = (0..part.of(dataset).len() as u32).collect();
        let mut all = Vec::new();
        workbench.each_batch((part, &indices), |_, pixels, labels| {
            let count = labels.len();
            all.extend_from_slice(executor.infer(&self.parameters, &self.statistics, pixels, count)?);
            Ok(())
        })?;
        Ok(all)
    }
}

fn input(executor: &GraphExecutor) -> Input {
    let graph = executor.graph();
    Input { size: graph.image_size, channels: graph.image_channels, classes: executor.classes() }
}

/// The float graph, which stays as it is.
struct Teacher {
    model: GraphModel,
    executor: GraphExecutor,
}

/// Fine-tunes one graph.
pub struct GraphTuner<'a> {
    workbench: Workbench<'a>,
    executor: GraphExecutor,
    parameters: Vec<f32>,
    decays: Vec<bool>,
    teacher: Option<Teacher>,
    settings: FinetuneSettings,
    velocity: Vec<f32>,
    gradients: Vec<f32>,
    scratch: Scratch,
    batches: Ahead,
    step: usize,
    steps: usize,
}

struct GraphPass<'a> {
    executor: &'a mut GraphExecutor,
    parameters: &'a [f32],
}

impl Pass for GraphPass<'_> {
    fn image_length(&self) -> usize {
        self.executor.graph().image_length()
    }

    fn forward(&mut self, images: &[f32], batch: usize) -> Result<&[f32]> {
        Ok(self.executor.forward_train(self.parameters, images, batch)?)
    }

    fn backward(&mut self, logits_gradient: &[f32], gradients: &mut [f32]) -> Result<()> {
        Ok(self.executor.backward(self.parameters, logits_gradient, gradients)?)
    }
}

impl<'a> GraphTuner<'a> {
    /// Stands before the first step; `decays` says which numbers weight decay is for, `teacher` is the float graph.
    ///
    /// # Errors
    /// Impossible settings, a data set of another shape, a graph that is none.
    pub fn new(
        (graph, parameters): (Graph, Vec<f32>),
        decays: Vec<bool>,
        teacher: GraphModel,
        dataset: &'a Dataset,
        settings: FinetuneSettings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let executor = GraphExecutor::new(graph, parameters.len())?;
        let workbench = Workbench::on(input(&executor), dataset, seed)?;
        let teacher = match settings.distillation > 0.0 {
            true => {
                let executor = GraphExecutor::new(teacher.graph.clone(), teacher.parameters.len())?;
                Some(Teacher { model: teacher, executor })
            }
            false => None,
        };
        let (length, steps) = (parameters.len(), settings.total_steps(dataset.train.len()));
        let plan = batch_plan(&settings, dataset, seed);
        Ok(Self {
            batches: Ahead::new(dataset.train.clone(), plan, steps as u64),
            workbench,
            executor,
            parameters,
            decays,
            teacher,
            settings,
            velocity: vec![0.0; length],
            gradients: vec![0.0; length],
            scratch: Scratch::default(),
            step: 0,
            steps,
        })
    }

    /// Steps of the whole fine-tuning.
    pub fn total_steps(&self) -> usize {
        self.steps
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Divergence, with the step and, where it is known, the layer.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<()> {
        while self.step < self.steps {
            let report = self.step()?;
            observer.step(&report);
        }
        Ok(())
    }

    fn step(&mut self) -> Result<StepReport> {
        self.batches.take(self.step as u64, &mut self.workbench.batch)?;
        let images = self.workbench.batch.labels.len();
        self.ask_teacher()?;
        self.workbench.work.add_step(images);
        let outcome = self.gradients().map_err(|error| error.in_step(PHASE, self.step))?;
        check_loss(outcome.loss, self.executor.classes(), PHASE, self.step)?;
        let per_epoch = steps_per_epoch(&self.settings, self.workbench.dataset.train.len());
        let warm_up = (self.settings.warm_up * per_epoch as f64).round() as usize;
        let rate = learning_rate(self.settings.learning_rate, self.step, warm_up, self.steps);
        self.descend(rate)?;
        self.step += 1;
        Ok(report((self.step, self.steps, per_epoch), outcome, rate, images))
    }

    fn ask_teacher(&mut self) -> Result<()> {
        self.scratch.teacher_logits.clear();
        if let Some(Teacher { model, executor }) = &mut self.teacher {
            let batch = &self.workbench.batch;
            let logits =
                executor.infer(&model.parameters, &model.statistics, &batch.images, batch.labels.len())?;
            self.scratch.teacher_logits.extend_from_slice(logits);
        }
        Ok(())
    }

    fn gradients(&mut self) -> Result<Outcome> {
        let FinetuneSettings { label_smoothing, distillation, micro_batch, .. } = self.settings;
        let objective = Objective { label_smoothing, distillation, micro_batch };
        self.gradients.fill(0.0);
        let mut pass = GraphPass { executor: &mut self.executor, parameters: &self.parameters };
        objective.over(&self.workbench.batch, &mut pass, &mut self.scratch, 1.0, &mut self.gradients)
    }

    fn descend(&mut self, learning_rate: f64) -> Result<()> {
        let descent = sgd(self.settings.momentum, self.settings.weight_decay);
        let (values, velocity) = (&mut self.parameters, &mut self.velocity);
        Ok(descent.step(values, &self.gradients, velocity, learning_rate as f32, &self.decays)?)
    }

    /// Estimates the batch-norm statistics again under quantization and gives the trained graph.
    ///
    /// # Errors
    /// Values that are not finite.
    pub fn finish(mut self) -> Result<GraphModel> {
        let (mut mean, executor) = (Mean::default(), &mut self.executor);
        self.workbench.each_calibration_batch(self.settings.recalibration_images, |_, pixels, count| {
            let batch = std::iter::once((pixels, count));
            mean.add(executor.recalibrate(&self.parameters, batch)?, count);
            Ok(())
        })?;
        let statistics = mean.finish();
        Ok(GraphModel { graph: self.executor.graph().clone(), parameters: self.parameters, statistics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use sartor_engine::graph::{Affine, Filters, Rectifier, Step, Window, Work};
    use sartor_engine::{ActivationQuantizer, WeightQuantizer};

    const SEED: u64 = 5;

    /// Two convolutions with norms and a sum of both, max pool, classifier; 3-bit weights, 4-bit streams if quantized.
    fn small(dataset: &Dataset, quantized: bool) -> (Graph, Vec<f32>, Vec<bool>) {
        let (channels, size) = (dataset.train.channels, dataset.train.size);
        let (mut parameters, mut decays, mut steps) = (vec![], vec![], vec![]);
        let mut noise = 1u64;
        let mut take = |length: usize, scale: f32, around: f32| {
            let offset = parameters.len();
            for _ in 0..length {
                noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                parameters.push(around + scale * ((noise >> 40) as f32 / (1u64 << 23) as f32 - 1.0));
                decays.push(scale > 0.0);
            }
            offset
        };
        let mut push =
            |input, work, rectifier, range: Option<f32>, take: &mut dyn FnMut(usize, f32, f32) -> usize| {
                let output_quantizer = range.filter(|_| quantized).map(|range| ActivationQuantizer {
                    bits: 4,
                    signed: rectifier == Rectifier::None,
                    range_offset: take(1, 0.0, range),
                    rivals: None,
                });
                let name = format!("step{}", steps.len());
                steps.push(Step { name, input, input_quantizer: None, work, rectifier, output_quantizer });
            };
        let filters = |inputs: usize,
                       channels: usize,
                       (kernel, padding),
                       take: &mut dyn FnMut(usize, f32, f32) -> usize,
                       norm| {
            let quantizer = WeightQuantizer { bits: 3, thresholds: vec![0.6; channels].into() };
            Work::Convolution(Filters {
                depthwise: false,
                window: Window::even(kernel, 1, padding),
                channels,
                weight_offset: take(kernel * kernel * inputs * channels, 0.5, 0.0),
                weight_quantizer: quantized.then_some(quantizer),
                affine: match norm {
                    true => Affine::Norm {
                        gamma_offset: take(channels, 0.0, 1.0),
                        beta_offset: take(channels, 0.0, 0.1),
                    },
                    false => Affine::Bias { offset: take(channels, 0.0, 0.0) },
                },
            })
        };
        let first = filters(channels, 6, (3, 1), &mut take, true);
        push(0, first, Rectifier::Relu, Some(3.0), &mut take);
        let second = filters(6, 6, (3, 1), &mut take, true);
        push(1, second, Rectifier::None, Some(3.0), &mut take);
        push(2, Work::Add { other: 1 }, Rectifier::Relu, Some(5.0), &mut take);
        push(3, Work::MaxPool(Window::even(2, 2, 0)), Rectifier::None, None, &mut take);
        let last = filters(6, dataset.classes, (size / 2, 0), &mut take, false);
        push(4, last, Rectifier::None, None, &mut take);
        (Graph { image_size: size, image_channels: channels, steps }, parameters, decays)
    }

    fn tune(dataset: &Dataset, quantized: bool) -> (Vec<f64>, GraphModel) {
        let (graph, parameters, decays) = small(dataset, quantized);
        let settings = FinetuneSettings { epochs: 8, batch: 24, distillation: 0.0, ..Default::default() };
        let statistics = vec![NormStatistics::default(); graph.steps.len()];
        let teacher = GraphModel { graph: graph.clone(), parameters: parameters.clone(), statistics };
        let mut tuner =
            GraphTuner::new((graph, parameters), decays, teacher, dataset, settings, SEED).unwrap();
        let mut losses = vec![];
        tuner.run(&mut |report: &StepReport| losses.push(report.loss)).unwrap();
        assert_eq!(losses.len(), tuner.total_steps());
        (losses, tuner.finish().unwrap())
    }

    #[test]
    fn training_lowers_the_loss_and_gives_a_model_that_answers() {
        let dataset = fixtures::dataset();
        for quantized in [false, true] {
            let (losses, model) = tune(&dataset, quantized);
            let ends = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            let (first, last) = (ends(&losses[..4]), ends(&losses[losses.len() - 4..]));
            assert!(last < 0.8 * first, "{quantized}: {first} to {last}");
            let logits = model.logits(&dataset, Part::Test).unwrap();
            let correct = sartor_engine::losses::correct(
                &logits,
                &dataset.test.labels.iter().map(|&label| label as usize).collect::<Vec<_>>(),
            );
            assert!(correct * 2 > dataset.test.len(), "{quantized}: {correct} of {}", dataset.test.len());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let dataset = fixtures::dataset();
        assert_eq!(tune(&dataset, true).1.parameters, tune(&dataset, true).1.parameters);
    }
}
