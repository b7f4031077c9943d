//! Pairs files that users get wrong, and what a good one is answered with: `sartor fit` and `sartor transfer` on CSVs.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const SPACE: &str = r#"
name = "table"
[input]
size = 16
channels = 3
classes = 10
[stem]
out_channels = 16
stride = 1
[[stage]]
out_channels = 16
stride = 1
blocks = 4
options = ["skip", "k3e3", "k5e6"]
[head]
channels = 64
"#;

const HEAD: &str = "block_0,block_1,block_2,block_3,accuracy";
const NAMES: [&str; 3] = ["skip", "k3e3", "k5e6"];

fn sartor(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sartor"));
    command.args(arguments).current_dir(folder).env("NO_COLOR", "1").stdin(Stdio::null());
    command.output().expect("the program starts")
}

/// All 81 networks, accuracies of a saturating law with an interaction.
fn table() -> Vec<String> {
    let row = |code: usize| {
        let choices: Vec<usize> = (0..4).map(|place| code / 3usize.pow(place) % 3).collect();
        let strength: f64 = choices.iter().map(|&choice| [0.0, 1.0, 1.4][choice]).sum();
        let pair = if choices[0] == choices[1] { 0.01 } else { 0.0 };
        let accuracy = 0.9 - 0.3 * (-0.5 * strength).exp() + pair;
        let names: Vec<&str> = choices.iter().map(|&choice| NAMES[choice]).collect();
        format!("{},{accuracy:.6}", names.join(","))
    };
    (0..81).map(row).collect()
}

fn folder(rows: &[String]) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(place.path().join("space.toml"), SPACE).expect("writes");
    std::fs::write(place.path().join("pairs.csv"), format!("{HEAD}\n{}\n", rows.join("\n"))).expect("writes");
    place
}

#[test]
fn every_bad_file_is_refused_with_its_place_and_a_way_on() {
    let with = |row: &str| [table(), vec![row.to_owned()]].concat();
    let constant: Vec<String> =
        table().iter().map(|row| format!("{},0.5", row.rsplit_once(',').expect("a comma").0)).collect();
    let cases: [(&str, Vec<String>, &str, &str); 7] = [
        (
            "outside the space",
            with("k7e3,skip,skip,skip,0.5"),
            "line 83: the candidate is not in the space",
            "",
        ),
        ("above one", with("skip,skip,skip,skip,91.3"), "line 83: accuracy is `91.3`", "as shares"),
        ("negative", with("skip,skip,skip,skip,-0.1"), "line 83: accuracy is `-0.1`", "as shares"),
        ("no number", with("skip,skip,skip,skip,good"), "line 83: accuracy is `good`", "as shares"),
        ("disagreeing", with("skip,skip,skip,skip,0.99"), "lines 2 and 83: the same candidate", "their mean"),
        (
            "too few",
            table()[..7].to_vec(),
            "7 different pairs, at least 10 are needed",
            "sample at least 3 more",
        ),
        ("constant", constant, "all 81 pairs have the same accuracy 0.5", "how the accuracies were measured"),
    ];
    for (name, rows, message, hint) in cases {
        let place = folder(&rows);
        let output = sartor(place.path(), &["fit", "--pairs", "pairs.csv", "--space", "space.toml"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains(message) && said.contains(hint), "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}");
    }
}

#[test]
fn samples_that_the_file_lacks_are_refused() {
    let place = folder(&table());
    for (samples, message) in [("80", "the file has only 81 pairs"), ("5", "at least 10 are needed")] {
        let arguments = ["fit", "--pairs", "pairs.csv", "--space", "space.toml", "--samples", samples];
        let output = sartor(place.path(), &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(message), "{samples}: {said}");
    }
}

#[test]
fn a_good_table_is_judged_and_methods_stand_side_by_side() {
    let place = folder(&table());
    let fit = |threads: &str| {
        let arguments =
            ["fit", "--pairs", "pairs.csv", "--space", "space.toml", "--samples", "30", "--compare"];
        let output = sartor(place.path(), &[&arguments[..], &["--json", "--threads", threads]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let (one, two) = (fit("1"), fit("2"));
    assert_eq!(one, two, "the same bytes at any thread count");
    let text = String::from_utf8(one).expect("text");
    let object: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert!(object["kendall_tau"].as_f64().expect("a number") > 0.8, "{object}");
    for name in ["pairwise_accuracy", "kendall_tau", "spearman", "mean_absolute_error", "spread_coverage"] {
        let (low, value, high) =
            (&object[format!("{name}_low")], &object[name], &object[format!("{name}_high")]);
        let numbers = [low, value, high].map(|number| number.as_f64().expect(name));
        assert!(numbers.is_sorted(), "{name}: {numbers:?}");
    }
    let methods: Vec<&str> =
        object["methods"].as_array().expect("methods").iter().filter_map(|m| m["name"].as_str()).collect();
    assert_eq!(methods, ["networks", "process", "both", "ridge", "papers"]);
}

#[test]
fn a_transfer_needs_both_files() {
    let place = folder(&table());
    let output = sartor(place.path(), &["transfer", "--pairs", "pairs.csv", "--space", "space.toml"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--mixed MIXED.csv"), "{said}");
}

#[test]
fn settings_of_the_predictor_count_without_a_run_and_others_are_refused() {
    let place = folder(&table());
    let fit = |setting: &str| {
        let arguments = ["fit", "--pairs", "pairs.csv", "--space", "space.toml", "--json", "--set", setting];
        sartor(place.path(), &arguments)
    };
    let output = fit("predictor.method=ridge");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let object: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(object["method"], "ridge");
    for (setting, message) in [
        ("predictor.method=guess", "`predictor.method` must be"),
        ("predictor.metod=ridge", "did you mean `method`"),
        ("search.rounds=2", "without a run there is only `predictor.…`"),
    ] {
        let output = fit(setting);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{setting}: {said}");
        assert!(said.contains(message), "{setting}: {said}");
    }
}
