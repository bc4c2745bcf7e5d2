//! The view of slow requests: one sentence each.

use super::columns::wrap;
use super::header::clock;
use super::theme::{Theme, Tone};
use crate::live::slow::SlowRequests;
use crate::readable::seconds;
use ratatui::text::{Line, Span};

/// The lines of the slow requests.
pub(super) fn lines(slow: Option<&SlowRequests>, width: usize, theme: Theme) -> Vec<Line<'static>> {
    let heading =
        format!("{:<8} {:>6}  {}", "time UTC", "took", "model, outcome, and why it was slow");
    let mut lines = vec![Line::styled(heading, theme.style(Tone::Heading))];
    let Some(slow) = slow else { return lines };
    for request in &slow.requests {
        let model = request.model.as_deref().unwrap_or("-");
        let (outcome, tone) = match request.outcome.as_deref() {
            None => ("running", Tone::Strong),
            Some("ok") => ("ok", Tone::Plain),
            Some(outcome) => (outcome, Tone::Bad),
        };
        let (time, took) = (clock(request.started_at), seconds(Some(request.duration_s)));
        lines.push(Line::from(vec![
            Span::raw(format!("{time:<8} {took:>6}  ")),
            Span::styled(model.to_owned(), theme.style(Tone::Strong)),
            Span::raw(", "),
            Span::styled(outcome.to_owned(), theme.style(tone)),
        ]));
        let sentence = wrap(&request.sentence, width.saturating_sub(INDENT));
        lines.extend(sentence.into_iter().map(|text| Line::raw(" ".repeat(INDENT) + &text)));
    }
    if slow.requests.is_empty() {
        lines.push(Line::raw("No slow or failed request in the last ten minutes."));
    }
    lines
}

/// Column in which the sentences begin.
const INDENT: usize = 17;
