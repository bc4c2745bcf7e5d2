//! Environment variables that look as if they were meant for Streamgauge, but are not read.

use super::keys::KEYS;
use super::origin::PREFIX;
use super::problem::{closest, variable_name};
use super::source::{CONFIG_FILE, Sources};

/// A warning for each variable that begins with `STREAMGAUGE` and is not read, such as
/// `STREAMGAUGE_LISTEN`. Variables that Kubernetes sets for a Service called streamgauge (or
/// streamgauge-something) are excluded.
pub fn ignored_variables(sources: &Sources) -> Vec<String> {
    let names = sources.environment.iter().map(|(name, _)| name.as_str());
    names.filter(|name| is_ignored(name)).map(warning).collect()
}

fn warning(name: &str) -> String {
    let rest = name.trim_start_matches("STREAMGAUGE").trim_start_matches('_').to_lowercase();
    let names = KEYS.iter().map(|key| key.name);
    match closest(&rest, names) {
        Some(key) => format!(
            "the environment variable {name} is ignored; did you mean {}?",
            variable_name(key)
        ),
        None => format!(
            "the environment variable {name} is ignored: Streamgauge reads {CONFIG_FILE}, and variables \
             that begin with {PREFIX}"
        ),
    }
}

fn is_ignored(name: &str) -> bool {
    let is_read = name == CONFIG_FILE || name.starts_with(PREFIX);
    name.starts_with("STREAMGAUGE") && !is_read && !is_from_kubernetes(name)
}

fn is_from_kubernetes(name: &str) -> bool {
    let is_port = |(_, rest): (&str, &str)| {
        rest.is_empty()
            || rest.strip_prefix('_').is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    };
    name.contains("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.rsplit_once("_PORT").is_some_and(is_port)
        || name.split_once("_PORT").is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_are_ignored() {
        let names = [
            ("STREAMGAUGE_LISTEN", true),
            ("STREAMGAUGE_UPSTREAM", true),
            ("STREAMGAUGE_ADMIN", true),
            ("STREAMGAUGEUPSTREAM", true),
            ("STREAMGAUGE_REPORT", true),
            ("STREAMGAUGE__LISTEN", false),
            ("STREAMGAUGE_CONFIG", false),
            ("STREAMGAUGE_PORT", false),
            ("STREAMGAUGE_PORT_8080_TCP", false),
            ("STREAMGAUGE_PORT_8080_TCP_PORT", false),
            ("STREAMGAUGE_SERVICE_HOST", false),
            ("STREAMGAUGE_SERVICE_PORT_HTTP", false),
            ("STREAMGAUGE_ADMIN_SERVICE_HOST", false),
            ("STREAMGAUGE_ADMIN_PORT_9464_TCP_ADDR", false),
            ("PATH", false),
        ];
        for (name, ignored) in names {
            assert_eq!(is_ignored(name), ignored, "{name}");
        }
    }

    #[test]
    fn the_warning_suggests_a_variable_that_exists() {
        assert_eq!(
            warning("STREAMGAUGE_LISTEN"),
            "the environment variable STREAMGAUGE_LISTEN is ignored; did you mean STREAMGAUGE__LISTEN?"
        );
        assert_eq!(
            warning("STREAMGAUGE_REPORT"),
            "the environment variable STREAMGAUGE_REPORT is ignored: Streamgauge reads STREAMGAUGE_CONFIG, \
             and variables that begin with STREAMGAUGE__"
        );
    }
}
