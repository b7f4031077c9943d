//! Where the time went.

use super::Facts;
use super::page::{Row, meter, remark, table};
use crate::progress::seconds;
use crate::stages::Stage;

/// One row per stage.
pub fn write(facts: &Facts) -> Option<String> {
    let timings = &facts.timings;
    if timings.stages.is_empty() {
        return None;
    }
    let longest = timings.stages.values().map(|stage| stage.seconds).fold(f64::MIN_POSITIVE, f64::max);
    let known = Stage::ALL.iter().filter_map(|stage| Some((stage, timings.stages.get(stage.key())?)));
    let rows: Vec<Row> = known
        .map(|(stage, time)| {
            let mark = if time.resumed { " (resumed: earlier part not counted)" } else { "" };
            let bar = meter(&format!("{}{mark}", seconds(time.seconds)), time.seconds / longest);
            Row { class: "", cells: vec![stage.title().to_owned(), bar, time.threads.to_string()] }
        })
        .collect();
    let total = format!("Together {}.", seconds(timings.total()));
    Some(table(&["stage", "time", "threads"], &rows) + &remark(&total))
}
