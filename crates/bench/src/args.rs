//! Parses the command line: `--name value` and `--flag`. Unknown options are errors.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use crate::BoxError;

/// The options of one role.
#[derive(Debug, Default)]
pub struct RoleArgs {
    values: BTreeMap<String, String>,
    flags: BTreeSet<String>,
}

impl RoleArgs {
    /// Parses `words`. Only the names in `options` (with a value) and in `flags` are accepted.
    pub fn parse(words: Vec<String>, options: &[&str], flags: &[&str]) -> Result<Self, BoxError> {
        let mut args = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").unwrap_or_default();
            if flags.contains(&name) {
                args.flags.insert(name.to_owned());
            } else if options.contains(&name) {
                let value = words.next().ok_or_else(|| format!("--{name} needs a value"))?;
                args.values.insert(name.to_owned(), value);
            } else {
                return Err(format!("unknown option {word}").into());
            }
        }
        Ok(args)
    }

    /// Whether a flag or an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.contains(name) || self.values.contains_key(name)
    }

    /// Returns the value of an option, if given.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, BoxError> {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|error| format!("--{name} {value}: {error}").into())
    }

    /// Returns the value of an option, or `default`.
    pub fn or<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T, BoxError> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// Returns the value of a required option.
    pub fn required<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, BoxError> {
        self.optional(name)?.ok_or_else(|| format!("--{name} is required").into())
    }

    /// Returns a number in `low..=high`.
    pub fn number(&self, name: &str, default: f64, low: f64, high: f64) -> Result<f64, BoxError> {
        let value = self.or(name, default)?;
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        Err(format!("--{name} {value}: must be between {low} and {high}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RoleArgs, BoxError> {
        let words = line.split_whitespace().map(str::to_owned).collect();
        RoleArgs::parse(words, &["rate", "only"], &["check"])
    }

    #[test]
    fn unknown_options_are_errors() {
        let args = parse("--rate 20 --check").unwrap();
        assert!(args.has("check") && args.has("rate") && !args.has("only"));
        assert_eq!(args.or("rate", 1.0).unwrap(), 20.0);
        assert_eq!(args.optional::<String>("only").unwrap(), None);
        for wrong in ["--rates 20", "rate", "--rate", "--"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_name_the_wrong_value() {
        let args = parse("--rate fast").unwrap();
        assert!(args.or("rate", 1.0).unwrap_err().to_string().contains("--rate fast"));
        let args = parse("--rate 200").unwrap();
        assert!(args.number("rate", 1.0, 1.0, 100.0).is_err());
        assert!(args.required::<u32>("only").is_err());
    }
}
