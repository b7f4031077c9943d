//! Speed of a training step and of inference on the reference network, of its layers, and of the machine.
//!
//! `cargo bench -p sartor-engine -- step [--threads N] [--steps N]` prints JSON lines: the step; the step with fake
//! quantization and of half the width; every layer forward and backward; the machine's multiply-add peak and STREAM
//! triad. The reference network: stem, nine inverted bottlenecks, 1×1 to 128, on 32×32×3 images, batch 64.
#![allow(clippy::print_stdout)]

use std::sync::{Arc, Mutex};
use std::time::Instant;

use sartor_engine::losses::cross_entropy;
use sartor_engine::optimizer::Sgd;
use sartor_engine::*;

const BATCH: usize = 64;
const WARM: usize = 3;
/// (in, out, kernel, stride, expansion) of each block.
const BLOCKS: [(usize, usize, usize, usize, usize); 9] = [
    (16, 24, 3, 1, 4),
    (24, 24, 5, 2, 6),
    (24, 24, 7, 1, 4),
    (24, 40, 3, 2, 6),
    (40, 40, 5, 1, 4),
    (40, 40, 7, 1, 6),
    (40, 64, 5, 2, 6),
    (64, 64, 3, 1, 4),
    (64, 64, 7, 1, 6),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| {
        arguments.iter().position(|a| a == flag).and_then(|i| arguments.get(i + 1)?.parse().ok())
    };
    let (threads, steps) = (after("--threads").unwrap_or(0), after("--steps").unwrap_or(15));
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        println!("{{\"error\":\"{error}\"}}");
    }
    step("step", &Model::new(1, false), steps);
    step("step, quantized", &Model::new(1, true), steps);
    step("step, half the width", &Model::new(2, false), steps);
    ratios(steps);
    layers(&Model::new(1, false), steps);
    machine();
}

/// The reference network with its numbers.
struct Model {
    network: Network,
    parameters: Vec<f32>,
    images: Vec<f32>,
    labels: Vec<usize>,
    seed: u64,
}

impl Model {
    fn new(narrower: usize, quantized: bool) -> Self {
        let head = Head {
            input: 0,
            features: 128,
            classes: 10,
            weight: WeightView { offset: 0, row_stride: 10 },
            bias_offset: 0,
            input_quantizer: None,
            pooled_quantizer: None,
            weight_quantizer: None,
        };
        let network = Network { image_size: 32, image_channels: 3, layers: vec![], head };
        let (parameters, labels) = (vec![], (0..BATCH).map(|i| i % 10).collect());
        let mut model = Self { network, parameters, images: vec![], labels, seed: 1 };
        model.images = (0..BATCH * 32 * 32 * 3).map(|_| model.noise()).collect();
        model.layers(narrower);
        model.head();
        if quantized {
            model.quantize();
        }
        model
    }

    fn noise(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            sum += (self.seed >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * 1.73
    }

    fn layers(&mut self, narrower: usize) {
        self.layer(Convolution::Dense { kernel: 3, stride: 1 }, 3, 16, 32, Activation::Relu6);
        let mut size = 32;
        for (input, output, kernel, stride, expansion) in BLOCKS {
            let from = self.network.layers.len() - 1;
            let middle = input * expansion / narrower;
            self.layer(Convolution::Pointwise, input, middle, size, Activation::Relu6);
            self.layer(Convolution::Depthwise { kernel, stride }, middle, middle, size, Activation::Relu6);
            size /= stride;
            self.layer(Convolution::Pointwise, middle, output, size, Activation::Linear);
            let residual = (input == output && stride == 1).then_some(from);
            let Some(last) = self.network.layers.last_mut() else { continue };
            last.residual = residual;
        }
        self.layer(Convolution::Pointwise, 64, 128, size, Activation::Relu6);
    }

    fn layer(
        &mut self,
        convolution: Convolution,
        input: usize,
        output: usize,
        size: usize,
        activation: Activation,
    ) {
        let index = self.network.layers.len();
        let rows = match convolution {
            Convolution::Dense { kernel, .. } => kernel * kernel * input,
            Convolution::Pointwise => input,
            Convolution::Depthwise { kernel, .. } => kernel * kernel,
        };
        let weight = WeightView {
            offset: self.take(rows * output, (2.0 / rows as f32).sqrt(), 0.0),
            row_stride: output,
        };
        let (gamma_offset, beta_offset) = (self.take(output, 0.0, 1.0), self.take(output, 0.0, 0.0));
        self.network.layers.push(Layer {
            name: format!("{index}"),
            convolution,
            in_channels: input,
            out_channels: output,
            input_size: size,
            weight,
            kernel_transform: None,
            weight_quantizer: None,
            gamma_offset,
            beta_offset,
            activation,
            input: if index == 0 { Source::Image } else { Source::Layer(index - 1) },
            input_quantizer: None,
            output_quantizer: None,
            residual: None,
            sum_quantizer: None,
        });
    }

    fn head(&mut self) {
        let (weight, bias) = (self.take(1280, 0.09, 0.0), self.take(10, 0.0, 0.0));
        let head = &mut self.network.head;
        (head.input, head.weight.offset, head.bias_offset) = (self.network.layers.len() - 1, weight, bias);
    }

    fn take(&mut self, length: usize, scale: f32, around: f32) -> usize {
        let offset = self.parameters.len();
        for _ in 0..length {
            let value = self.noise() * scale + around;
            self.parameters.push(value);
        }
        offset
    }

    /// 8-bit weights and activations wherever the export puts a quantizer.
    fn quantize(&mut self) {
        for index in 0..self.network.layers.len() {
            let after_linear = index > 0 && self.network.layers[index - 1].activation == Activation::Linear;
            let ranges = [(); 3].map(|()| self.take(1, 0.0, 5.0));
            let layer = &mut self.network.layers[index];
            layer.weight_quantizer = Some(weights(layer.out_channels));
            let quantizer = |signed, range_offset| {
                Some(ActivationQuantizer { bits: 8, signed, range_offset, rivals: None })
            };
            layer.input_quantizer =
                if index == 0 || after_linear { None } else { quantizer(false, ranges[0]) };
            if layer.activation == Activation::Linear {
                layer.output_quantizer = quantizer(true, ranges[1]);
                layer.sum_quantizer = quantizer(true, ranges[2]);
            }
        }
        let range_offset = self.take(1, 0.0, 5.0);
        self.network.head.input_quantizer =
            Some(ActivationQuantizer { bits: 8, signed: false, range_offset, rivals: None });
        self.network.head.weight_quantizer = Some(weights(10));
    }
}

fn weights(channels: usize) -> WeightQuantizer {
    WeightQuantizer { bits: 8, thresholds: Arc::from(vec![2.0; channels]) }
}

/// Median seconds by the clock, and of processor time (which other programs on the machine change less).
fn median_of_both(steps: usize, mut work: impl FnMut()) -> [f64; 2] {
    (0..WARM).for_each(|_| work());
    let mut seconds = [vec![], vec![]];
    for _ in 0..steps {
        let (start, processor) = (Instant::now(), processor_seconds());
        work();
        seconds[0].push(start.elapsed().as_secs_f64());
        seconds[1].push(processor_seconds() - processor);
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[steps / 2]
    })
}

fn median(steps: usize, work: impl FnMut()) -> f64 {
    median_of_both(steps, work)[0]
}

/// Processor time of all threads so far.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` only.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// One training step: forward, cross entropy, backward, SGD with momentum.
struct Trainer<'a> {
    model: &'a Model,
    executor: Executor,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
    velocity: Vec<f32>,
    mask: Vec<bool>,
}

impl<'a> Trainer<'a> {
    fn new(model: &'a Model) -> Self {
        let count = model.parameters.len();
        let zeros = vec![0.0; count];
        let (parameters, mask) = (model.parameters.clone(), vec![false; count]);
        Self { model, executor: Executor::new(), parameters, gradients: zeros.clone(), velocity: zeros, mask }
    }

    fn step(&mut self) -> Result<f64, EngineError> {
        let Model { network, images, labels, .. } = self.model;
        let logits = self.executor.forward_train(network, &self.parameters, images, BATCH)?;
        let mut gradient = [0.0; BATCH * 10];
        let loss = cross_entropy(logits, labels, 0.0, 1.0, &mut gradient)?;
        self.gradients.fill(0.0);
        self.executor.backward(network, &self.parameters, &gradient, &mut self.gradients)?;
        let sgd = Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 };
        sgd.step(&mut self.parameters, &self.gradients, &mut self.velocity, 0.01, &self.mask)?;
        Ok(loss)
    }
}

fn step(name: &str, model: &Model, steps: usize) {
    let mut trainer = Trainer::new(model);
    let mut loss = f64::NAN;
    let [train, train_processor] = median_of_both(steps, || loss = trainer.step().unwrap_or(f64::NAN));
    let statistics = trainer.executor.batch_statistics().to_vec();
    let mut executor = Executor::new();
    let [infer, infer_processor] = median_of_both(steps, || {
        let result = executor.infer(&model.network, &trainer.parameters, &statistics, &model.images, BATCH);
        loss = if result.is_ok() { loss } else { f64::NAN };
    });
    println!(
        "{{\"name\":\"{name}\",\"train_images_per_second\":{:.1},\"infer_images_per_second\":{:.1},\"threads\":{},\
         \"train_images_per_processor_second\":{:.1},\"infer_images_per_processor_second\":{:.1},\
         \"simd\":\"{}\",\"batch\":{BATCH},\"loss\":{loss:.4},\"megabytes\":{:.0}}}",
        BATCH as f64 / train,
        BATCH as f64 / infer,
        rayon::current_num_threads(),
        BATCH as f64 / train_processor,
        BATCH as f64 / infer_processor,
        simd::level().name(),
        trainer.executor.memory() as f64 / 1e6,
    );
}

/// How the steps relate, each measured in turn so that all see the same machine; medians of processor time.
fn ratios(steps: usize) {
    let models = [Model::new(1, false), Model::new(1, true), Model::new(2, false), Model::new(4, false)];
    let mut trainers: Vec<Trainer> = models.iter().map(Trainer::new).collect();
    let mut teacher = trainers[0].teacher();
    let mut shared = Executor::new();
    let names = ["step, quantized", "step, half the width", "elastic step against its parts"];
    let mut rounds = names.map(|_| vec![]);
    for round in 0..steps + WARM {
        let time = |work: &mut dyn FnMut()| {
            let start = processor_seconds();
            work();
            processor_seconds() - start
        };
        let parts: Vec<f64> = trainers.iter_mut().map(|t| time(&mut || assert!(t.step().is_ok()))).collect();
        let forward = time(&mut || assert!(teacher.run().is_ok()));
        // The teacher and four subnets of three widths, all on one executor.
        let elastic = time(&mut || {
            teacher.swap(&mut shared);
            assert!(teacher.run().is_ok());
            teacher.swap(&mut shared);
            for index in [0, 2, 3, 2] {
                std::mem::swap(&mut trainers[index].executor, &mut shared);
                assert!(trainers[index].step().is_ok());
                std::mem::swap(&mut trainers[index].executor, &mut shared);
            }
        });
        let sum = forward + parts[0] + 2.0 * parts[2] + parts[3];
        if round >= WARM {
            let values = [parts[1] / parts[0], parts[2] / parts[0], elastic / sum];
            rounds.iter_mut().zip(values).for_each(|(round, value)| round.push(value));
        }
    }
    for (name, mut values) in names.into_iter().zip(rounds) {
        values.sort_by(f64::total_cmp);
        println!("{{\"name\":\"ratio\",\"of\":\"{name}\",\"ratio\":{:.3}}}", values[values.len() / 2]);
    }
}

/// Inference with the statistics of a trained step.
struct Teacher<'a> {
    model: &'a Model,
    executor: Executor,
    statistics: Vec<NormStatistics>,
}

impl Teacher<'_> {
    fn run(&mut self) -> Result<(), EngineError> {
        let Model { network, parameters, images, .. } = self.model;
        self.executor.infer(network, parameters, &self.statistics, images, BATCH).map(|_| ())
    }

    fn swap(&mut self, other: &mut Executor) {
        std::mem::swap(&mut self.executor, other);
    }
}

impl<'a> Trainer<'a> {
    fn teacher(&mut self) -> Teacher<'a> {
        assert!(self.step().is_ok());
        let statistics = self.executor.batch_statistics().to_vec();
        Teacher { model: self.model, executor: Executor::new(), statistics }
    }
}

static MOMENTS: Mutex<Vec<(Moment, Instant)>> = Mutex::new(Vec::new());

fn record(moment: Moment) {
    if let Ok(mut moments) = MOMENTS.lock() {
        moments.push((moment, Instant::now()));
    }
}

/// Time of every layer within whole steps, so with the caches as they are then.
fn layers(model: &Model, steps: usize) {
    let mut trainer = Trainer::new(model);
    trainer.executor.set_probe(Some(record));
    let mut rounds: Vec<Vec<(Moment, f64)>> = vec![];
    for _ in 0..steps + WARM {
        MOMENTS.lock().map(|mut moments| moments.clear()).unwrap_or_default();
        if trainer.step().is_err() {
            return;
        }
        let moments = MOMENTS.lock().map(|moments| moments.clone()).unwrap_or_default();
        let seconds = |pair: &[(Moment, Instant)]| (pair[1].0, (pair[1].1 - pair[0].1).as_secs_f64());
        rounds.push(moments.windows(2).map(seconds).collect());
    }
    for i in 0..rounds[0].len() {
        let mut seconds: Vec<f64> = rounds[WARM..].iter().map(|round| round[i].1).collect();
        seconds.sort_by(f64::total_cmp);
        print_layer(model, rounds[0][i].0, seconds[steps / 2]);
    }
}

fn print_layer(model: &Model, moment: Moment, seconds: f64) {
    let (direction, index, products) = match moment {
        Moment::Forward(index) => ("forward", index, 1.0),
        Moment::Backward(0) => ("backward", 0, 1.0),
        Moment::Backward(index) => ("backward", index, 2.0),
        other => return println!("{{\"name\":\"{other:?}\",\"milliseconds\":{:.3}}}", seconds * 1e3),
    };
    let layer = &model.network.layers[index];
    let operations = 2.0 * products * (BATCH * layer.multiply_accumulates()) as f64;
    println!(
        "{{\"name\":\"layer\",\"index\":{index},\"direction\":\"{direction}\",\"convolution\":\"{:?}\",\"in\":{},\
         \"out\":{},\"size\":{},\"milliseconds\":{:.3},\"gflops\":{:.1}}}",
        layer.convolution,
        layer.in_channels,
        layer.out_channels,
        layer.input_size,
        seconds * 1e3,
        operations / seconds / 1e9
    );
}

fn machine() {
    let (mut operations, mut value) = (0.0, 0.0);
    let seconds = median(5, || (operations, value) = roofline::multiply_adds(4_000_000));
    println!("{{\"name\":\"multiply_adds\",\"gflops\":{:.1},\"value\":{value}}}", operations / seconds / 1e9);
    let length = 32 << 20;
    let (a, b, mut c) = (vec![1.0f32; length], vec![2.0f32; length], vec![0.0f32; length]);
    let mut bytes = 0.0;
    let seconds = median(5, || bytes = roofline::triad(&a, &b, &mut c));
    println!("{{\"name\":\"triad\",\"gigabytes_per_second\":{:.1}}}", bytes / seconds / 1e9);
}
