//! Where a value of the configuration was set.

use std::path::Path;
use std::sync::Arc;

/// The prefix of environment variables that set a key, such as `STREAMGAUGE__LISTEN`.
pub const PREFIX: &str = "STREAMGAUGE__";

/// The place where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command-line flag of this key.
    Flag(&'static str),
    /// The environment variable of this name.
    Variable(String),
    /// A line of the configuration file, counted from 1.
    File {
        /// Path of the file, as it was given.
        file: Arc<Path>,
        /// The line, counted from 1.
        line: usize,
    },
    /// Nowhere: the value is a default, or is missing.
    Default,
}
