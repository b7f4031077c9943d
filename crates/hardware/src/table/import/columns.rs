//! # A measured CSV in any order of columns
//!
//! What people get by filling in the list of wanted layers: the nine columns of a layer and `latency_ms`; `energy_mj`,
//! `cycles` and `first` if they have them. Other columns are refused, so that a misspelt or differently scaled one
//! (`latency_us`) cannot be overlooked.

use sartor_space::suggest::nearest;

use super::super::csv::{LAYER_COLUMNS, bad_cell, check_units, decimal, flag, layer_key, whole};
use super::super::{CostTable, Provenance, Row};
use crate::HardwareError;
use crate::units::{Cycles, Millijoules, Milliseconds};

const LATENCY: &str = "latency_ms";
const OPTIONAL: [&str; 3] = ["energy_mj", "cycles", "first"];

/// Reads a CSV with a header; of the `#` lines only one with units is read, and checked.
///
/// # Errors
/// Unknown, repeated or missing columns, unreadable cells, negative or non-finite costs, a second row for a layer.
pub fn import_columns(text: &str, provenance: Provenance) -> Result<CostTable, HardwareError> {
    let numbered = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
    for (number, line) in numbered.clone() {
        if let Some(units) = line.trim_start_matches('#').trim().strip_prefix("units:") {
            check_units(number, units.trim())?;
        }
    }
    let mut lines = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (number, header) = lines.next().unwrap_or((1, ""));
    let columns = Columns::read(number, header)?;
    let rows: Vec<_> = lines.map(|(number, line)| columns.row(number, line)).collect::<Result<_, _>>()?;
    let marks_first = columns.of("first").is_some();
    CostTable::from_lines(Provenance { marks_first, ..provenance }, rows.into_iter())
}

/// Where each column is.
struct Columns {
    names: Vec<String>,
}

impl Columns {
    fn read(line: usize, header: &str) -> Result<Self, HardwareError> {
        let names: Vec<String> = header.split(',').map(|name| name.trim().to_owned()).collect();
        let known: Vec<&str> = LAYER_COLUMNS.into_iter().chain([LATENCY]).chain(OPTIONAL).collect();
        for (place, name) in names.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(line, name, &known));
            }
            if names[..place].contains(name) {
                return Err(bad_cell(line, "the header", "each column once", name));
            }
        }
        let missing =
            known[..known.len() - OPTIONAL.len()].iter().find(|name| !names.iter().any(|it| it == *name));
        match missing {
            Some(name) => Err(bad_cell(line, "the header", &format!("a column `{name}`"), header)),
            None => Ok(Self { names }),
        }
    }

    fn of(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|it| it == name)
    }

    fn row(&self, number: usize, line: &str) -> Result<(usize, Row), HardwareError> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != self.names.len() {
            return Err(bad_cell(number, "the row", &format!("{} cells", self.names.len()), line));
        }
        let cell = |name: &str| self.of(name).map(|place| cells[place]).filter(|cell| !cell.is_empty());
        let layer: Vec<&str> = LAYER_COLUMNS.iter().map(|name| cell(name).unwrap_or("")).collect();
        let mut key = layer_key(number, &layer)?;
        key.first = cell("first").map_or(Ok(false), |text| flag(number, text))?;
        let row = Row {
            key,
            cycles: Cycles(cell("cycles").map_or(Ok(0), |text| whole(number, "cycles", text))?),
            latency_ms: Milliseconds(decimal(number, LATENCY, cell(LATENCY).unwrap_or(""))?),
            energy_mj: Millijoules(
                cell("energy_mj").map_or(Ok(0.0), |text| decimal(number, "energy_mj", text))?,
            ),
            extrapolated: false,
        };
        Ok((number, row))
    }
}

fn unknown(line: usize, name: &str, known: &[&str]) -> HardwareError {
    let quantity = |unit: &str| name.starts_with(unit) && name != unit;
    if quantity("latency") || quantity("energy") {
        let expected = "latency_ms in milliseconds, energy_mj in millijoules";
        return HardwareError::WrongUnits { line, expected, got: name.to_owned() };
    }
    let near =
        nearest(name, known.iter().copied()).map_or(known.join(", "), |near| format!("did you mean {near}?"));
    bad_cell(line, "the header", &format!("known columns ({near})"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str =
        "in_channels,out_channels,input_size,kernel,stride,padding,groups,weight_bits,activation_bits";

    fn import(text: &str) -> Result<CostTable, HardwareError> {
        import_columns(text, Provenance::default())
    }

    #[test]
    fn reads_columns_in_any_order() {
        let table = import(&format!(
            "# by hand\nlatency_ms,{LIST},first,energy_mj\n0.5,3,16,32,3,2,1,1,8,8,1,0.25\n"
        ))
        .unwrap();
        let row = table.rows()[0];
        assert_eq!((row.latency_ms.0, row.energy_mj.0, row.key.first), (0.5, 0.25, true));
        let bare = import(&format!("{LIST},latency_ms\n3,16,32,3,2,1,1,8,8,0.5")).unwrap();
        assert!(!bare.provenance.marks_first);
    }

    #[test]
    fn refuses_what_it_cannot_be_sure_of() {
        let row = "3,16,32,3,2,1,1,8,8";
        let cases = [
            (format!("{LIST},latency_us\n{row},500"), "`latency_us`"),
            (format!("{LIST},latency\n{row},500"), "`latency`"),
            (format!("# units: cycles, s, J\n{LIST},latency_ms\n{row},500"), "`cycles, s, J`"),
            (format!("{LIST},latency_ms,enrgy_mj\n{row},1,1"), "energy_mj"),
            (format!("{LIST}\n{row}"), "a column `latency_ms`"),
            (format!("{LIST},latency_ms,latency_ms\n{row},1,1"), "each column once"),
            (format!("{LIST},latency_ms\n{row},-1"), "line 2: latency_ms is -1"),
            (format!("{LIST},latency_ms\n{row},"), "latency_ms must be a number"),
            (format!("{LIST},latency_ms\n{row},nan"), "latency_ms is nan"),
            (format!("{LIST},latency_ms\n{row},1\n{row},1"), "line 3: a second row"),
            (format!("{LIST},latency_ms\n{row}"), "10 cells"),
        ];
        for (text, expected) in cases {
            let error = import(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
