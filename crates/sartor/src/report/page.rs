//! The page around the sections: style and small pieces of HTML.

use super::svg::escape;

/// Colours and layout. Blue, orange and green here are told apart by colour-blind readers too, and every kind of
/// mark has its own shape.
const STYLE: &str = "
:root { --ink: #1c2024; --soft: #60646c; --paper: #fcfcfd; --panel: #ffffff; --edge: #dcdee3; --grid: #e6e8eb;
  --blue: #1f6feb; --orange: #c2560a; --green: #18794e; --limit: #b42318; --bar: #d3e3fd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a0a5ae; --paper: #16181c; --panel: #1d2025;
  --edge: #343941; --grid: #2b2f36; --blue: #6ea8fe; --orange: #f5a05a; --green: #5bd6a0; --limit: #ff8a80; --bar: #24385a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 1.25rem; } h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
section { background: var(--panel); border: 1px solid var(--edge); border-radius: 10px; padding: 1.25rem 1.5rem; margin: 0 0 1.25rem; }
p { margin: .4rem 0; max-width: 75ch; } .soft { color: var(--soft); font-size: .92rem; }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: .25rem 0 1rem; }
.tile b { display: block; font-size: 1.65rem; font-weight: 600; line-height: 1.25; } .tile span { color: var(--soft); font-size: .9rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; width: 100%; }
th, td { padding: .32rem .6rem; text-align: right; border-bottom: 1px solid var(--edge); white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th { color: var(--soft); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
td.left, th.left { text-align: left; } tr.chosen td { font-weight: 600; } tr.skipped td { color: var(--soft); }
.meter { position: relative; min-width: 5.2rem; } .meter i { position: absolute; inset: 3px auto 3px 3px; background: var(--bar); border-radius: 3px; }
.meter span { position: relative; }
svg { width: 100%; height: auto; display: block; } svg text { font: 12px system-ui, sans-serif; fill: var(--soft); }
svg .label { fill: var(--ink); } .grid { stroke: var(--grid); } .line { fill: none; stroke-width: 2; } .limit { stroke: var(--limit); stroke-dasharray: 5 4; }
.interval { stroke-width: 1.3; opacity: .6; } .ring { fill: none; stroke: var(--ink); stroke-width: 1.5; }
circle.searched, rect.searched, .key.searched { fill: var(--blue); } .interval.searched, .line.searched { stroke: var(--blue); }
circle.wide, rect.wide { fill: var(--orange); } .interval.wide, .line.wide { stroke: var(--orange); }
circle.narrow, rect.narrow { fill: var(--green); } .interval.narrow, .line.narrow { stroke: var(--green); }
.line.ideal { stroke: var(--soft); stroke-dasharray: 3 4; stroke-width: 1.2; }
.warning { border-left: 4px solid var(--orange); padding: .1rem 0 .1rem .9rem; margin: .6rem 0; }
code { font-size: .92em; }
";

/// Puts titled sections into a page.
pub fn assemble<'a>(title: &str, sections: impl Iterator<Item = (&'a str, String)>) -> String {
    let body: String = sections
        .map(|(title, html)| format!("<section>\n<h2>{}</h2>\n{html}</section>\n", escape(title)))
        .collect();
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// A paragraph; what stands between backticks is code.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", inline(text))
}

/// Plain text as HTML; what stands between backticks is code.
pub fn inline(text: &str) -> String {
    let pieces = escape(text);
    let pieces = pieces.split('`').enumerate();
    pieces
        .map(|(index, piece)| if index % 2 == 1 { format!("<code>{piece}</code>") } else { piece.to_owned() })
        .collect()
}

/// A paragraph in the soft colour, for what a number means.
pub fn remark(text: &str) -> String {
    format!("<p class=\"soft\">{}</p>\n", inline(text))
}

/// A large number with its name.
pub fn tile(value: &str, name: &str) -> String {
    format!("<div class=\"tile\"><b>{}</b><span>{}</span></div>\n", escape(value), escape(name))
}

/// A picture with its caption.
pub fn figure(picture: &str, caption: &str) -> String {
    format!("<figure>\n{picture}<figcaption>{}</figcaption>\n</figure>\n", escape(caption))
}

/// One table row; cells are HTML already.
pub struct Row {
    /// Style of the row, may be empty.
    pub class: &'static str,
    /// Cells, already escaped.
    pub cells: Vec<String>,
}

impl Row {
    /// A row of plain text.
    pub fn plain(cells: impl IntoIterator<Item = String>) -> Self {
        Self { class: "", cells: cells.into_iter().map(|cell| escape(&cell)).collect() }
    }

    /// With a style.
    pub fn styled(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }
}

/// A table that scrolls by itself on narrow screens.
pub fn table(head: &[&str], rows: &[Row]) -> String {
    let head: String = head.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    let body: String = rows.iter().map(row).collect();
    format!("<div class=\"scroll\"><table>\n<tr>{head}</tr>\n{body}</table></div>\n")
}

fn row(row: &Row) -> String {
    let cells: String = row.cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr class=\"{}\">{cells}</tr>\n", row.class)
}

/// A number with a bar behind it, `share` of its cell wide.
pub fn meter(text: &str, share: f64) -> String {
    let width = (96.0 * share.clamp(0.0, 1.0)).round();
    format!("<div class=\"meter\"><i style=\"width:{width}%\"></i><span>{}</span></div>", escape(text))
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// An interval of shares in percent, without repeating the sign.
pub fn percent_interval((low, high): (f64, f64)) -> String {
    format!("{:.2} – {:.2}", 100.0 * low, 100.0 * high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_become_code_and_nothing_escapes() {
        assert_eq!(inline("run `a<b` now"), "run <code>a&lt;b</code> now");
        assert_eq!(inline("plain"), "plain");
    }
}
