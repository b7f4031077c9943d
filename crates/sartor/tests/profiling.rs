//! Cost tables from the command line: priced, measured, imported, compared, and refused.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const CONTRACT: &str = "in_channels,out_channels,input_size,kernel,stride,padding,groups,weight_bits,\
                        activation_bits,cycles,latency_ms,energy_mj";
const LIST: &str =
    "in_channels,out_channels,input_size,kernel,stride,padding,groups,weight_bits,activation_bits";

/// A working folder of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn with(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path().join(name), text).expect("writes");
        self
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sartor"));
        command.args(words(line)).current_dir(self.path()).env("NO_COLOR", "1").stdin(Stdio::null());
        command.output().expect("the program starts")
    }

    /// The last line of stdout as JSON.
    fn json(&self, line: &str) -> Value {
        let output = self.run(line);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().unwrap_or_else(|| panic!("{line}: {output:?}"));
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{line}: {error}: {last}"))
    }

    /// Exit code and stderr.
    fn refused(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Words of a command line, `'…'` kept together.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Header and rows without provenance.
fn table(text: &str) -> (String, Vec<Vec<String>>) {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let header = lines.next().unwrap_or_default().to_owned();
    (header, lines.map(|line| line.split(',').map(str::to_owned).collect()).collect())
}

fn layers(rows: &[&str]) -> String {
    format!("{LIST}\n{}\n", rows.join("\n"))
}

#[test]
fn the_table_of_apq_is_the_contract_with_its_provenance() {
    let place = Place::new();
    place.succeeds("profile --space apq --hardware bitfusion-apq --batch 1 --out costs.csv");
    let text = place.read("costs.csv");
    for key in [
        "# spec_hash: ",
        "# model: bitfusion-apq ",
        "# space_hash: ",
        "# units: cycles, ms, mJ",
        "# batch: 1",
    ] {
        assert!(text.contains(key), "{key}");
    }
    let (header, rows) = table(&text);
    assert_eq!((header.as_str(), rows.len()), (CONTRACT, 6572));
    let worked = "16,96,112,1,1,0,1,4,4,405622,0.811244,1.36915";
    assert!(text.lines().any(|line| line.starts_with(worked)), "the worked row");
}

#[test]
fn a_list_is_priced_in_its_order_repeats_included() {
    let list = layers(&["96,96,112,3,2,1,96,8,8", "16,96,112,1,1,0,1,8,8", "96,96,112,3,2,1,96,8,8"]);
    let place = Place::new().with("l.csv", &list);
    let (header, rows) = table(&place.succeeds("profile --layers l.csv --hardware bitfusion-apq"));
    assert_eq!(header, CONTRACT);
    assert_eq!(rows.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["96", "16", "96"]);
    assert_eq!(rows[0], rows[2]);
    let (header, rows) = table(&place.succeeds("profile --layers l.csv --breakdown"));
    assert!(header.starts_with(CONTRACT) && header.ends_with("bound,extrapolated,first"), "{header}");
    let bound = header.split(',').position(|column| column == "bound").expect("a column");
    assert_eq!(
        rows.iter().map(|row| row[bound].as_str()).collect::<Vec<_>>(),
        ["compute", "bandwidth", "compute"]
    );
}

#[test]
fn the_input_layer_is_told_from_an_equal_inner_one() {
    let place = Place::new()
        .with("l.csv", &format!("{LIST},first\n3,32,224,3,2,1,1,8,8,1\n3,32,224,3,2,1,1,8,8,0\n"));
    let (header, rows) = table(&place.succeeds("profile --layers l.csv"));
    assert_eq!(header, format!("{CONTRACT},first"));
    assert_eq!((rows[0][9].as_str(), rows[0][12].as_str(), rows[1][12].as_str()), ("147952", "1", "0"));
    assert_ne!(rows[0][9], rows[1][9]);
}

#[test]
fn the_list_wanted_comes_back_as_a_table() {
    let place = Place::new();
    place.succeeds("profile --space quickstart --list --out wanted.csv");
    let text = place.read("wanted.csv");
    let mut measured = String::new();
    for (number, line) in text.lines().enumerate() {
        measured += &format!("{line},{}\n", if number == 0 { "latency_ms" } else { "0.5" });
    }
    let place = place.with("measured.csv", &measured);
    let object =
        place.json("profile import measured.csv --space quickstart --hardware board --out t.csv --json");
    assert_eq!(object["provenance"]["hardware"], "board");
    assert_eq!(object["rows"].as_u64().map(|rows| rows as usize), Some(text.lines().count() - 1));
    place.succeeds("profile dominance --hardware t.csv");
}

#[test]
fn foreign_formats_are_imported_and_their_faults_named() {
    let dictionary = r#"{"(16, 96, 112, 1, 1, 0, 1)-W4A4": [0.811244, 1.3691566],
        "(16, 96, 112, 1, 1, 0, 1)-W8A8": {"latency": 0.819670, "energy": 1.3833758}}"#;
    let per_layer = vec!["0.25,0.5,0.5,1.0"; 53].join("\n");
    let row = "16,96,112,1,1,0,1,8,8";
    let place = Place::new()
        .with("d.json", dictionary)
        .with("p.csv", &per_layer)
        .with("units.csv", &format!("{LIST},latency_us\n{row},819\n"))
        .with("ours.csv", &format!("# units: cycles, s, J\n{CONTRACT}\n{row},1,1,1\n"))
        .with("negative.csv", &format!("{LIST},latency_ms\n{row},-1\n"))
        .with("nan.csv", &format!("{LIST},latency_ms,energy_mj\n{row},1,NaN\n"))
        .with("twice.csv", &format!("{LIST},latency_ms\n{row},1\n{row},1\n"))
        .with("few.csv", &format!("{LIST},latency_ms\n{row},1\n"));
    let (header, rows) = table(&place.succeeds("profile import d.json"));
    assert_eq!((header.as_str(), rows.len(), rows[0][10].as_str()), (CONTRACT, 2, "0.811244"));
    assert_eq!(
        place.json("profile import p.csv --network mobilenet-v2 --out t.csv --json")["rows"],
        124,
        "31 shapes at 2 × 2 widths"
    );
    let refusals = [
        ("units.csv", "`latency_us`"),
        ("ours.csv", "`cycles, s, J`"),
        ("negative.csv", "latency_ms is -1"),
        ("nan.csv", "energy_mj is NaN"),
        ("twice.csv", "a second row for layer (16, 96, 112, 1, 1, 0, 1)-W8A8"),
        ("few.csv --space apq", "lacks 6571 row(s)"),
    ];
    for (file, expected) in refusals {
        let (code, stderr) = place.refused(&format!("profile import {file}"));
        assert!(code == 2 && stderr.contains(expected), "{file}: {code} {stderr}");
    }
}

#[test]
fn missing_rows_name_the_command_that_makes_them() {
    let row = "3,32,224,3,2,1,1,8,8";
    let place = Place::new().with("t.csv", &format!("# hardware: board\n{CONTRACT}\n{row},1,1,1\n"));
    let (code, stderr) = place.refused("cost --network mobilenet-v2 --hardware t.csv");
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("lacks 52 row(s)") && stderr.contains("(32, 32, 112, 3, 1, 1, 32)-W8A8"),
        "{stderr}"
    );
    assert!(stderr.contains("sartor profile") && stderr.contains("--hardware board"), "{stderr}");
}

#[test]
fn chips_whose_smallest_tile_does_not_fit_are_refused() {
    let spec = include_str!("../../hardware/specs/bitfusion-apq.toml")
        .replace("output_kib = 16", "output_kib = 1")
        .replace("columns_units = 32", "columns_units = 1024");
    let place = Place::new().with("tiny.toml", &spec);
    let (code, stderr) = place.refused("cost --network mobilenet-v2 --hardware tiny.toml");
    assert!(
        code == 2 && stderr.contains("smallest tile") && stderr.contains("enlarge the buffers"),
        "{stderr}"
    );
}

const BOARD: &str = "case $1 in *in96-*) echo board lost >&2; exit 7;; *in24-*) sleep 30;; *in32-*) echo hello;; \
                     *) echo warm; echo '1.5 ms 0.25 mJ';; esac";
const ASK: &str = "profile --layers l.csv --hardware command --command 'sh board.sh {model}' --timeout 0.4 --out t.csv --json";

#[cfg(unix)]
#[test]
fn a_command_that_fails_hangs_or_talks_rubbish_is_gone_on_with() {
    let list = layers(&[
        "16,96,14,1,1,0,1,8,8",
        "96,24,14,1,1,0,1,4,4",
        "24,96,14,1,1,0,1,8,8",
        "32,16,8,1,1,0,1,8,8",
    ]);
    let place = Place::new().with("l.csv", &list).with("board.sh", BOARD);
    let (code, stderr) = place.refused(ASK);
    assert_eq!(code, 1, "{stderr}");
    for part in
        ["3 of the layers failed", "board lost", "no answer within 0.4 s", "`hello`", "t.csv.progress"]
    {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(table(&place.read("t.csv")).1.len(), 1, "what was measured is there");
    let place = place.with("board.sh", "echo 2.5");
    let object = place.json(ASK);
    assert_eq!((&object["measured"], &object["resumed"]), (&Value::from(3), &Value::from(1)));
    let (header, rows) = table(&place.read("t.csv"));
    assert_eq!(header, CONTRACT);
    let prices: Vec<_> = rows.iter().map(|row| format!("{} {}", row[10], row[11])).collect();
    assert_eq!(prices, ["1.5 0.25", "2.5 0", "2.5 0", "2.5 0"]);
    assert!(!place.path().join("t.csv.progress").exists(), "the journal is done with");
}

#[cfg(unix)]
#[test]
fn a_hopeless_command_is_stopped() {
    let rows: Vec<String> = (1..=40).map(|width| format!("16,{width},8,1,1,0,1,8,8")).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let place = Place::new().with("l.csv", &layers(&rows)).with("board.sh", "exit 1");
    let (code, stderr) = place.refused(ASK);
    assert!(code == 1 && stderr.contains("20 more were not tried"), "{stderr}");
}

#[test]
fn commands_that_cannot_be_meant_are_refused() {
    let place = Place::new().with("l.csv", &layers(&["16,96,14,1,1,0,1,8,8"]));
    let cases = [
        ("--hardware command --out t.csv", "does not say where the model goes"),
        ("--hardware command --command ./x --out t.csv", "does not say where the model goes"),
        ("--hardware command --command './x {model}'", "needs a file to write"),
        ("--hardware command --command './x {model}' --timeout 0 --out t.csv", "--timeout 0"),
        ("--command './x {model}'", "give `--hardware command`"),
    ];
    for (line, expected) in cases {
        let (code, stderr) = place.refused(&format!("profile --layers l.csv {line}"));
        assert!(code == 2 && stderr.contains(expected), "{line}: {code} {stderr}");
    }
}

#[test]
fn dominance_says_that_six_bits_compute_like_eight() {
    let object = Place::new().json("profile dominance --space apq --hardware bitfusion-apq --json");
    let widths = object["widths"].as_array().expect("widths");
    let six = widths.iter().filter(|width| width["kind"] == "depthwise" && width["bits"] == 6);
    let verdicts: Vec<_> = six.map(|width| width["compute"]["pays"].as_str().expect("a verdict")).collect();
    assert_eq!(verdicts, ["never", "never"]);
}

#[test]
fn the_ledger_counts_as_the_papers_do() {
    let object = Place::new().json("cost ledger --fixed-hours 1200 --marginal-hours 200 --targets 2 --json");
    assert_eq!(format!("{:.2}", object["marginal"]["co2_pounds"].as_f64().expect("a number")), "56.72");
    assert_eq!(object["total"]["hours"], 1600.0);
    let (code, stderr) = Place::new().refused("cost ledger --marginal-hours -1");
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn networks_are_priced_by_name_widths_and_batch() {
    for network in ["mobilenet-v1", "mobilenet-v2", "resnet-18", "resnet-50", "proxyless-mobile"] {
        for bits in ["8", "4:8"] {
            let object = Place::new()
                .json(&format!("cost --network {network} --bits {bits} --batch 2 --layers --json"));
            for key in [
                "cycles",
                "latency_ms",
                "energy_mj",
                "macs",
                "bitops",
                "parameters",
                "size_bytes",
                "peak_activation_bytes",
            ] {
                assert!(
                    object["totals"][key].as_f64().is_some_and(|value| value > 0.0),
                    "{network} {bits} {key}"
                );
            }
            assert!(object["layers"].as_array().is_some_and(|layers| layers.len() > 20), "{network}");
        }
    }
}

#[test]
fn poor_sums_are_warned_of_before_a_search() {
    let place = Place::new();
    place.succeeds("profile --space quickstart --out t.csv");
    let text = place.read("t.csv");
    let poor = text
        .replace("# units", "# additivity: networks 8, median 0.2000, worst 0.4000, bias 0.1000\n# units");
    let config = "[space]\nsource = \"quickstart\"\n[hardware]\naccelerator = \"poor.csv\"\n";
    let place = place.with("poor.csv", &poor).with("c.toml", config);
    let (code, stderr) = place.refused("profile c.toml");
    assert!(code == 0 && stderr.contains("20.0 % from whole networks"), "{code} {stderr}");
    assert!(stderr.contains("leave a margin"), "{stderr}");
    assert!(place.read("runs/c/costs-bitfusion-apq.csv").contains("# additivity: networks 8"));
}

/// Where ONNX Runtime is installed: integer and float kernels run, and whole networks are compared with sums.
#[test]
fn this_machine_is_measured_where_a_runtime_is() {
    let rows =
        ["16,32,14,1,1,0,1,8,8", "16,32,14,1,1,0,1,4,6", "32,32,14,3,1,1,32,8,8", "16,32,14,1,1,0,1,32,32"];
    let place = Place::new().with("l.csv", &layers(&rows));
    let output = place.run("profile --layers l.csv --hardware host --out t.csv --json");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("no ONNX Runtime library found") {
        eprintln!("skipped: {stderr}");
        return;
    }
    assert!(output.status.success(), "{stderr}");
    let (header, rows) = table(&place.read("t.csv"));
    assert_eq!((header.as_str(), rows.len()), (CONTRACT, 4));
    assert!(rows.iter().all(|row| row[10].parse::<f64>().is_ok_and(|latency| latency > 0.0)), "{rows:?}");
    assert_eq!(rows[0][10], rows[1][10], "widths up to 8 bits share a kernel");
    let object = place.json("profile check --space quickstart --subnets 2 --json");
    assert_eq!(object["additivity"]["networks"], 2, "{object}");
}
