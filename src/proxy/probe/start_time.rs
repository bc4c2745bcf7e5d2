//! Parser for `process_start_time_seconds`, which Prometheus client libraries export.
//!
//! It reads the text formats of Prometheus and OpenMetrics.

const NAME: &str = "process_start_time_seconds";
/// Maximum length of a line in bytes. Longer lines are ignored.
const MAX_LINE: usize = 1024;

/// Scanner for the start time in a metrics response that arrives in any split.
#[derive(Debug, Default)]
pub struct StartTimeScanner {
    /// Start of the current line.
    line: Vec<u8>,
    /// The current line is longer than [`MAX_LINE`].
    is_long: bool,
    found: Option<f64>,
    /// Samples differ, so the response describes several processes.
    differs: bool,
}

impl StartTimeScanner {
    /// Scans the next bytes of the response.
    pub fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE - self.line.len();
            self.is_long |= part.len() > room;
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Ends the response. Returns the start time in seconds since 1970, if the response has exactly one.
    pub fn finish(mut self) -> Option<f64> {
        self.end_line();
        self.found.filter(|_| !self.differs)
    }

    fn end_line(&mut self) {
        let line = std::str::from_utf8(&self.line).ok().filter(|_| !self.is_long);
        if let Some(value) = line.and_then(parse_sample) {
            self.differs |= self.found.is_some_and(|found| found != value);
            self.found = Some(value);
        }
        self.line.clear();
        self.is_long = false;
    }
}

/// Returns the value of a sample of the start time.
fn parse_sample(line: &str) -> Option<f64> {
    let rest = line.trim_ascii_start().strip_prefix(NAME)?;
    let value = match rest.trim_ascii_start().strip_prefix('{') {
        Some(labels) => after_labels(labels)?,
        None => rest.strip_prefix([' ', '\t'])?,
    };
    let value: f64 = value.split_ascii_whitespace().next()?.parse().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

/// Returns the text after the closing brace of the labels. A brace within a label value does not count.
fn after_labels(labels: &str) -> Option<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = labels.find(|c| {
        let was_escaped = std::mem::replace(&mut is_escaped, false);
        match c {
            _ if was_escaped => {}
            '\\' => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            '}' => return !is_quoted,
            _ => {}
        }
        false
    })?;
    labels.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start_time(parts: &[&[u8]]) -> Option<f64> {
        let mut scanner = StartTimeScanner::default();
        parts.iter().for_each(|part| scanner.push(part));
        scanner.finish()
    }

    #[test]
    fn start_time_is_found_in_valid_samples_only() {
        let cases: &[(&str, Option<f64>)] = &[
            (
                "# HELP process_start_time_seconds Start time.\n# TYPE process_start_time_seconds gauge\n\
                 process_start_time_seconds 1.71394960963e+09\nprocess_open_fds 9.0\n",
                Some(1_713_949_609.63),
            ),
            ("process_start_time_seconds 1790809832", Some(1_790_809_832.0)),
            ("a 1\r\nprocess_start_time_seconds 1790809832.5\r\n", Some(1_790_809_832.5)),
            (
                "  process_start_time_seconds\t1.79E9 1790809900000 # {id=\"x\"} 1\n# EOF\n",
                Some(1.79e9),
            ),
            ("process_start_time_seconds{service=\"a } \\\" b\",x=\"\\\\\"} 17 \n", Some(17.0)),
            ("process_start_time_seconds {} 17\n", Some(17.0)),
            (
                "process_start_time_seconds{pid=\"1\"} 17\nprocess_start_time_seconds{pid=\"2\"} 17\n",
                Some(17.0),
            ),
            (
                "process_start_time_seconds{pid=\"1\"} 17\nprocess_start_time_seconds{pid=\"2\"} 19\n",
                None,
            ),
            ("my_process_start_time_seconds 17\nprocess_start_time_seconds_total 18\n", None),
            ("process_start_time_seconds NaN\nprocess_start_time_seconds +Inf\n", None),
            ("process_start_time_seconds 0\nprocess_start_time_seconds -4\n", None),
            ("process_start_time_seconds{a=\"b\nprocess_start_time_seconds x\n", None),
            ("process_start_time_seconds\n#process_start_time_seconds 17\n", None),
            ("<html>process_start_time_seconds 17</html>", None),
            ("", None),
        ];
        for (page, expected) in cases {
            assert_eq!(start_time(&[page.as_bytes()]), *expected, "{page:?}");
        }
        let labels = "x".repeat(MAX_LINE);
        let page = format!("process_start_time_seconds{{a=\"{labels}\"}} 17\n");
        assert_eq!(start_time(&[page.as_bytes()]), None, "too long");
        let page = format!("{page}\u{1F600}\nprocess_start_time_seconds 18\n");
        assert_eq!(start_time(&[b"\xff\xfe\n", page.as_bytes()]), Some(18.0));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_result(
            before in ".{0,2000}",
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let page = format!("{before}\nprocess_start_time_seconds{{a=\"}}\"}} 1.5e9\n{before}");
            let page = page.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len())).collect();
            cuts.sort_unstable();
            let mut scanner = StartTimeScanner::default();
            let mut from = 0;
            for cut in cuts {
                scanner.push(&page[from..cut]);
                prop_assert!(scanner.line.len() <= MAX_LINE);
                from = cut;
            }
            scanner.push(&page[from..]);
            prop_assert_eq!(scanner.finish(), Some(1.5e9));
        }
    }
}
