//! What is wrong with a configuration, as the user reads it.

use super::origin::{Origin, PREFIX};
use std::fmt;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Where the value was set.
    pub origin: Origin,
    /// Full name of the key, such as `proxies[0].listen`.
    pub key: String,
    /// The value as it was given, or empty; masked for secrets.
    pub value: String,
    /// What is wrong, and what to do.
    pub message: String,
}

/// All problems of a configuration.
#[derive(Debug)]
pub struct ConfigError {
    /// All problems found.
    pub problems: Vec<ConfigProblem>,
    /// Messages about settings that are allowed and probably not meant.
    pub warnings: Vec<String>,
}

impl From<ConfigProblem> for ConfigError {
    fn from(problem: ConfigProblem) -> Self {
        Self { problems: vec![problem], warnings: Vec::new() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, value, message } = self;
        match origin {
            Origin::Flag(key) => f.write_str(&flag_name(key))?,
            Origin::Variable(name) => f.write_str(name)?,
            Origin::File { file, line } => write!(f, "{}:{line}: {key}", file.display())?,
            Origin::Default => f.write_str(key)?,
        }
        if !value.is_empty() {
            write!(f, " = {value}")?;
        }
        write!(f, ": {message}")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has an error:")?,
            count => write!(f, "the configuration has {count} errors:")?,
        }
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigError {}

/// The flag of a key: `--log-level` for `log_level`.
pub(super) fn flag_name(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// The environment variable of a key: `STREAMGAUGE__LOG_LEVEL` for `log_level`.
pub fn variable_name(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// The name among `known` that is most like a misspelt one, if one is similar enough.
pub(super) fn closest<'a>(
    misspelt: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |name: &'a str| (strsim::damerau_levenshtein(misspelt, name), name);
    let (distance, name) = known.into_iter().map(distance).min_by_key(|(distance, _)| *distance)?;
    // One edit for each three letters: more, and short names suggest each other.
    (distance <= misspelt.chars().count().max(3) / 3).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_names_are_suggested() {
        let known = ["upstream", "listen", "slo", "log_level", "log_format"];
        for (misspelt, expected) in [
            ("upstrem", Some("upstream")),
            ("usptream", Some("upstream")),
            ("listn", Some("listen")),
            ("loglevel", Some("log_level")),
            ("slos", Some("slo")),
            ("foo", None),
            ("x", None),
        ] {
            assert_eq!(closest(misspelt, known), expected, "{misspelt}");
        }
    }
}
