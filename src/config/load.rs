//! Merges the sources.

use super::check::{self, Problem};
use super::environment::PREFIX;
use super::{Config, keys};
use config::{File, FileFormat, Map, Value};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment: names and values.
    pub environment: Vec<(String, String)>,
    /// Keys and values given as flags.
    pub flags: Vec<(&'static str, String)>,
}

/// Why there is no configuration: each problem is one line.
#[derive(Debug)]
pub struct ConfigError(pub Vec<Problem>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} error(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// Merges the sources and checks the result.
///
/// # Errors
/// All that is wrong, at once.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let raw = merge(sources).map_err(|problem| ConfigError(vec![problem]))?;
    check::check(raw).map_err(ConfigError)
}

fn merge(sources: &Sources) -> Result<Map<String, Value>, Problem> {
    let mut builder = config::Config::builder();
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| file_problem(path, &format!("it cannot be read: {error}")))?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Toml));
    }
    // A parse error of the file is told apart from the environment's, which has none.
    let file = builder.build_cloned().map_err(|error| {
        file_problem(sources.file.as_deref().unwrap_or(Path::new("")), &error.to_string())
    })?;
    let ours = sources.environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).cloned();
    let environment = config::Environment::with_prefix("STREAMGAUGE")
        .prefix_separator("__")
        .separator("__")
        .source(Some(ours.collect()));
    let mut merged = config::Config::builder().add_source(file).add_source(environment);
    for (name, value) in &sources.flags {
        merged = merged
            .set_override(*name, value.as_str())
            .map_err(|error| Problem::of(name, value, &error.to_string()))?;
    }
    let merged = merged.build().and_then(config::Config::try_deserialize);
    merged.map_err(|error| Problem::of("(all)", "", &error.to_string()))
}

fn file_problem(path: &Path, why: &str) -> Problem {
    let why = format!("{} (--config or STREAMGAUGE_CONFIG name a TOML file)", why.trim_end());
    Problem::of("config", &path.display().to_string(), &why)
}

/// The configuration of defaults as a file would have it; used by tests and `GET /config`.
pub(super) fn default_value(key: &keys::Key) -> Option<Value> {
    let text = format!("value = {}", key.default?);
    let parsed =
        config::Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build();
    parsed.ok()?.get("value").ok()
}
