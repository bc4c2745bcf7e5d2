//! Environment variables that look like ours and are not.

/// The variable that names the configuration file.
pub const CONFIG_FILE: &str = "STREAMGAUGE_CONFIG";
/// What the variables of keys begin with.
pub const PREFIX: &str = "STREAMGAUGE__";

/// The variables among `names` that somebody probably meant for us and that we do not read, such as
/// `STREAMGAUGE_LISTEN`. Those that Kubernetes injects for a Service called streamgauge (or
/// streamgauge-something) are not among them.
pub fn misspelt<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let is_ours = |name: &str| name == CONFIG_FILE || name.starts_with(PREFIX);
    names
        .filter(|name| name.starts_with("STREAMGAUGE") && !is_ours(name) && !is_injected(name))
        .collect()
}

fn is_injected(name: &str) -> bool {
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
    fn table() {
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
        for (name, warned) in names {
            assert_eq!(misspelt([name].into_iter()).len(), usize::from(warned), "{name}");
        }
    }
}
