//! Transcripts of the command line: exit code, stdout and stderr, for what users get wrong.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const CONFIG: &str = "
seed = 1
[space]
source = \"quickstart\"
[data]
path = \"images\"
validation = 20
[search]
budget = { energy_share = 0.5 }
";

/// A working folder of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("writes");
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sartor"));
        command.args(arguments).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Exit code, stdout and stderr, the temporary folder's name taken out.
    fn transcript(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        let all =
            format!("exit {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr));
        all.replace(&self.path().display().to_string(), "[folder]")
    }
}

/// IDX files of random-looking images: `count` of `size`×`size`, labels below `classes`.
fn images(place: Place, count: usize, size: usize, classes: usize) -> Place {
    let mut place = place;
    for part in ["train", "t10k"] {
        let header = |kind: u8, sizes: &[usize]| {
            let mut bytes = vec![0, 0, 8, kind];
            sizes.iter().for_each(|size| bytes.extend((*size as u32).to_be_bytes()));
            bytes
        };
        let mut pixels = header(3, &[count, size, size]);
        pixels.extend((0..count * size * size).map(|index| (index * 31 % 251) as u8));
        let mut labels = header(1, &[count]);
        labels.extend((0..count).map(|index| (index % classes) as u8));
        place = place.with(&format!("images/{part}-images-idx3-ubyte"), pixels);
        place = place.with(&format!("images/{part}-labels-idx1-ubyte"), labels);
    }
    place
}

#[test]
fn unknown_key_names_line_and_nearest() {
    let place = Place::new().with("c.toml", "seed = 1\n[search]\npopulaton = 50\n");
    insta::assert_snapshot!(place.transcript(&["run", "c.toml"]));
}

#[test]
fn wrong_type_names_line() {
    let place = Place::new().with("c.toml", "seed = 1\n\n[search]\npopulation = \"many\"\n");
    insta::assert_snapshot!(place.transcript(&["run", "c.toml"]));
}

#[test]
fn bad_value_names_line_and_range() {
    let place = Place::new().with("c.toml", "[predictor]\nholdout = 1.5\n");
    insta::assert_snapshot!(place.transcript(&["run", "c.toml"]));
}

#[test]
fn bad_override_is_named() {
    let place = Place::new().with("c.toml", CONFIG);
    insta::assert_snapshot!(place.transcript(&["run", "c.toml", "--set", "search.generation=3"]));
}

#[test]
fn missing_config_is_named() {
    insta::assert_snapshot!(Place::new().transcript(&["run", "nowhere.toml"]));
}

#[test]
fn unknown_space_suggests_the_nearest() {
    insta::assert_snapshot!(Place::new().transcript(&["space", "quickstrat"]));
}

#[test]
fn impossible_space_is_refused() {
    let space = "
name = \"odd\"
[input]
size = 28
channels = 1
classes = 10
[stem]
out_channels = 16
stride = 2
[[stage]]
out_channels = 16
stride = 1
blocks = 2
depth = [1, 2]
kernel = []
width = { from = 4, to = 6, step = 8 }
[head]
channels = 64
";
    let place = Place::new().with("space.toml", space);
    insta::assert_snapshot!(place.transcript(&["space", "space.toml"]));
}

#[test]
fn missing_images_are_named() {
    let place = Place::new().with("c.toml", CONFIG);
    insta::assert_snapshot!(place.transcript(&["train", "c.toml"]));
}

#[test]
fn truncated_images_are_named() {
    let mut place = images(Place::new().with("c.toml", CONFIG), 60, 28, 10);
    place = place
        .with("images/train-images-idx3-ubyte", [0, 0, 8, 3, 0, 0, 0, 60, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2, 3]);
    insta::assert_snapshot!(place.transcript(&["train", "c.toml"]));
}

#[test]
fn images_of_another_size_are_refused() {
    let place = images(Place::new().with("c.toml", CONFIG), 60, 20, 10);
    insta::assert_snapshot!(place.transcript(&["train", "c.toml"]));
}

#[test]
fn labels_out_of_range_are_refused() {
    let place = images(Place::new().with("c.toml", CONFIG), 60, 28, 12);
    insta::assert_snapshot!(place.transcript(&["train", "c.toml"]));
}

#[test]
fn infeasible_budget_ends_with_code_three() {
    let place = Place::new().with("c.toml", CONFIG);
    let transcript = place.transcript(&["run", "c.toml", "--set", "search.budget={latency_ms=0.0001}"]);
    insta::assert_snapshot!(transcript);
}

#[test]
fn stage_without_its_predecessor_says_which() {
    let place = Place::new().with("c.toml", CONFIG);
    insta::assert_snapshot!(place.transcript(&["sample", "c.toml"]));
}

#[test]
fn unknown_method_is_refused() {
    let place = Place::new().with("c.toml", CONFIG);
    insta::assert_snapshot!(place.transcript(&["run", "c.toml", "--method", "spso"]));
}

#[test]
fn corrupt_artefact_is_refused_and_force_mends_it() {
    let place = Place::new().with("c.toml", CONFIG);
    assert!(place.transcript(&["profile", "c.toml"]).starts_with("exit 0"));
    let table = place.path().join("runs/c/costs-bitfusion-apq.csv");
    let whole = std::fs::read(&table).expect("the table");
    std::fs::write(&table, &whole[..whole.len() / 2]).expect("tampers");
    let transcript = place.transcript(&["profile", "c.toml"]);
    assert!(transcript.starts_with("exit 2"), "{transcript}");
    for part in ["costs-bitfusion-apq.csv` is corrupt", "should be", "got", "hint: `--force`"] {
        assert!(transcript.contains(part), "{part}: {transcript}");
    }
    assert!(place.transcript(&["profile", "c.toml", "--force"]).starts_with("exit 0"));
    assert_eq!(std::fs::read(&table).expect("the table"), whole, "the same bytes again");
}

#[test]
fn finished_stage_is_kept_and_says_so() {
    let place = Place::new().with("c.toml", CONFIG);
    place.transcript(&["profile", "c.toml"]);
    insta::assert_snapshot!(place.transcript(&["profile", "c.toml"]));
}

#[test]
fn folder_in_use_names_its_holder() {
    let place = Place::new().with("c.toml", CONFIG);
    let lock = place.path().join("runs/c/.sartor/lock");
    std::fs::create_dir_all(lock.parent().expect("a parent")).expect("a folder");
    let file = std::fs::File::create(&lock).expect("a lock file");
    std::fs::write(&lock, "4242").expect("a holder");
    file.lock().expect("locks");
    insta::assert_snapshot!(place.transcript(&["profile", "c.toml"]));
    drop(file);
    assert!(place.transcript(&["profile", "c.toml"]).starts_with("exit 0"), "a dead holder's lock is free");
}

#[cfg(unix)]
#[test]
fn read_only_folder_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new().with("c.toml", CONFIG);
    let runs = place.path().join("runs");
    std::fs::create_dir(&runs).expect("a folder");
    std::fs::set_permissions(&runs, std::fs::Permissions::from_mode(0o555)).expect("read-only");
    if std::fs::write(runs.join("probe"), b"").is_ok() {
        eprintln!("skipped: this user may write to read-only folders");
        return;
    }
    insta::assert_snapshot!(place.transcript(&["profile", "c.toml"]));
    std::fs::set_permissions(&runs, std::fs::Permissions::from_mode(0o755)).expect("writable again");
}

#[test]
fn full_disk_is_named() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: this system has no /dev/full");
        return;
    }
    let place = Place::new();
    let command =
        place.command(&["space", "apq"]).stdout(std::fs::File::create("/dev/full").expect("opens")).output();
    let output = command.expect("the program starts");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: "), "{output:?}");
}

#[test]
fn mobilenet_v2_costs_what_the_paper_says() {
    let output =
        Place::new().command(&["cost", "--network", "mobilenet-v2", "--bits", "8", "--json"]).output();
    let output = output.expect("the program starts");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let total = |name: &str| value["totals"][name].as_f64().expect(name);
    assert_eq!(format!("{:.4} {:.4}", total("latency_ms"), total("energy_mj")), "9.0986 12.4558");
}

#[test]
fn space_prints_the_papers_lengths() {
    let transcript = Place::new().transcript(&["space", "apq"]);
    assert!(transcript.contains("520 architecture, 772 with bits"), "{transcript}");
    assert!(transcript.contains("blocks      21"), "{transcript}");
}

#[test]
fn example_configs_are_valid() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    for entry in std::fs::read_dir(configs).expect("the configs").flatten() {
        let (place, path) = (Place::new(), entry.path());
        let folder = format!("run.folder={}", place.path().join("run").display());
        let path = path.to_str().expect("a name");
        let transcript = place.transcript(&["profile", path, "--set", &folder]);
        assert!(transcript.starts_with("exit 0"), "{path}: {transcript}");
    }
}
