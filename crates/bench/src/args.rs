//! The command line: `--name value` and `--flag`, unknown ones refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

use crate::Error;

/// The options of one role.
#[derive(Debug, Default)]
pub struct Args {
    values: BTreeMap<String, String>,
    flags: BTreeSet<String>,
}

impl Args {
    /// Reads `words`; only the names in `options` (with a value) and in `flags` are known.
    pub fn parse(words: Vec<String>, options: &[&str], flags: &[&str]) -> Result<Self, Error> {
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

    /// Whether a flag, or an option, was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.contains(name) || self.values.contains_key(name)
    }

    /// The value of an option, if it was given.
    pub fn optional<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.values.get(name) else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|error| format!("--{name} {value}: {error}").into())
    }

    /// The value of an option, or `default`.
    pub fn or<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T, Error> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// The value of an option that has no default.
    pub fn required<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Error> {
        self.optional(name)?.ok_or_else(|| format!("--{name} is required").into())
    }

    /// A number that must lie in `low..=high`: everything here is bounded.
    pub fn number(&self, name: &str, default: f64, low: f64, high: f64) -> Result<f64, Error> {
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

    fn parse(line: &str) -> Result<Args, Error> {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Args::parse(words, &["rate", "only"], &["check"])
    }

    #[test]
    fn knows_its_options_and_no_others() {
        let args = parse("--rate 20 --check").unwrap();
        assert!(args.has("check") && args.has("rate") && !args.has("only"));
        assert_eq!(args.or("rate", 1.0).unwrap(), 20.0);
        assert_eq!(args.optional::<String>("only").unwrap(), None);
        for wrong in ["--rates 20", "rate", "--rate", "--"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn says_which_value_is_wrong() {
        let args = parse("--rate fast").unwrap();
        assert!(args.or("rate", 1.0).unwrap_err().to_string().contains("--rate fast"));
        let args = parse("--rate 200").unwrap();
        assert!(args.number("rate", 1.0, 1.0, 100.0).is_err());
        assert!(args.required::<u32>("only").is_err());
    }
}
