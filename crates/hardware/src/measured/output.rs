//! # What a measuring command printed
//!
//! The last line that holds a measurement counts; everything else is the command's own talk. A measurement is
//!
//! - one or two bare numbers: milliseconds, and millijoules: `1.25` or `1.25 0.4` or `1.25, 0.4`;
//! - numbers with their units anywhere in a line: `mean 1.25 ms, energy 0.4 mJ`, `1.25ms`;
//! - names with numbers, or a JSON object: `latency_ms=1.25 energy_mj=0.4`, `{"latency_ms": 1.25}`.
//!
//! A time in another unit is refused, not converted: a factor of a thousand must not pass unnoticed.

use serde_json::Value;

use crate::HardwareError;

/// What was measured of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// Milliseconds.
    pub latency_ms: f64,
    /// Millijoules, if the command measured them.
    pub energy_mj: Option<f64>,
}

/// Units of time and energy that are not read.
const OTHER_UNITS: &[&str] = &["s", "sec", "us", "µs", "μs", "ns", "j", "uj", "µj", "nj", "pj"];
/// Characters of the output shown in messages.
const SHOWN: usize = 80;

/// Reads a command's output.
///
/// # Errors
/// [`HardwareError::UnreadableOutput`] if no line holds a measurement, or it is negative, not finite or in another
/// unit.
pub fn read_output(text: &str) -> Result<Measurement, HardwareError> {
    let lines = text.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    for line in lines {
        if let Some(measurement) = read_line(line).map_err(|expected| unreadable(line, expected))? {
            return check(measurement, line);
        }
    }
    Err(unreadable(text.trim(), "milliseconds, and if measured millijoules"))
}

fn check(measurement: Measurement, line: &str) -> Result<Measurement, HardwareError> {
    let valid = |number: f64| number.is_finite() && number >= 0.0;
    if valid(measurement.latency_ms)
        && measurement.latency_ms > 0.0
        && measurement.energy_mj.is_none_or(valid)
    {
        return Ok(measurement);
    }
    Err(unreadable(line, "a finite latency above 0 and an energy of at least 0"))
}

fn unreadable(got: &str, expected: &'static str) -> HardwareError {
    let shown: String = got.chars().take(SHOWN).collect();
    HardwareError::UnreadableOutput { expected, got: shown }
}

/// A line's measurement, `None` if it holds none, or what is wrong with it.
fn read_line(line: &str) -> Result<Option<Measurement>, &'static str> {
    if let Ok(Value::Object(object)) = serde_json::from_str(line) {
        let number = |names: &[&str]| names.iter().find_map(|name| object.get(*name)?.as_f64());
        let latency = number(&["latency_ms", "ms", "milliseconds"]);
        return Ok(measurement(latency, number(&["energy_mj", "mj", "millijoules"])));
    }
    let words = words(line);
    let numbers: Vec<f64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    if numbers.len() == words.len() && (1..=2).contains(&numbers.len()) {
        return Ok(measurement(Some(numbers[0]), numbers.get(1).copied()));
    }
    let other = |unit: &str| OTHER_UNITS.contains(&unit);
    if words.windows(2).any(|pair| pair[0].parse::<f64>().is_ok() && other(&pair[1].to_lowercase())) {
        return Err("milliseconds (ms) and millijoules (mJ)");
    }
    let latency = named(&words, "latency_ms").or_else(|| beside(&words, &["ms", "milliseconds"]));
    let energy = named(&words, "energy_mj").or_else(|| beside(&words, &["mj", "millijoules"]));
    Ok(measurement(latency, energy))
}

fn measurement(latency: Option<f64>, energy_mj: Option<f64>) -> Option<Measurement> {
    latency.map(|latency_ms| Measurement { latency_ms, energy_mj })
}

/// Words, numbers parted from the units that cling to them.
fn words(line: &str) -> Vec<String> {
    let parts = line.split(|letter: char| letter.is_whitespace() || ",;=:()[]".contains(letter));
    parts.filter(|part| !part.is_empty()).flat_map(part_unit).collect()
}

fn part_unit(word: &str) -> Vec<String> {
    let unit = word.trim_start_matches(|letter: char| letter.is_ascii_digit() || ".+-eE".contains(letter));
    let number = &word[..word.len() - unit.len()];
    if number.parse::<f64>().is_ok() && !unit.is_empty() {
        return vec![number.to_owned(), unit.to_owned()];
    }
    vec![word.to_owned()]
}

/// The number after a name.
fn named(words: &[String], name: &str) -> Option<f64> {
    let place = words.iter().position(|word| word.eq_ignore_ascii_case(name))?;
    words.get(place + 1)?.parse().ok()
}

/// The number before a unit, or else after it.
fn beside(words: &[String], units: &[&str]) -> Option<f64> {
    let place = words.iter().position(|word| units.contains(&word.to_lowercase().as_str()))?;
    let before = place.checked_sub(1).and_then(|before| words[before].parse().ok());
    before.or_else(|| words.get(place + 1)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_print() {
        let cases = [
            ("1.25", 1.25, None),
            ("1.25 0.4", 1.25, Some(0.4)),
            ("1.25, 0.4\n", 1.25, Some(0.4)),
            ("loading…\n1.25 ms", 1.25, None),
            ("1.25ms 0.4mJ", 1.25, Some(0.4)),
            ("latency_ms=1.25 energy_mj=0.4", 1.25, Some(0.4)),
            ("latency_ms: 2e-3", 2e-3, None),
            ("mean over 10 runs: 1.25 ms, energy 0.4 mJ\ndone", 1.25, Some(0.4)),
            (r#"{"latency_ms": 1.25, "energy_mj": 0.4}"#, 1.25, Some(0.4)),
            ("9 ms\n1.25 ms", 1.25, None),
        ];
        for (text, latency_ms, energy_mj) in cases {
            assert_eq!(read_output(text).unwrap(), Measurement { latency_ms, energy_mj }, "{text}");
        }
    }

    #[test]
    fn refuses_rubbish_and_other_units() {
        let cases = [
            "",
            "done",
            "segmentation fault",
            "-1",
            "NaN",
            "0",
            "inf ms",
            "1250 us",
            "0.001 s",
            "1 2 3",
            "1 ms -2 mJ",
        ];
        for text in cases {
            let error = read_output(text).unwrap_err();
            assert!(matches!(error, HardwareError::UnreadableOutput { .. }), "{text}: {error}");
        }
        assert!(read_output("1250 us").unwrap_err().to_string().contains("1250 us"));
    }
}
