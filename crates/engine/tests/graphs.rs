//! Graphs against PyTorch, against finite differences, and against themselves with other threads and instructions.

#[allow(dead_code)]
#[path = "golden/compare.rs"]
mod compare;
#[allow(dead_code)]
#[path = "golden/parse.rs"]
mod parse;
mod support;

use compare::{close, close_to};
use parse::{floats, index, list, load};
use sartor_engine::graph::{Affine, Filters, Graph, GraphExecutor, Rectifier, Step, Window, Work};
use sartor_engine::simd::Level;
use sartor_engine::{ActivationQuantizer, EngineError, NormStatistics, WeightQuantizer};
use serde_json::Value;
use support::Noise;

/// Logits and statistics, as a share of the largest: a few dozen roundings of 6e-8.
const FORWARD: f64 = 4e-6;
/// Gradients, as a share of the largest.
const GRADIENTS: f64 = 2e-5;
/// Instruction sets sum in other orders, and a value near a quantizer's edge may then fall to the other side.
const LEVELS: f64 = 1e-4;
/// Central differences in f32: noise of the loss over the step, and kinks that a step crosses.
const DIFFERENCES: f64 = 3e-2;
const STEP: f32 = 2e-4;

const CASES: [&str; 4] = ["small_cnn", "basic_blocks", "odd_wiring", "quantized"];

struct Case {
    name: String,
    graph: Graph,
    batch: usize,
    parameters: Vec<f32>,
    images: Vec<f32>,
    file: Value,
}

impl Case {
    fn load(name: &str) -> Self {
        let file = load(&format!("graphs/{name}"));
        Self {
            name: name.into(),
            graph: graph(&file["graph"]),
            batch: index(&file["batch"]),
            parameters: floats(&file["parameters"]),
            images: floats(&file["images"]),
            file,
        }
    }

    fn executor(&self) -> GraphExecutor {
        GraphExecutor::new(self.graph.clone(), self.parameters.len()).unwrap()
    }
}

fn graph(value: &Value) -> Graph {
    Graph {
        image_size: index(&value["image_size"]),
        image_channels: index(&value["image_channels"]),
        steps: list(&value["steps"], step),
    }
}

fn step(value: &Value) -> Step {
    let (work, rectifier) = (&value["work"], &value["rectifier"]);
    Step {
        name: value["name"].as_str().unwrap().into(),
        input: index(&value["input"]),
        input_quantizer: quantizer(&value["input_quantizer"]),
        work: match work["kind"].as_str().unwrap() {
            "convolution" => Work::Convolution(filters(work)),
            "add" => Work::Add { other: index(&work["other"]) },
            "max_pool" => Work::MaxPool(window(work)),
            _ => Work::AveragePool(window(work)),
        },
        rectifier: match (rectifier.as_f64(), rectifier.is_null()) {
            (Some(ceiling), _) => Rectifier::Clipped(ceiling as f32),
            (None, true) => Rectifier::None,
            (None, false) => Rectifier::Relu,
        },
        output_quantizer: quantizer(&value["output_quantizer"]),
    }
}

fn window(work: &Value) -> Window {
    let [kernel, stride, padding] = ["kernel", "stride", "padding"].map(|field| index(&work[field]));
    Window::even(kernel, stride, padding)
}

fn filters(work: &Value) -> Filters {
    let quantizer = &work["weight_quantizer"];
    Filters {
        depthwise: work["depthwise"].as_bool().unwrap(),
        window: window(work),
        channels: index(&work["out_channels"]),
        weight_offset: index(&work["weight_offset"]),
        weight_quantizer: quantizer.is_object().then(|| WeightQuantizer {
            bits: index(&quantizer["bits"]) as u8,
            thresholds: floats(&quantizer["thresholds"]).into(),
        }),
        affine: match work.get("bias_offset") {
            Some(offset) => Affine::Bias { offset: index(offset) },
            None => Affine::Norm {
                gamma_offset: index(&work["gamma_offset"]),
                beta_offset: index(&work["beta_offset"]),
            },
        },
    }
}

fn quantizer(value: &Value) -> Option<ActivationQuantizer> {
    value.is_object().then(|| ActivationQuantizer {
        bits: index(&value["bits"]) as u8,
        signed: value["signed"].as_bool().unwrap(),
        range_offset: index(&value["range_offset"]),
        rivals: None,
    })
}

fn statistics(value: &Value) -> NormStatistics {
    let numbers = |field: &str| value.get(field).map_or(vec![], floats);
    NormStatistics { mean: numbers("mean"), variance: numbers("variance") }
}

#[test]
fn every_graph_agrees_with_pytorch() {
    for case in CASES.map(Case::load) {
        let (mut executor, name) = (case.executor(), &case.name[..]);
        let mut gradients = vec![0.0; case.parameters.len()];
        let incoming = floats(&case.file["logits_gradient"]);
        for times in [1.0, 2.0] {
            let logits = executor.forward_train(&case.parameters, &case.images, case.batch).unwrap();
            close(name, "logits", logits, &floats(&case.file["logits"]), FORWARD);
            executor.backward(&case.parameters, &incoming, &mut gradients).unwrap();
            let wanted: Vec<f32> = floats(&case.file["gradients"]).iter().map(|g| g * times).collect();
            close(name, "gradients", &gradients, &wanted, GRADIENTS);
        }
        for (got, want) in executor.batch_statistics().iter().zip(list(&case.file["statistics"], statistics))
        {
            let spread = want.variance.iter().fold(0f32, |most, &value| most.max(value)).sqrt();
            close_to(name, "mean", &got.mean, &want.mean, FORWARD * f64::from(spread.max(1.0)));
            close(name, "variance", &got.variance, &want.variance, FORWARD);
        }
        let given = list(&case.file["inference"]["statistics"], statistics);
        let inferred = executor.infer(&case.parameters, &given, &case.images, case.batch).unwrap();
        close(name, "inferred logits", inferred, &floats(&case.file["inference"]["logits"]), FORWARD);
    }
}

#[test]
fn gradients_are_the_derivatives() {
    for mut case in CASES.map(Case::load) {
        for step in &mut case.graph.steps {
            (step.input_quantizer, step.output_quantizer) = (None, None);
            if let Work::Convolution(filters) = &mut step.work {
                filters.weight_quantizer = None;
            }
        }
        let mut executor = case.executor();
        let upstream: Vec<f32> =
            (0..case.batch * executor.classes()).map(|i| ((i * 7 % 11) as f32 - 4.5) / 3.0).collect();
        let mut gradients = vec![0.0; case.parameters.len()];
        executor.forward_train(&case.parameters, &case.images, case.batch).unwrap();
        executor.backward(&case.parameters, &upstream, &mut gradients).unwrap();
        let largest = gradients.iter().fold(0.0f64, |most, &g| most.max(f64::from(g).abs()));
        for i in (0..case.parameters.len()).step_by(case.parameters.len() / 120) {
            let value = case.parameters[i];
            let mut loss = |moved: f32| {
                case.parameters[i] = moved;
                let logits = executor.forward_train(&case.parameters, &case.images, case.batch).unwrap();
                logits.iter().zip(&upstream).map(|(z, w)| f64::from(*z) * f64::from(*w)).sum::<f64>()
            };
            let (above, below) = (loss(value + STEP), loss(value - STEP));
            let numeric = (above - below) / f64::from((value + STEP) - (value - STEP));
            loss(value);
            let distance = (numeric - f64::from(gradients[i])).abs();
            let name = &case.name;
            assert!(
                distance < DIFFERENCES * largest,
                "{name}, parameter {i}: {} against {numeric}",
                gradients[i]
            );
        }
    }
}

/// Logits, gradients, statistics and inference of every case on many images.
fn results(level: Level) -> Vec<Vec<f32>> {
    let mut results = vec![];
    for case in CASES.map(Case::load) {
        let (parameters, batch) = (&case.parameters, 37);
        let images = Noise(7).fill(case.graph.image_length() * batch);
        let mut executor = GraphExecutor::with_level(case.graph, parameters.len(), level).unwrap();
        let logits = executor.forward_train(parameters, &images, batch).unwrap().to_vec();
        let mut gradients = vec![0.0; parameters.len()];
        executor.backward(parameters, &Noise(9).fill(logits.len()), &mut gradients).unwrap();
        let batches = [(&images[..], batch); 2];
        let statistics = executor.recalibrate(parameters, batches.into_iter()).unwrap();
        let inferred = executor.infer(parameters, &statistics, &images, batch).unwrap().to_vec();
        results.extend([logits, gradients, inferred]);
        results.extend(statistics.into_iter().map(|entry| entry.variance));
    }
    results
}

#[test]
fn one_two_and_five_threads_agree_to_the_bit() {
    let bits = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let results = pool.install(|| results(sartor_engine::simd::level()));
        results.concat().into_iter().map(f32::to_bits).collect::<Vec<u32>>()
    };
    let one = bits(1);
    assert!(one == bits(2), "two threads differ");
    assert!(one == bits(5), "five threads differ");
}

#[test]
fn every_instruction_set_computes_the_same() {
    let wanted = results(Level::Scalar);
    let quantized = wanted.len() - 3 - Case::load("quantized").graph.steps.len();
    for level in Level::all_available() {
        // A quantized value on an edge may fall either way.
        for (place, (got, want)) in results(level).iter().zip(&wanted).enumerate().take(quantized) {
            close(level.name(), &format!("result {place}"), got, want, LEVELS);
        }
    }
}

#[test]
fn a_graph_that_does_not_fit_is_refused_by_its_step() {
    let change = |name: &str, change: &dyn Fn(&mut Graph)| {
        let mut case = Case::load(name);
        change(&mut case.graph);
        case.graph.check(case.parameters.len()).unwrap_err().to_string()
    };
    let set_window = |graph: &mut Graph, index: usize, window: Window| {
        if let Work::MaxPool(own) = &mut graph.steps[index].work {
            *own = window;
        }
    };
    for (message, error) in [
        (
            "convolution_0: a value that no earlier step",
            change("small_cnn", &|graph| graph.steps[0].input = 1),
        ),
        (
            "max_pool_1: a window that does not lie",
            change("small_cnn", &|graph| {
                set_window(graph, 1, Window::even(40, 1, 0));
            }),
        ),
        (
            "max_pool_1: a window that does not lie",
            change("small_cnn", &|graph| {
                set_window(graph, 1, Window::even(2, 0, 0));
            }),
        ),
        (
            "average_pool_8: size of the logits is 4, expected 1",
            change("basic_blocks", &|graph| {
                graph.steps.truncate(9);
                graph.steps[8].work = Work::AveragePool(Window::even(1, 1, 0));
            }),
        ),
        (
            "add_4: size of the other summand is 7, expected 4",
            change("basic_blocks", &|graph| {
                graph.steps[4].work = Work::Add { other: 1 };
            }),
        ),
        ("graph: a graph without steps", change("small_cnn", &|graph| graph.steps.clear())),
    ] {
        assert!(error.starts_with(message), "{error}");
    }
    let case = Case::load("small_cnn");
    let mut executor = case.executor();
    assert_eq!(executor.backward(&case.parameters, &[], &mut []), Err(EngineError::NoForward));
    assert!(executor.forward_train(&case.parameters, &case.images[1..], case.batch).is_err());
    assert!(executor.infer(&case.parameters, &[], &case.images, case.batch).is_err());
    let lost = vec![f32::NAN; case.parameters.len()];
    let error = executor.forward_train(&lost, &case.images, case.batch).unwrap_err();
    assert!(matches!(error, EngineError::NotFinite { .. }), "{error}");
}
