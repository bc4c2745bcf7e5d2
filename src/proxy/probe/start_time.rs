//! When a process started, as its page of metrics tells: `process_start_time_seconds`, which Prometheus' client
//! libraries export, in the text format of Prometheus or OpenMetrics.

const NAME: &str = "process_start_time_seconds";
/// Longest line that can be the one; what is longer is passed over.
const MAX_LINE: usize = 1024;

/// Looks for the start time in a page, split at any byte.
#[derive(Debug, Default)]
pub struct StartTimeScanner {
    /// The front of the current line.
    line: Vec<u8>,
    /// It is longer than [`MAX_LINE`].
    is_long: bool,
    found: Option<f64>,
    /// Samples that differ: the page is of several processes.
    differs: bool,
}

impl StartTimeScanner {
    /// The next bytes of the page.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE - self.line.len();
            self.is_long |= piece.len() > room;
            self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// The page has ended: the start time in seconds since 1970, if it tells one.
    pub fn end(mut self) -> Option<f64> {
        self.end_line();
        self.found.filter(|_| !self.differs)
    }

    fn end_line(&mut self) {
        let line = std::str::from_utf8(&self.line).ok().filter(|_| !self.is_long);
        if let Some(value) = line.and_then(sample) {
            self.differs |= self.found.is_some_and(|found| found != value);
            self.found = Some(value);
        }
        self.line.clear();
        self.is_long = false;
    }
}

/// The value in this line, if it is a sample of the start time.
fn sample(line: &str) -> Option<f64> {
    let rest = line.trim_ascii_start().strip_prefix(NAME)?;
    let value = match rest.trim_ascii_start().strip_prefix('{') {
        Some(labels) => behind_labels(labels)?,
        None => rest.strip_prefix([' ', '\t'])?,
    };
    let value: f64 = value.split_ascii_whitespace().next()?.parse().ok()?;
    (value.is_finite() && value > 0.0).then_some(value)
}

/// What follows the brace that closes labels; one in a label's value closes nothing.
fn behind_labels(labels: &str) -> Option<&str> {
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

    fn told(pieces: &[&[u8]]) -> Option<f64> {
        let mut start = StartTimeScanner::default();
        pieces.iter().for_each(|piece| start.push(piece));
        start.end()
    }

    #[test]
    fn table() {
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
            assert_eq!(told(&[page.as_bytes()]), *expected, "{page:?}");
        }
        let labels = "x".repeat(MAX_LINE);
        let page = format!("process_start_time_seconds{{a=\"{labels}\"}} 17\n");
        assert_eq!(told(&[page.as_bytes()]), None, "longer than is kept");
        let page = format!("{page}\u{1F600}\nprocess_start_time_seconds 18\n");
        assert_eq!(told(&[b"\xff\xfe\n", page.as_bytes()]), Some(18.0));
    }

    proptest! {
        #[test]
        fn any_split_tells_the_same(
            before in ".{0,2000}",
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let page = format!("{before}\nprocess_start_time_seconds{{a=\"}}\"}} 1.5e9\n{before}");
            let page = page.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(page.len())).collect();
            cuts.sort_unstable();
            let mut start = StartTimeScanner::default();
            let mut from = 0;
            for cut in cuts {
                start.push(&page[from..cut]);
                prop_assert!(start.line.len() <= MAX_LINE);
                from = cut;
            }
            start.push(&page[from..]);
            prop_assert_eq!(start.end(), Some(1.5e9));
        }
    }
}
