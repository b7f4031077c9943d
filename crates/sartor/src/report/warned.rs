//! What the reader should beware of.

use super::Facts;
use super::page::inline;

/// Every warning with its remedy.
pub fn write(facts: &Facts) -> Option<String> {
    let warning = |warning: &crate::warnings::Warning| {
        let (text, remedy) = (inline(&warning.to_string()), inline(&warning.remedy()));
        format!("<div class=\"warning\"><p>{text}</p><p class=\"soft\">{remedy}</p></div>\n")
    };
    (!facts.warnings.is_empty()).then(|| facts.warnings.iter().map(warning).collect())
}
