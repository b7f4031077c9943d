//! Everything that is said: stderr is talk, stdout is data. Colour only on a terminal without `NO_COLOR`.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

/// Whether stderr may carry colour: a terminal, and `NO_COLOR` unset or empty.
fn colour() -> bool {
    static COLOUR: OnceLock<bool> = OnceLock::new();
    *COLOUR.get_or_init(|| {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        std::io::stderr().is_terminal() && !refused
    })
}

fn paint(code: &str, text: &str) -> String {
    if colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// One line of talk. A closed stderr is nobody's problem.
pub fn plain_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `error: …`
pub fn error_line(text: &str) {
    plain_line(&format!("{} {text}", paint("1;31", "error:")));
}

/// `hint: …`
pub fn hint_line(text: &str) {
    plain_line(&format!("{} {text}", paint("1;36", "hint:")));
}

/// `warning: …`
pub fn warning_line(text: &str) {
    plain_line(&format!("{} {text}", paint("1;33", "warning:")));
}

/// What a stage did, its name in a column of its own.
pub fn stage_line(stage: &str, text: &str) {
    plain_line(&format!("{} {text}", paint("1", &format!("{stage:<20}"))));
}

/// Data for whoever reads stdout.
///
/// # Errors
/// When stdout is closed or full.
pub fn data_line(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")
}
