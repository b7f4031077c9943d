//! How errors leave the program: printed once, with causes and a hint, and an exit code that means something.

use std::fmt;
use std::io::ErrorKind;

use crate::talk;

/// Why the program ends (DESIGN: 0 done, 1 failed, 2 bad input, 3 budget infeasible).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Something went wrong that the user did not cause.
    Failed = 1,
    /// The input must change: a key, a file, a folder, a number.
    BadInput = 2,
    /// No candidate meets the budget.
    Infeasible = 3,
}

/// An error of the binary itself: what happened, what to do about it, and the exit code.
#[derive(Debug, Clone)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// The user's input must change.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::BadInput }
    }

    /// Something went wrong that the user did not cause.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::Failed }
    }

    /// Adds a way on.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Asks each library's error type for its hint and says with which code it ends the program.
macro_rules! explain {
    ($cause:expr, $($kind:ty => $exit:expr),* $(,)?) => {{
        $(if let Some(error) = $cause.downcast_ref::<$kind>() {
            let exit: fn(&$kind) -> Exit = $exit;
            return Some((error.hint(), exit(error)));
        })*
        None
    }};
}

/// Hint and exit code of one cause, if its type is known.
fn explain(cause: &(dyn std::error::Error + 'static)) -> Option<(Option<String>, Exit)> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some((failure.hint.clone(), failure.exit));
    }
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        let hint = "free some space and start again; what is finished is kept".to_owned();
        return (error.kind() == ErrorKind::StorageFull).then_some((Some(hint), Exit::BadInput));
    }
    explain!(cause,
        sartor_space::SpaceError => |_| Exit::BadInput,
        sartor_supernet::SupernetError => |error| match error {
            sartor_supernet::SupernetError::NothingAllowed { .. } => Exit::Infeasible,
            _ => Exit::BadInput,
        },
        sartor_supernet::data::DataError => |_| Exit::BadInput,
        sartor_predictor::PredictorError => |_| Exit::BadInput,
        sartor_hardware::HardwareError => |_| Exit::BadInput,
        sartor_export::ExportError => |_| Exit::Failed,
        sartor_search::SearchError => |error| if error.is_infeasible() { Exit::Infeasible } else { Exit::BadInput },
    )
}

/// Exit code of an error: that of the first cause whose type is known.
pub fn exit_code(error: &anyhow::Error) -> Exit {
    error.chain().find_map(explain).map_or(Exit::Failed, |(_, exit)| exit)
}

/// First hint in the chain of causes.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().filter_map(explain).find_map(|(hint, _)| hint)
}

/// Whether whoever reads stdout has gone away (`sartor … | head`): nothing to complain about.
pub fn reader_left(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.map(std::io::Error::kind).any(|kind| kind == ErrorKind::BrokenPipe)
}

/// Prints an error once: what, causes, hint.
pub fn print(error: &anyhow::Error) {
    talk::error_line(&error.to_string());
    let mut shown = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !shown.contains(&cause) {
            talk::plain_line(&format!("  cause: {cause}"));
        }
        shown = cause;
    }
    if let Some(hint) = hint(error) {
        talk::hint_line(&hint);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use sartor_search::Metric;

    use super::*;

    #[test]
    fn the_first_known_cause_decides_exit_code_and_hint() {
        struct Case {
            error: anyhow::Error,
            exit: Exit,
            hint: Option<&'static str>,
        }
        let tight = || Failure::bad_input("too tight").hint("relax it");
        let infeasible =
            || sartor_search::SearchError::Infeasible { metric: Metric::Macs, limit: 1.0, cheapest: 2.0 };
        let cases = [
            Case { error: anyhow::anyhow!("unknown"), exit: Exit::Failed, hint: None },
            Case { error: Failure::bad_input("no").into(), exit: Exit::BadInput, hint: None },
            Case { error: infeasible().into(), exit: Exit::Infeasible, hint: Some("set macs to at least 2") },
            Case {
                error: Err::<(), _>(tight()).context("while searching").expect_err("is an error"),
                exit: Exit::BadInput,
                hint: Some("relax it"),
            },
        ];
        for case in cases {
            assert_eq!(exit_code(&case.error), case.exit, "{:?}", case.error);
            assert_eq!(hint(&case.error).as_deref(), case.hint, "{:?}", case.error);
        }
    }
}
