//! What every method must do, run over the program's own list on a space and images of toy size: its choice is in the
//! space and within the budget, the same seed gives the same bytes, and its counters are what it did.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const SPACE: &str = r#"
name = "toy"
[input]
size = 8
channels = 1
classes = 4
[stem]
out_channels = 8
stride = 1
[[stage]]
out_channels = 8
stride = 1
blocks = 2
depth = [1, 2]
kernel = [3, 5]
width = { from = 2, to = 4, step = 8 }
[[stage]]
out_channels = 16
stride = 2
blocks = 2
depth = [1, 2]
kernel = [3, 5]
width = { from = 2, to = 4, step = 8 }
[head]
channels = 16
[bits]
weights = [4, 6, 8]
activations = [4, 6, 8]
groups = ["pointwise", "depthwise"]
"#;

const CONFIG: &str = r#"
seed = 3
[run]
folder = "run"
[space]
source = "toy.toml"
[data]
path = "images"
validation = 40
[supernet]
batch = 20
recalibration_images = 40
phases = [
  { open = "largest", epochs = 1, learning_rate = 0.05 },
  { open = "width", epochs = 1, learning_rate = 0.02, distillation = 1.0 },
]
[samples]
full_precision = 30
mixed_precision = 40
policies_per_architecture = 2
finetune = { steps = 2, batch = 20, calibration_images = 20, recalibration_images = 40, distillation = 0.0 }
[predictor]
members = 1
hidden = 16
epochs = 5
steps = 20
holdout = 0.3
repeats = 2
[search]
population = 12
parents = 4
generations = 3
rounds = 2
measure = 2
measure_references = 1
references = [8]
budget = { bitops_share = 0.7 }
[finetune]
epochs = 1
batch = 40
calibration_images = 20
recalibration_images = 40
distillation = 0.0
[method]
spos = { population = 6, parents = 3, generations = 2, images = 20 }
amc = { episodes = 6, warm_up = 2, images = 20, agent = { hidden = 8, batch = 4 } }
haq = { episodes = 6, warm_up = 2, images = 20, agent = { hidden = 8, batch = 4 } }
gong = { search = { epochs = 1, batch = 20, calibration_images = 20 } }
dnas = { gradient = { search = { epochs = 1, batch = 20, calibration_images = 20 } } }
proxyless = { search = { epochs = 1, batch = 20 } }
"#;

/// Relative slack of a limit read back from text.
const ROUNDING: f64 = 1e-9;

fn write(place: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = place.join(name);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, bytes).expect("writes");
}

/// Stripes of four directions in something like noise.
fn images(place: &Path) {
    const COUNT: usize = 160;
    for part in ["train", "t10k"] {
        let mut pixels = [0, 0, 8, 3, 0, 0, 0, COUNT as u8, 0, 0, 0, 8, 0, 0, 0, 8].to_vec();
        let mut labels = [0, 0, 8, 1, 0, 0, 0, COUNT as u8].to_vec();
        for image in 0..COUNT {
            labels.push((image % 4) as u8);
            for (row, column) in (0..64).map(|at| (at / 8, at % 8)) {
                let bright = [row % 2, column % 2, (row + column) % 2, 0][image % 4];
                pixels.push((bright * 90 + (image * 37 + row * 11 + column * 29) % 120) as u8);
            }
        }
        write(place, &format!("images/{part}-images-idx3-ubyte"), pixels);
        write(place, &format!("images/{part}-labels-idx1-ubyte"), labels);
    }
}

fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    write(place.path(), "toy.toml", SPACE);
    write(place.path(), "c.toml", CONFIG);
    images(place.path());
    place
}

/// Stdout and stderr of a run that must end with `code`.
fn run(place: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sartor"));
    command.args(arguments).current_dir(place).env("NO_COLOR", "1").stdin(Stdio::null());
    let output = command.output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    (stdout, stderr)
}

/// The program's own list, as it tells whoever asks for a method that is not in it.
fn methods(place: &Path) -> Vec<String> {
    let (_, stderr) = run(place, &["run", "c.toml", "--method", "?"], 2);
    let list = stderr.lines().find_map(|line| line.strip_prefix("hint: methods: ")).expect("a list");
    list.split(", ").map(str::to_owned).collect()
}

/// Where a method's results are: the folder itself belongs to the first one.
fn results(place: &Path, method: &str) -> PathBuf {
    let own = place.join("run");
    if method == "apq" { own } else { own.join("methods").join(method) }
}

fn best(folder: &Path) -> Value {
    let text = std::fs::read(folder.join("search/best.json")).expect("a search record");
    serde_json::from_slice(&text).expect("is JSON")
}

fn check(method: &str, folder: &Path) {
    let best = best(folder);
    let space = sartor_space::SearchSpace::from_toml(SPACE).expect("a space");
    let number =
        |value: &Value, name: &str| value[name].as_f64().unwrap_or_else(|| panic!("{method}: {name}"));
    let references = best["references"].as_array().expect("a list").iter();
    for one in references.chain([&best["best"]]) {
        let candidate =
            sartor_space::Candidate::from_json(&one["candidate"].to_string(), &space).expect(method);
        space.contains(&candidate).expect(method);
        for (limited, limit) in best["budget"].as_object().expect("limits") {
            let limit = limit.as_f64().expect("a number") * (1.0 + ROUNDING);
            assert!(number(&one["costs"], limited) <= limit, "{method}: {limited}");
        }
    }
    assert_eq!(best["method"], method);
    let id = best["best"]["id"].as_str().expect("a name");
    assert!(folder.join(format!("models/{id}/model.onnx")).is_file(), "{method}");
    assert!(folder.join("report.html").is_file(), "{method}");
    counters(method, &best["counters"]);
}

/// What is known of each method's search beforehand.
fn counters(method: &str, counters: &Value) {
    let count = |name: &str| counters[name].as_u64().unwrap_or_else(|| panic!("{method}: {name}"));
    assert!(count("table_lookups") > 0, "{method} must know the chip");
    let evaluated = count("accuracy_evaluations");
    let trained = count("training_steps");
    match method {
        "uniform" | "chamnet" | "apq-scratch" => {
            assert_eq!((evaluated, trained, count("inferred_images")), (0, 0, 0))
        }
        "spos" | "amc" => assert!(evaluated > 1 && trained == 0 && count("inferred_images") > 0, "{method}"),
        "haq" | "sequential" => assert!(evaluated > 1 && trained > 1, "{method}"),
        "apq" => assert!(count("predictor_queries") > 40 && evaluated == 3, "{counters}"),
        _ => assert!(evaluated + trained > 0, "{method} must do something"),
    }
    match method {
        "amc" => assert!(count("widths_per_block") > 1 && count("bits_per_block") == 1, "{counters}"),
        "haq" => assert!(count("widths_per_block") == 1 && count("bits_per_block") > 1, "{counters}"),
        _ => {}
    }
}

#[test]
fn every_method_keeps_its_promises() {
    let (one, two) = (place(), place());
    for method in methods(one.path()) {
        for (place, threads) in [(one.path(), "1"), (two.path(), "2")] {
            run(place, &["run", "c.toml", "--method", &method, "--threads", threads], 0);
        }
        let (first, second) = (results(one.path(), &method), results(two.path(), &method));
        check(&method, &first);
        for name in ["search/best.json", "search/front.json", "search/history.csv", "manifest.json"] {
            let bytes = |folder: &Path| std::fs::read(folder.join(name)).expect(name);
            assert_eq!(bytes(&first), bytes(&second), "{method}: {name}");
        }
    }
}

#[test]
fn every_method_says_when_the_budget_is_impossible() {
    let place = place();
    let tight = ["--set", "search.budget.bitops_share=0.001"];
    for method in methods(place.path()) {
        let arguments = ["run", "c.toml", "--method", &method, "--set", "run.folder=tight"];
        let (_, stderr) = run(place.path(), &[&arguments[..], &tight].concat(), 3);
        assert!(stderr.contains("hint: "), "{method}: {stderr}");
    }
}

/// The search's own checkpoint, once there is one.
fn checkpoint(folder: &Path, method: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            match path.is_dir() {
                true => folders.push(path),
                false if name.starts_with(method) && name.ends_with(".safetensors") => return Some(path),
                false => {}
            }
        }
    }
    None
}

/// Starts the program and kills it as soon as its search has left a checkpoint.
fn kill_while_searching(place: &Path, arguments: &[&str], folder: &Path, method: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sartor"));
    command
        .args(arguments)
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    while checkpoint(folder, method).is_none() {
        assert!(child.try_wait().expect("can be asked").is_none(), "{method} ended without a checkpoint");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().expect("can be killed");
    child.wait().expect("ends");
}

#[test]
fn a_killed_search_by_gradient_goes_on_and_leaves_the_same_bytes() {
    let place = place();
    let files = [
        "search/best.json",
        "search/front.json",
        "search/history.csv",
        "search/steps.csv",
        "search/landing.json",
    ];
    for (method, key) in
        [("gong", "gong.search"), ("dnas", "dnas.gradient.search"), ("proxyless", "proxyless.search")]
    {
        let set = ["epochs=100000", "steps=200"].map(|setting| format!("method.{key}.{setting}"));
        let start = ["run", "c.toml", "--method", method, "--set", &set[0], "--set", &set[1], "--set"];
        let folders = ["whole", "killed"].map(|name| format!("run.folder={name}-{method}"));
        run(place.path(), &[&start[..], &[&folders[0]]].concat(), 0);
        let folder = place.path().join(format!("killed-{method}"));
        let killed = [&start[..], &[&folders[1]]].concat();
        kill_while_searching(place.path(), &killed, &folder, method);
        let (_, stderr) = run(place.path(), &killed, 0);
        assert!(stderr.contains("resumed after"), "{stderr}");
        for name in files {
            let bytes = |folder: &str| std::fs::read(place.path().join(folder).join(name)).expect(name);
            let (whole, resumed) = (bytes(&format!("whole-{method}")), bytes(&format!("killed-{method}")));
            assert_eq!(whole, resumed, "{method}: {name}");
        }
    }
}
