//! Where the log goes: standard error, one line per event.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};
use crate::failure::Failure;

/// A driver that tells at `info` and `warn` how each of its connections is made, and of each statement.
const TALKATIVE: &str = "scylla=error";

/// Starts logging for the whole process.
///
/// # Errors
/// The filter cannot be read.
pub(crate) fn start(log: &Log) -> Result<(), Failure> {
    // What the setting says of the same module comes later and wins.
    let filter = EnvFilter::try_new(format!("{TALKATIVE},{}", log.filter))
        .map_err(|error| Failure::cannot_run(format!("the setting `log.filter` is no filter: {error}")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}
