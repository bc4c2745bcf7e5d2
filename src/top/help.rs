//! The view of the keys, and what the numbers are.

use super::theme::{Theme, Tone};
use ratatui::text::Line;

const TEXT: &str = "\
Keys
  m  models, and the series of the selected one (up, down)
  r  running requests, the oldest first
  n  newest requests that ended
  e  events: cold starts, outages, hangs, stalls, rejections, failures
  s  slow requests, and why they were slow
  o  order by the next column (also left, right);  O  reverse the order
  q  quit (also Ctrl-C)

Numbers (docs/definitions.md)
  Rates cover the last ten seconds. Quantiles and goodput cover the last minute.
  errors and cold count the last ten minutes. TTFT and TPOT are of warm streams.
  TTFT50, TTFT95, TPOT50: median and 95th percentile.
  queue95: wait in the queue. wait: estimate for a request that arrives now.
  good, goodput: share of requests that met their SLO.
  slots: requests that the server processes at once, as inferred.
  - is no sample, which is not 0.";

/// The lines of the help.
pub(super) fn lines(theme: Theme) -> Vec<Line<'static>> {
    let line = |text: &'static str| {
        let is_heading = !text.starts_with(' ');
        Line::styled(text, theme.style(if is_heading { Tone::Heading } else { Tone::Plain }))
    };
    TEXT.lines().map(line).collect()
}
