//! From text to sections: every complaint names its line, and an unknown key its nearest valid name.

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

use super::sections::Sections;
use crate::failure::Failure;
use sartor_space::suggest::nearest;

/// Reads the config's text; `source` is the file's name for messages.
///
/// # Errors
/// Broken TOML, unknown keys and wrong types, each with its line.
pub fn read(text: &str, source: &str) -> Result<Sections, Failure> {
    toml::from_str(text).map_err(|error| explain(&error, text, source))
}

/// Applies `section.key=value` overrides on top of the text, one after the other.
///
/// # Errors
/// An override without `=`, of an unknown key, or of the wrong type.
pub fn overridden(text: &str, source: &str, overrides: &[String]) -> Result<Sections, Failure> {
    let mut sections = read(text, source)?;
    let mut table: toml::Table = toml::from_str(text).map_err(|error| explain(&error, text, source))?;
    for setting in overrides {
        let place = format!("--set {setting}");
        let (path, value) = split(setting)?;
        insert(&mut table, path, value)
            .map_err(|problem| Failure::bad_input(format!("{place}: {problem}")))?;
        sections = Sections::deserialize(table.clone()).map_err(|error| explain(&error, "", &place))?;
    }
    Ok(sections)
}

fn split(setting: &str) -> Result<(&str, toml::Value), Failure> {
    let (path, value) = setting.split_once('=').ok_or_else(|| {
        Failure::bad_input(format!("--set {setting}: expected `section.key=value`"))
            .hint("for example `--set search.generations=100`")
    })?;
    Ok((path.trim(), parse_value(value.trim())))
}

/// A TOML value, or else plain text, so that `--set data.path=folder` needs no quotes.
fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Puts `value` at a dotted path; a number selects an element of an array (`supernet.phases.0.epochs`).
fn insert(table: &mut toml::Table, path: &str, value: toml::Value) -> Result<(), String> {
    let (head, rest) = path.split_once('.').map_or((path, None), |(head, rest)| (head, Some(rest)));
    let Some(rest) = rest else {
        table.insert(head.to_owned(), value);
        return Ok(());
    };
    let slot = table.entry(head).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    match slot {
        toml::Value::Table(inner) => insert(inner, rest, value),
        toml::Value::Array(items) => insert_element(items, head, rest, value),
        other => Err(format!("`{head}` is a {}, it has no key `{rest}`", other.type_str())),
    }
}

fn insert_element(
    items: &mut [toml::Value],
    name: &str,
    path: &str,
    value: toml::Value,
) -> Result<(), String> {
    let (index, rest) = path.split_once('.').map_or((path, None), |(index, rest)| (index, Some(rest)));
    let count = items.len();
    let slot = index.parse::<usize>().ok().and_then(|index| items.get_mut(index));
    let slot =
        slot.ok_or_else(|| format!("`{name}` has elements 0 to {}, got `{index}`", count.saturating_sub(1)))?;
    match (rest, slot) {
        (None, slot) => {
            *slot = value;
            Ok(())
        }
        (Some(rest), toml::Value::Table(inner)) => insert(inner, rest, value),
        (Some(rest), other) => {
            Err(format!("`{name}.{index}` is a {}, it has no key `{rest}`", other.type_str()))
        }
    }
}

/// The parser's complaint in our words: place, what, nearest name.
fn explain(error: &toml::de::Error, text: &str, source: &str) -> Failure {
    let place = match error.span() {
        Some(span) if !text.is_empty() => format!("{source}, line {}", line_of(text, span.start)),
        _ => source.to_owned(),
    };
    let message = error.message().trim().replace('\n', " ");
    match unknown_key(&message) {
        Some((key, valid)) => unknown(&place, key, &valid),
        None => Failure::bad_input(format!("{place}: {message}")),
    }
}

fn unknown(place: &str, key: &str, valid: &[&str]) -> Failure {
    let failure = Failure::bad_input(format!("{place}: unknown key `{key}`"));
    match nearest(key, valid.iter().copied()) {
        Some(name) => failure.hint(format!("did you mean `{name}`?")),
        None => failure.hint(format!("valid keys here: {}", valid.join(", "))),
    }
}

/// Takes serde's "unknown field `x`, expected one of `a`, `b`" (or "unknown variant") apart.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    if !message.starts_with("unknown field") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

/// Line (from 1) of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// Line (from 1) at which a dotted key stands in the text, if it does.
pub fn line_of_key(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == part)?;
        match value.get_ref() {
            DeValue::Table(inner) if parts.peek().is_some() => table = inner,
            _ => return Some(line_of(text, key.span().start)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_name_the_line_and_the_nearest_key() {
        struct Case {
            text: &'static str,
            message: &'static str,
        }
        let cases = [
            Case {
                text: "seed = 1\n[search]\ngeneration = 5",
                message: "x.toml, line 3: unknown key `generation`",
            },
            Case { text: "[serch]\n", message: "x.toml, line 1: unknown key `serch`" },
            Case {
                text: "seed = 1\n\n[search]\npopulation = \"many\"",
                message: "x.toml, line 4: invalid type: string \"many\", expected usize",
            },
        ];
        for case in cases {
            let error = read(case.text, "x.toml").expect_err(case.text);
            assert_eq!(error.to_string(), case.message);
        }
    }

    #[test]
    fn overrides_reach_every_depth() {
        let text = "[[supernet.phases]]\nopen = \"largest\"\nepochs = 3\nlearning_rate = 0.1";
        let settings =
            ["search.budget.latency_ms=2", "supernet.phases.0.epochs=9", "data.path=a/b", "seed=7"];
        let sections = overridden(text, "x.toml", &settings.map(str::to_owned)).expect("is valid");
        assert_eq!(sections.search.budget.latency_ms, Some(2.0));
        assert_eq!(sections.supernet.phases[0].epochs, 9);
        assert_eq!(sections.data.path, std::path::Path::new("a/b"));
        assert_eq!(sections.seed, 7);
    }

    #[test]
    fn bad_overrides_are_named() {
        for (setting, message) in [
            ("seed", "--set seed: expected `section.key=value`"),
            ("search.populaton=3", "--set search.populaton=3: unknown key `populaton`"),
            ("search.population=x", "--set search.population=x: invalid type: string \"x\", expected usize"),
            ("seed.deep=1", "--set seed.deep=1: `seed` is a integer, it has no key `deep`"),
        ] {
            let error = overridden("seed = 3", "x.toml", &[setting.to_owned()]).expect_err(setting);
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn keys_are_found_by_path() {
        let text = "seed = 1\n[search]\nparents = 3\nbudget = { latency_ms = 1 }\n";
        for (path, line) in [
            ("seed", Some(1)),
            ("search.parents", Some(3)),
            ("search.budget.latency_ms", Some(4)),
            ("x", None),
        ] {
            assert_eq!(line_of_key(text, path), line, "{path}");
        }
    }
}
