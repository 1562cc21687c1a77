//! Lines for the person at the terminal. The log is not for them: it goes through `tracing`.

use std::io::Write as _;

/// A line on standard output.
pub(crate) fn say(line: &str) {
    // Whoever closed the pipe does not want to read on.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line on standard output; false if nobody reads on.
pub(crate) fn print(line: &str) -> bool {
    writeln!(std::io::stdout(), "{line}").is_ok()
}

/// A line on standard error.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
