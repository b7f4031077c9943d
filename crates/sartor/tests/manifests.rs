//! The crates' invariants, read from their manifests: who may depend on whom.

use std::collections::BTreeSet;
use std::path::Path;

/// Our crates that a crate's `[dependencies]` name.
fn ours(name: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let manifest: toml::Table = toml::from_str(&text).expect("a manifest");
    let dependencies =
        manifest.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    dependencies.keys().filter_map(|key| key.strip_prefix("sartor-")).map(str::to_owned).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_crate_depends_on_what_the_design_allows() {
    for (name, allowed) in [
        ("space", &[][..]),
        ("engine", &[]),
        ("hardware", &["space"]),
        ("supernet", &["space", "engine"]),
        ("predictor", &["space", "engine"]),
        ("search", &["space"]),
        ("export", &["space", "engine"]),
    ] {
        let (found, allowed) = (ours(name), set(allowed));
        assert!(found.is_subset(&allowed), "{name} depends on {found:?}, allowed is {allowed:?}");
    }
}

#[test]
fn libraries_meet_only_in_the_binary() {
    let libraries = ["space", "hardware", "engine", "supernet", "predictor", "search", "export"];
    assert_eq!(ours("sartor"), set(&libraries));
}

#[test]
fn no_crate_is_named_after_nothing() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for entry in std::fs::read_dir(crates).expect("the crates' folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(!["core", "common", "utils", "helpers"].contains(&name.as_str()), "{name}");
    }
}
