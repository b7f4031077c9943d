//! Where the costs come from.

use super::Facts;
use super::page::{Row, percent, remark, table};

/// The cost table's provenance: chip or measurement, versions, and how far its sums are from whole networks.
pub fn write(facts: &Facts) -> Option<String> {
    let provenance = facts.cost_table.as_ref()?;
    let fields = [
        ("hardware", provenance.hardware.clone()),
        ("made by", provenance.model.clone()),
        ("specification", provenance.spec_hash.clone()),
        ("search space", format!("{} {}", provenance.space, provenance.space_hash)),
        ("images at a time", provenance.batch.to_string()),
    ];
    let known = fields.into_iter().filter(|(_, value)| !value.trim().is_empty());
    let rows: Vec<Row> = known.map(|(name, value)| Row::plain([name.to_owned(), value])).collect();
    let mut html = table(&["", ""], &rows);
    if let Some(error) = &provenance.additivity {
        html += &remark(&format!(
            "Sums of layers against {} whole networks: median error {}, worst {}.",
            error.networks,
            percent(error.median),
            percent(error.worst)
        ));
    }
    html.extend(provenance.notes.iter().map(|note| remark(&format!("{note}."))));
    Some(html)
}
